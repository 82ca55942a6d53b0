import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.merkle import LEAF
from fleet.torrent.pieces import piece_spans
from tests.pull_support import noise, v1_pieces
from tests.test_digests import merkle_layer, merkle_root
from workers.hashing import HashingError, hash_pieces, hash_trees
from workers.regions import REGION, Content, Part

MIB = 1024 * 1024
NOISE = noise(8 * REGION)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [one for one in threading.enumerate() if one.name.startswith("hashing")]


def laid(folder: Path, *sizes: int) -> tuple[list[Part], bytes]:
    """Files of these sizes, each of its own bytes, some in folders; and all of their bytes."""
    parts, body = [], b""
    for number, size in enumerate(sizes):
        path = f"{number}.bin" if number % 3 else f"deep/er/{number}.bin"
        mine = NOISE[number * 1000 : number * 1000 + size]
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(mine)
        parts.append(Part(path, size))
        body += mine
    return parts, body


@pytest.mark.parametrize(("length", "threads"), [(LEAF, 3), (256 * 1024, 1), (MIB, 3)])
@pytest.mark.parametrize(
    "sizes",
    [
        (1,),
        (LEAF,),
        (REGION + 1,),
        (REGION + 5 * LEAF + 7,),
        (0, 1, 0),
        (LEAF - 1, LEAF, LEAF + 1, 0, 3 * MIB + 5, 256 * 1024),
        (REGION - 5, 3, 0, 7, REGION + LEAF + 1, MIB),
    ],
)
def test_many_threads_find_what_one_pass_finds(
    tmp_path: Path, length: int, threads: int, sizes: tuple[int, ...]
) -> None:
    parts, body = laid(tmp_path, *sizes)

    pieces, trees = hash_trees(tmp_path, parts, length, threads=threads)

    assert pieces == v1_pieces(body, length)
    assert hash_pieces(tmp_path, parts, length, threads=threads) == pieces
    files = [(tmp_path / str(part.path)).read_bytes() for part in parts]
    assert [tree.root for tree in trees] == [merkle_root(file) for file in files]
    assert [tree.layer for tree in trees] == [merkle_layer(file, length) for file in files]


def test_only_the_pieces_asked_for_are_read(tmp_path: Path) -> None:
    parts, body = laid(tmp_path, 5 * MIB, 3 * MIB)
    (tmp_path / str(parts[1].path)).unlink()
    counts: list[int] = []

    found = hash_pieces(
        tmp_path, parts, MIB, only=[range(1, 3), range(4, 5)], progress=counts.append
    )

    pieces = v1_pieces(body, MIB)
    assert found == pieces[20:60] + pieces[80:100]
    assert counts == sorted(counts)
    assert counts[-1] == 3 * MIB


def test_zeros_that_lie_nowhere_are_hashed_as_well(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a" * 1000)

    found = hash_pieces(tmp_path, [Part("a", 1000), Part(None, MIB), Part("a", 1000)], LEAF)

    assert found == v1_pieces(b"a" * 1000 + bytes(MIB) + b"a" * 1000, LEAF)


@given(sizes=st.lists(st.integers(0, 20), min_size=1, max_size=8), length=st.integers(1, 30))
def test_a_run_covers_what_its_pieces_cover(sizes: list[int], length: int) -> None:
    content = Content([Part(str(number), size) for number, size in enumerate(sizes)], length)
    pieces = list(piece_spans([(str(n), size) for n, size in enumerate(sizes)], length))

    assert content.pieces == len(pieces)
    for first in range(len(pieces)):
        for stop in (first + 1, len(pieces)):
            covered = {
                (span.file, at)
                for span in content.spans(range(first, stop))
                for at in range(span.start, span.stop)
            }
            wanted = {
                (int(span.path), at)
                for piece in pieces[first:stop]
                for span in piece
                for at in range(span.start, span.start + span.length)
            }
            assert covered == wanted
    for file, size in enumerate(sizes):
        holding = [
            number
            for number, piece in enumerate(pieces)
            if str(file) in {one.path for one in piece}
        ]
        assert list(content.covering(file, 0, size)) == holding


def refused(root: Path, path: str, size: int, *said: str) -> None:
    with pytest.raises(HashingError) as caught:
        hash_pieces(root, [Part(path, size)], LEAF)
    assert all(word in str(caught.value) for word in (path, *said)), caught.value


def test_what_is_not_as_it_was_listed_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"123")
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (root / "real" / "a").write_bytes(b"123")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "folder").symlink_to("real")
    os.mkfifo(root / "pipe")

    refused(root, "real/a", 4, "3 bytes where 4 were listed")
    refused(root, "real/b", 3, "No such file")
    refused(root, "link", 3, "cannot be read")
    refused(root, "folder/a", 3, "cannot be read")
    refused(root, "pipe", 3, "no regular file")
    refused(root, "real", 3, "no regular file")
    with pytest.raises(HashingError, match="none cannot be read: No such file"):
        hash_pieces(tmp_path / "none", [Part("a", 1)], LEAF)


@pytest.mark.parametrize("grown", [0, 1])
def test_a_file_that_changes_while_it_is_read_is_refused_by_name(
    tmp_path: Path, grown: int
) -> None:
    [part], body = laid(tmp_path, 8 * REGION)
    path = tmp_path / str(part.path)
    written = path.stat().st_mtime_ns

    def change(done: int) -> None:
        path.write_bytes(body + bytes(grown))
        os.utime(path, ns=(written, written + 1))

    with pytest.raises(HashingError, match=r"0\.bin (changed while it was read|has \d+ bytes)"):
        hash_pieces(tmp_path, [part], MIB, threads=1, progress=change)


def test_what_is_raised_meanwhile_ends_every_thread_at_once(tmp_path: Path) -> None:
    parts, _ = laid(tmp_path, 3 * REGION)
    counts: list[int] = []

    def stop(done: int) -> None:
        counts.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hash_pieces(tmp_path, parts, MIB, threads=2, progress=stop)
    assert len(counts) == 1


def test_the_hashes_are_those_of_hashlib(tmp_path: Path) -> None:
    parts, body = laid(tmp_path, 100)

    assert hash_pieces(tmp_path, parts, LEAF) == hashlib.sha1(body).digest()
    assert hash_pieces(tmp_path, [Part("1.bin", 0)], LEAF) == b""
