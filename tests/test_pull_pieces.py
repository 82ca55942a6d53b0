"""Known pieces, checked while they arrive, however they arrive."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.torrent.pieces import DIGEST_BYTES
from tests.pull_support import noise, v1_pieces
from workers.pull.extents import GRANULE
from workers.pull.pieces import PieceCheck, WrongPiece, fit, unit

BODY = noise(9 * GRANULE + 12345)
LENGTHS = st.sampled_from([GRANULE // 4, GRANULE, 2 * GRANULE, 4 * GRANULE, 16 * GRANULE])
KNOWN = {
    length: v1_pieces(BODY, length)
    for length in (GRANULE >> 2, GRANULE, *(GRANULE << at for at in (1, 2, 4)))
}


@settings(max_examples=60, deadline=None)
@given(
    length=LENGTHS,
    size=st.integers(1, len(BODY)),
    start=st.integers(0, len(BODY) - 1),
    cuts=st.lists(st.integers(5000, 3 * GRANULE), min_size=1, max_size=12),
    wrong=st.none() | st.integers(0, len(BODY) - 1),
)
def test_a_wrong_piece_is_found_and_its_last_granule_never_counted(
    length: int, size: int, start: int, cuts: list[int], wrong: int | None
) -> None:
    start %= size
    known = KNOWN[length]
    if size < len(BODY):  # the last piece is another in a shorter file
        last = size - size % length
        known = known[: last // length * DIGEST_BYTES] + v1_pieces(BODY[last:size], length)
    sent = bytearray(BODY[:size])
    if wrong is not None and (wrong := wrong % size) >= start:
        sent[wrong] ^= 1
    else:
        wrong = None
    read: list[tuple[int, int]] = []

    def earlier(begin: int, end: int) -> bytes:
        read.append((begin, end))
        return BODY[begin:end]

    check, at, found = PieceCheck(known, length, size, start, earlier), start, None
    assert fit(known, length, size)
    assert read == [(start - start % length, start)]
    while at < size and found is None:
        end = min(at + cuts[at % len(cuts)], size)
        try:
            check.take(memoryview(sent)[at:end])
        except WrongPiece as error:
            found = error
            break
        at = end
        begin = at - at % length
        open_piece = begin < at < size
        assert check.markable <= at
        assert check.markable >= (max(begin, 0) if open_piece else at)
        if open_piece:
            last_granule = (min(begin + length, size) - 1) // GRANULE * GRANULE
            assert check.markable == max(begin, min(at, last_granule))

    if wrong is None:
        assert found is None
        assert check.markable == size
        return
    assert found is not None
    begin = wrong - wrong % length
    assert (found.start, found.end) == (begin, min(begin + length, size))
    assert found.own == (begin >= start)
    assert f"piece {begin // length} (bytes {begin} to {found.end - 1})" in str(found)
    assert check.markable >= begin


def test_what_came_before_and_is_wrong_is_not_blamed_on_who_ends_the_piece() -> None:
    length = 2 * GRANULE
    check = PieceCheck(
        KNOWN[length], length, len(BODY), GRANULE, lambda begin, end: bytes(end - begin)
    )
    with pytest.raises(WrongPiece) as caught:
        check.take(memoryview(BODY)[GRANULE : 3 * GRANULE])
    assert (caught.value.start, caught.value.end, caught.value.own) == (0, length, False)


@pytest.mark.parametrize(
    ("count", "length", "size", "fits"),
    [
        (3, 4, 12, True),
        (3, 4, 9, True),
        (3, 4, 8, False),
        (3, 4, 13, False),
        (3, 3, 9, False),
        (3, None, 9, False),
        (3, 4, None, False),
        (0, 4, 0, False),
    ],
)
def test_hashes_are_of_use_only_for_a_file_of_their_size(
    count: int, length: int | None, size: int | None, fits: bool
) -> None:
    assert fit(bytes(DIGEST_BYTES * count), length, size) == fits
    assert not fit(bytes(DIGEST_BYTES * count + 1), length, size)


def test_claims_are_cut_between_pieces_and_between_granules() -> None:
    assert unit(16 * 1024) == GRANULE
    assert unit(16 * GRANULE) == 16 * GRANULE
