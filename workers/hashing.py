"""The v1 pieces and BEP 52 trees of files that lie on disk, hashed by several threads.

Rules this module keeps:

- The files are laid end to end and cut into regions of whole pieces.  A thread takes one region
  after the other, and every hash of a block before it reads the next into the same buffer, which
  the core's own cache holds.
- A leaf belongs to the region that it begins in.  So where leaves and pieces do not end together,
  less than a leaf is read twice.
- Nothing is followed through a symbolic link below the root.  A file that is not as long as it was
  listed, or that changes while it is read, is refused by its name.
- Memory is a block a thread, and what is found: 20 bytes a piece and a few hashes of its tree.
- Whatever ends the hashing, an error or Ctrl-C, ends every thread before it is raised.
"""

import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fleet.torrent.pieces import PieceHasher
from workers.digests import Bep52
from workers.merkle import LEAF, leaves, level_of, subtrees
from workers.regions import Content, Part, Span

BLOCK: Final = 256 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_ZEROS: Final = memoryview(bytes(BLOCK))
_Node = tuple[int, bytes]


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
    progress: Callable[[int], None] = lambda _: None,
) -> bytes:
    """Hash the v1 pieces of files laid end to end.

    Args:
        root: the folder that the paths are below.
        parts: the files, in order.
        length: of a piece, in bytes.
        only: the pieces to hash, counted from 0; None for all of them.
        threads: how many hash at once; 0 for one a core.
        progress: called with the bytes hashed so far, by one thread at a time.

    Returns:
        The 20-byte SHA-1 of each of the pieces, joined.

    Raises:
        HashingError: a file cannot be read, is not as it was listed, or changes meanwhile.
    """
    content = Content(parts, length)
    wanted = [range(content.pieces)] if only is None else only
    job = _Job(root, content, content.regions(wanted), trees=False, progress=progress)
    return b"".join(one.pieces for one in job.run(threads))


def hash_trees(
    root: Path, parts: Sequence[Part], length: int, *, threads: int = 0
) -> tuple[bytes, list[Tree]]:
    """Hash the v1 pieces of files laid end to end and, of the same bytes, each file's tree.

    ``length`` is a power of two, of 16 KiB or more; for all else see ``hash_pieces``.
    """
    content = Content(parts, length)
    job = _Job(root, content, content.regions([range(content.pieces)]), trees=True)
    done = job.run(threads)
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


class _Over(Exception):
    """Another thread failed, or Ctrl-C came, and that is what is raised in the end."""


@dataclass
class _Found:
    """The hashes of a region: its pieces, and the subtrees of each file that are whole in it."""

    pieces: bytes = b""
    nodes: list[tuple[int, list[_Node]]] = field(default_factory=list)


class _Job:
    """One hashing: what all threads share."""

    def __init__(
        self,
        root: Path,
        content: Content,
        regions: Sequence[range],
        *,
        trees: bool,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.content, self.trees = content, trees
        self._root = root
        self._folder = -1
        self._progress = progress
        self._regions = regions
        self._queue = iter(enumerate(regions))
        self._found = [_Found()] * len(regions)
        self._seen: dict[int, os.stat_result] = {}
        self._lock = threading.Lock()
        self._done = 0
        self._over = False

    def run(self, threads: int) -> list[_Found]:
        """Hash every region; give what was found, in their order."""
        threads = max(min(threads or cores(), len(self._regions)), 1)
        try:
            self._folder = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise HashingError(f"{self._root} cannot be read: {error.strerror}") from error
        try:
            with ThreadPoolExecutor(threads, "hashing") as pool:
                try:
                    running = [pool.submit(self._work) for _ in range(threads)]
                    for one in as_completed(running):
                        one.result()
                finally:
                    self._over = True
        finally:
            os.close(self._folder)
        return self._found

    def take(self, count: int) -> None:
        """Note that so many bytes more were hashed.

        Raises:
            _Over: they are of no use any more.
        """
        with self._lock:
            if self._over:
                raise _Over
            self._done += count
            self._progress(self._done)

    @contextmanager
    def open(self, file: int) -> Iterator[int]:
        """Lend a file's descriptor; see that it stays as it was listed and first seen."""
        path = self.content.parts[file].path
        assert path is not None
        try:
            descriptor = open_below(self._folder, path)
            try:
                self._check(file, path, descriptor)
                yield descriptor
                self._check(file, path, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise HashingError(f"{path} cannot be read: {error.strerror or error}") from error

    def _check(self, file: int, path: str, descriptor: int) -> None:
        now = os.fstat(descriptor)
        _, size, held = self.content.parts[file]
        size = size if held is None else held
        if now.st_size != size:
            raise HashingError(f"{path} has {now.st_size} bytes where {size} were listed")
        before = self._seen.setdefault(file, now)
        if (now.st_ino, now.st_mtime_ns) != (before.st_ino, before.st_mtime_ns):
            raise HashingError(f"{path} changed while it was read; wait until nobody writes to it")

    def _work(self) -> None:
        """Hash regions until there are no more, as one of the threads."""
        reader = _Reader(self)
        while True:
            with self._lock:
                number, region = next(self._queue, (-1, range(0)))
            if number < 0:
                return
            self._found[number] = reader.hash(region)


class _Reader:
    """A thread's buffer, and the region that it hashes."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._buffer = memoryview(bytearray(BLOCK))

    def hash(self, region: range) -> _Found:
        """Take all hashes of a region."""
        content, found = self._job.content, _Found()
        pieces = PieceHasher(content.length)
        for span in content.spans(region):
            if content.parts[span.file].path is None:
                self._zeros(span, pieces)
                continue
            with self._job.open(span.file) as descriptor:
                nodes = self._span(span, descriptor, pieces)
            if nodes:
                found.nodes.append((span.file, nodes))
        found.pieces = pieces.finish()
        return found

    def _span(self, span: Span, descriptor: int, pieces: PieceHasher) -> list[_Node]:
        """Hash a span block by block; give the subtrees of the leaves that begin in it."""
        content = self._job.content
        end, first = span.stop, -(-span.start // LEAF)
        if self._job.trees:
            end = min(-(-span.stop // LEAF) * LEAF, content.parts[span.file].size)
        hashes: list[bytes] = []
        at = span.start
        while at < span.stop:
            block = self._buffer[: min(at - at % BLOCK + BLOCK, end) - at]
            _fill(block, descriptor, at)
            pieces.update(block[: span.stop - at])
            if self._job.trees:
                hashes += leaves(block[-at % LEAF :])
            at += len(block)
            self._job.take(len(block))
        return subtrees(first, hashes, level_of(content.length)) if hashes else []

    def _zeros(self, span: Span, pieces: PieceHasher) -> None:
        for at in range(span.start, span.stop, BLOCK):
            zeros = _ZEROS[: span.stop - at]
            pieces.update(zeros)
            self._job.take(len(zeros))


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
