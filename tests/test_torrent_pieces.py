import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.pieces import (
    LONGEST,
    MOST_PIECES,
    SHORTEST,
    PieceHasher,
    piece_count,
    piece_length,
    piece_spans,
)

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
sizes = st.sampled_from([0, 1, 15, 16, 17, 31, 32, 33]) | st.integers(0, 200)


@pytest.mark.parametrize(
    ("size", "length"),
    [
        (0, 256 * KIB),
        (1, 256 * KIB),
        (4 * GIB, 256 * KIB),
        (4 * GIB + 1, 512 * KIB),
        (10 * GIB, MIB),
        (100 * GIB, 8 * MIB),
        (256 * GIB, 16 * MIB),
        (TIB, 16 * MIB),
        (5 * TIB, 16 * MIB),
    ],
)
def test_the_published_rule(size: int, length: int) -> None:
    assert piece_length(size) == length


@given(st.integers(0, 2 * TIB))
def test_the_shortest_length_that_keeps_a_torrent_small(size: int) -> None:
    length = piece_length(size)
    assert SHORTEST <= length <= LONGEST
    assert length & (length - 1) == 0
    assert piece_count(size, length) <= MOST_PIECES or length == LONGEST
    assert piece_count(size, length) <= 1 << 17
    assert length == SHORTEST or piece_count(size, length // 2) > MOST_PIECES


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 bytes"):
        piece_length(-1)


@given(st.binary(max_size=300), st.integers(1, 64), st.lists(st.integers(0, 70)))
def test_hashes_do_not_depend_on_how_the_stream_is_cut(
    data: bytes, length: int, cuts: list[int]
) -> None:
    hasher = PieceHasher(length)
    rest = memoryview(data)
    for cut in cuts:
        hasher.update(rest[:cut])
        rest = rest[cut:]
    hasher.update(bytearray(rest))
    assert hasher.finish() == b"".join(
        hashlib.sha1(data[at : at + length]).digest() for at in range(0, len(data), length)
    )


def test_a_buffer_may_be_reused_between_updates() -> None:
    hasher = PieceHasher(4)
    buffer = bytearray(b"abc")
    hasher.update(memoryview(buffer))
    buffer[:] = b"def"
    hasher.update(memoryview(buffer))
    assert hasher.finish() == hashlib.sha1(b"abcd").digest() + hashlib.sha1(b"ef").digest()


@given(st.lists(sizes, max_size=12), st.integers(1, 40))
def test_spans_cover_every_byte_once_and_in_order(file_sizes: list[int], length: int) -> None:
    files = [(f"f{index}", size) for index, size in enumerate(file_sizes)]
    pieces = list(piece_spans(files, length))
    total = sum(file_sizes)
    assert len(pieces) == piece_count(total, length)
    assert [sum(span.length for span in piece) for piece in pieces[:-1]] == [length] * (
        len(pieces) - 1 if pieces else 0
    )
    flat = [
        (span.path, at)
        for piece in pieces
        for span in piece
        for at in range(span.start, span.start + span.length)
    ]
    assert flat == [(path, at) for path, size in files for at in range(size)]


def test_a_piece_may_span_files_and_skip_empty_ones() -> None:
    spans = list(piece_spans([("a", 3), ("b", 0), ("c", 4)], 5))
    assert spans == [(("a", 0, 3), ("c", 0, 2)), (("c", 2, 2),)]
