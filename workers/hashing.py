"""The v1 pieces and BEP 52 trees of files that lie on disk, hashed by several threads.

Rules this module keeps:

- The files are laid end to end and cut into regions of whole pieces.  The caller's thread reads
  one region after the other, into buffers that are used again, while others hash those before:
  so a disk is read in order, and nobody who hashes waits for it.
- Every hash of a byte comes of the same read.  A leaf belongs to the region that it begins in: so
  where leaves and pieces do not end together, less than a leaf is read twice.
- Nothing is followed through a symbolic link below the root.  A file that is not as long as it was
  listed, or that changes while it is read, is refused by its name.
- Memory is a region for each thread and two more, within a bound, and what is found: 20 bytes a
  piece and a few hashes of its tree.
- Whatever ends the hashing, an error or Ctrl-C, ends every thread before it is raised.
"""

import os
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from fleet.torrent.merkle import LEAF, leaves, level_of, subtrees
from fleet.torrent.pieces import PieceHasher
from workers.digests import Bep52
from workers.regions import Content, Part

MEMORY: Final = 256 * 1024 * 1024
"""Most bytes of content held at once, but for two regions."""
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
Progress = Callable[[int], None]


class HashingError(Exception):
    """A file cannot be hashed as it was listed; the message names it and says why."""


@dataclass(frozen=True)
class Tree:
    """A file's ``pieces root`` as hex, None if it is empty, and its ``piece layers`` entry."""

    root: str | None
    layer: bytes


def hash_pieces(
    root: Path,
    parts: Sequence[Part],
    length: int,
    *,
    only: Iterable[range] | None = None,
    threads: int = 0,
    progress: Progress = lambda _: None,
) -> bytes:
    """Hash the v1 pieces of files laid end to end.

    Args:
        root: the folder that the paths are below.
        parts: the files, in order.
        length: of a piece, in bytes.
        only: the pieces to hash, counted from 0; None for all of them.
        threads: how many hash at once; 0 for one a core.
        progress: called with the bytes hashed so far.

    Returns:
        The 20-byte SHA-1 of each of the pieces, joined.

    Raises:
        HashingError: a file cannot be read, is not as it was listed, or changes meanwhile.
    """
    content = Content(parts, length)
    wanted = [range(content.pieces)] if only is None else only
    with closing(_Loader(root, content, trees=False)) as loader:
        found = _run(content, loader, content.regions(wanted), threads, progress)
    return b"".join(one.pieces for one in found)


def hash_trees(
    root: Path, parts: Sequence[Part], length: int, *, threads: int = 0
) -> tuple[bytes, list[Tree]]:
    """Hash the v1 pieces of files laid end to end and, of the same bytes, each file's tree.

    ``length`` is a power of two, of 16 KiB or more; for all else see ``hash_pieces``.
    """
    content = Content(parts, length)
    regions = content.regions([range(content.pieces)])
    with closing(_Loader(root, content, trees=True)) as loader:
        done = _run(content, loader, regions, threads, lambda _: None)
    trees = [Bep52(length) for _ in parts]
    for file, nodes in (found for one in done for found in one.nodes):
        for level, node in nodes:
            trees[file].join(level, node)
    roots = [tree.finish() for tree in trees]
    return b"".join(one.pieces for one in done), [
        Tree(root, tree.layer or b"") for root, tree in zip(roots, trees, strict=True)
    ]


def open_below(root: int, path: str) -> int:
    """Open a regular file below the folder ``root``, an open descriptor, through no link.

    Raises:
        OSError: it is not there, cannot be read, or is a link or below one.
        HashingError: it is something else than a regular file.
    """
    *folders, name = path.split("/")
    at = os.dup(root)
    try:
        for folder in folders:
            below = os.open(folder, _FLAGS | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        found = os.open(name, _FLAGS | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise HashingError(f"{path} is no regular file")
    return found


class _Load(NamedTuple):
    """Bytes of the file of this number that were read into memory.

    ``view`` begins at ``start``; behind the ``length`` bytes of the region it goes on to the end of
    the last leaf that begins in them, if trees are wanted.
    """

    file: int
    start: int
    length: int
    view: memoryview


@dataclass(frozen=True)
class _Found:
    """The hashes of a region: its pieces, and the subtrees of each file that are whole in it."""

    pieces: bytes
    nodes: list[tuple[int, list[tuple[int, bytes]]]]


def _run(
    content: Content, loader: "_Loader", regions: Sequence[range], threads: int, progress: Progress
) -> list[_Found]:
    """Read region after region, while as many threads hash those that were read before."""
    threads = max(min(threads or cores(), len(regions)), 1)
    room = content.region_bytes + LEAF
    most = max(2, min(threads + 2, MEMORY // room))
    running: deque[tuple[Future[_Found], memoryview, int]] = deque()
    found: list[_Found] = []
    done = 0

    def finish() -> memoryview:
        nonlocal done
        future, buffer, count = running.popleft()
        found.append(future.result())
        done = min(done + count, content.size)
        progress(done)
        return buffer

    pool = ThreadPoolExecutor(threads, "hashing")
    try:
        for region in regions:
            buffer = finish() if len(running) == most else memoryview(bytearray(room))
            loads = loader.load(region, buffer)
            future = pool.submit(_hash, loads, content.length, trees=loader.trees)
            running.append((future, buffer, len(region) * content.length))
        while running:
            finish()
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def _hash(loads: Sequence[_Load], length: int, *, trees: bool) -> _Found:
    """Take all hashes of a region."""
    pieces = PieceHasher(length)
    nodes = []
    for load in loads:
        pieces.update(load.view[: load.length])
        if trees and (hashes := leaves(load.view[-load.start % LEAF :])):
            first = -(-load.start // LEAF)
            nodes.append((load.file, subtrees(first, hashes, level_of(length))))
    return _Found(pieces.finish(), nodes)


class _Loader:
    """Reads regions into memory, and sees that files stay as they were listed and first seen."""

    def __init__(self, root: Path, content: Content, *, trees: bool) -> None:
        self.trees = trees
        self._content = content
        self._seen: dict[int, os.stat_result] = {}
        try:
            self._folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise HashingError(f"{root} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._folder)

    def load(self, region: range, buffer: memoryview) -> list[_Load]:
        """Read a region into a buffer that has room for it and a leaf."""
        loads: list[_Load] = []
        for span in self._content.spans(region):
            path, size, _ = self._content.parts[span.file]
            length = span.stop - span.start
            more = min(-span.stop % LEAF, size - span.stop) if self.trees else 0
            view, buffer = buffer[: length + more], buffer[length:]
            if path is None:
                view[:] = bytes(length)
            else:
                self._read(span.file, path, view, span.start)
            loads.append(_Load(span.file, span.start, length, view))
        return loads

    def _read(self, file: int, path: str, view: memoryview, at: int) -> None:
        try:
            descriptor = open_below(self._folder, path)
            try:
                self._check(file, path, descriptor)
                _fill(view, descriptor, at)
                self._check(file, path, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise HashingError(f"{path} cannot be read: {error.strerror or error}") from error

    def _check(self, file: int, path: str, descriptor: int) -> None:
        now = os.fstat(descriptor)
        _, size, held = self._content.parts[file]
        size = size if held is None else held
        if now.st_size != size:
            raise HashingError(f"{path} has {now.st_size} bytes where {size} were listed")
        before = self._seen.setdefault(file, now)
        if (now.st_ino, now.st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
            raise HashingError(f"{path} changed while it was read; wait until nobody writes to it")


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _fill(block: memoryview, descriptor: int, at: int) -> None:
    """Read the bytes at ``at`` until the block is full.

    Raises:
        OSError: they cannot be read, or the file ends before.
    """
    while block:
        count = os.preadv(descriptor, [block], at)
        if not count:
            raise OSError(f"it ends at byte {at}")
        block, at = block[count:], at + count
