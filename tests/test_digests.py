import hashlib
from pathlib import Path
from typing import Any

import libtorrent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pull_support import item, noise, order, v1_pieces
from workers.digests import BLOCK, LEAF, Bep52, Digests, kinds, mismatch, parts_of, pieces_of
from workers.work import well

MANY = noise(15 * BLOCK)


@given(
    blocks=st.lists(st.binary(max_size=60_000), max_size=8),
    length=st.sampled_from([16_384, 50_000]),
)
def test_one_pass_gives_what_each_hash_gives_alone(blocks: list[bytes], length: int) -> None:
    digests = Digests(("sha256", "md5"), length, 40_000)
    for block in blocks:
        digests.update(block)
    body = b"".join(blocks)

    found = digests.finish()

    assert found.size == len(body)
    assert found.sha256 == hashlib.sha256(body).hexdigest()
    assert found.md5 == hashlib.md5(body).hexdigest()
    assert (found.piece_length, found.pieces) == (length, v1_pieces(body, length))
    assert (found.part_length, found.parts) == (40_000, md5_parts(body, 40_000))


def md5_parts(body: bytes, length: int) -> bytes:
    """The md5 of each part, as a store wants them with a multipart upload."""
    return b"".join(
        hashlib.md5(body[at : at + length]).digest() for at in range(0, len(body), length)
    )


def merkle_root(body: bytes) -> str | None:
    """The root by the letter of BEP 52, with all leaves in memory."""
    layer = [hashlib.sha256(body[at : at + 16_384]).digest() for at in range(0, len(body), 16_384)]
    if not layer:
        return None
    while len(layer) & (len(layer) - 1):
        layer.append(bytes(32))
    while len(layer) > 1:
        pairs = zip(layer[::2], layer[1::2], strict=True)
        layer = [hashlib.sha256(left + right).digest() for left, right in pairs]
    return layer[0].hex()


def merkle_layer(body: bytes, length: int) -> bytes:
    """The layer by the letter of BEP 52: each piece's root, the last one padded to a piece."""
    if len(body) <= length:
        return b""
    pieces = [body[at : at + length] for at in range(0, len(body), length)]
    found = bytes.fromhex("".join(str(merkle_root(piece)) for piece in pieces[:-1]))
    layer = [
        hashlib.sha256(pieces[-1][at : at + 16_384]).digest()
        for at in range(0, len(pieces[-1]), 16_384)
    ]
    layer += [bytes(32)] * (length // 16_384 - len(layer))
    while len(layer) > 1:
        pairs = zip(layer[::2], layer[1::2], strict=True)
        layer = [hashlib.sha256(left + right).digest() for left, right in pairs]
    return found + layer[0]


@given(size=st.integers(0, 20 * 16_384), step=st.integers(1000, 100_000))
def test_the_bep52_root_is_the_trees(size: int, step: int) -> None:
    body = noise(size)
    root = Bep52()
    for at in range(0, size, step):
        root.update(body[at : at + step])

    assert root.finish() == merkle_root(body)


@given(steps=st.lists(st.sampled_from([BLOCK, BLOCK, LEAF, 5, 3 * BLOCK]), max_size=5))
def test_whole_blocks_give_the_same_bep52_root_as_crumbs(steps: list[int]) -> None:
    body = MANY[: sum(steps)]
    root, at = Bep52(), 0
    for step in steps:
        root.update(body[at : at + step])
        at += step

    assert root.finish() == merkle_root(body)


@pytest.mark.parametrize("length", [LEAF, 4 * LEAF, BLOCK, 4 * BLOCK])
@pytest.mark.parametrize("extra", [0, 1, LEAF, BLOCK // 2, 5 * LEAF + 7])
@pytest.mark.parametrize("blocks", [0, 1, 4, 7])
def test_the_bep52_layer_proves_each_piece(length: int, extra: int, blocks: int) -> None:
    body = MANY[: blocks * BLOCK + extra]
    straight, shared = Bep52(length), Bep52(length)
    shares = shared.shares(2)
    for turn, at in enumerate(range(0, len(body), BLOCK)):
        straight.update(body[at : at + BLOCK])
        shares[turn % 2].update(body[at : at + BLOCK])

    assert straight.finish() == shared.finish() == merkle_root(body)
    assert straight.layer == shared.layer == merkle_layer(body, length)


def test_a_layer_goes_with_the_pieces_if_bep52_knows_such() -> None:
    def layer(kinds: tuple[Any, ...], pieces: int | None) -> bytes | None:
        digests = Digests(kinds, pieces)
        digests.update(MANY[:BLOCK])
        return digests.finish().bep52_layer

    assert layer(("sha256", "bep52"), LEAF) == merkle_layer(MANY[:BLOCK], LEAF)
    assert layer(("sha256", "bep52"), BLOCK) == b""
    assert layer(("sha256", "bep52"), 50_000) is None
    assert layer(("sha256", "bep52"), None) is None
    assert layer(("sha256",), LEAF) is None
    with pytest.raises(ValueError, match="no pieces of 50000 bytes"):
        Bep52(50_000)


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 100_000, 1_000_000])
def test_the_bep52_root_is_libtorrents(size: int, tmp_path: Path) -> None:
    body = noise(size)
    (tmp_path / "census.zip").write_bytes(body)
    files = libtorrent.list_files(str(tmp_path / "census.zip"))
    torrent = libtorrent.create_torrent(files, flags=libtorrent.create_torrent.v2_only)
    libtorrent.set_piece_hashes(torrent, str(tmp_path))
    made: Any = torrent.generate()
    root = Bep52()
    root.update(body)

    assert root.finish() == made[b"info"][b"file tree"][b"census.zip"][b""][b"pieces root"].hex()


def test_md5_is_computed_only_where_it_is_wanted_or_all_there_is() -> None:
    with_md5 = item("a", md5="ab" * 16)

    assert kinds(order(), item("a")) == {"sha256"}
    assert kinds(order(), with_md5) == {"sha256", "md5"}
    assert kinds(order(), item("a", body=b"", md5="ab" * 16)) == {"sha256"}
    assert kinds(order(digests=("sha256", "md5")), item("a")) == {"sha256", "md5"}


def test_which_items_are_cut_by_themselves() -> None:
    ingest = order(item("a"), digests=("sha256", "pieces"), alone_from=1000)
    shard = {"shard": "s", "digests": ("sha256", "pieces"), "piece_length": 65_536}

    assert pieces_of(ingest, 999) is None
    assert pieces_of(ingest, 1000) == 256 * 1024
    assert pieces_of(order(item("a"), alone_from=1000), 1000) is None
    assert pieces_of(order(item("a"), digests=("sha256", "pieces"), alone_from=0), 0) is None
    assert pieces_of(order(item("a"), **shard), 5) == 65_536
    assert pieces_of(order(item("a"), item("b"), **shard), 5) is None


def test_parts_are_cut_where_they_are_ordered() -> None:
    parts: dict[str, Any] = {"digests": ("sha256", "parts"), "part_length": 5 * BLOCK}

    assert parts_of(order(**parts)) == 5 * BLOCK
    assert parts_of(order(part_length=5 * BLOCK)) is None
    assert parts_of(order(digests=("parts",))) is None
    assert parts_of(order(digests=("parts",), part_length=0)) is None


def test_bulky_digests_travel_beside_the_result() -> None:
    digests = Digests(("sha256",), 65_536, 50_000)
    digests.update(noise(100_000))
    found = digests.finish()
    blobs: dict[str, bytes] = {}

    result = well(item("a"), found, blobs)

    assert result.parts is not None
    assert result.pieces is not None
    assert (result.piece_length, result.part_length) == (65_536, 50_000)
    assert blobs == {result.parts.sha256: found.parts, result.pieces.sha256: found.pieces}
    assert (result.parts.size, result.pieces.size) == (2 * 16, 2 * 20)


def test_what_is_wrong_is_named() -> None:
    digests = Digests(("sha256", "md5"))
    digests.update(b"abc")
    found = digests.finish()

    assert mismatch(item("a"), found) == ""
    assert mismatch(item("a", body=b"abc", md5=hashlib.md5(b"abc").hexdigest()), found) == ""
    assert mismatch(item("a", size=4), found) == "3 bytes where 4 were expected"
    assert "sha256 ba7816bf8f01cfea…" in mismatch(item("a", sha256="0" * 64), found)
    assert "md5 900150983cd24fb0" in mismatch(item("a", md5="0" * 32), found)
