"""A torrent's pieces where they lie: read from files, compared, and written into them.

Rules this module keeps:

- A piece is written only after its hash was compared, and into files that are there: none is made
  or lengthened, and no symbolic link is followed.
- What the disk cannot read is a piece that does not match.
"""

import errno
import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from fleet.torrent.parsed import ParsedTorrent
from fleet.torrent.pieces import DIGEST_BYTES
from workers.swarm import Span

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Pieces:
    """The pieces of a torrent whose files lie at ``places``, in the torrent's order."""

    def __init__(self, parsed: ParsedTorrent, places: Sequence[str]) -> None:
        """Look at nothing yet."""
        self._parsed = parsed
        self._places = places
        self._begins = list(accumulate((size for _, size in parsed.files), initial=0))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._parsed.pieces) // DIGEST_BYTES

    def span(self, piece: int) -> Span:
        """Give the run of the torrent's bytes that is a piece."""
        start = piece * self._parsed.piece_length
        return start, min(start + self._parsed.piece_length, self._parsed.size)

    def read(self, piece: int) -> bytes | None:
        """Read a piece; None if it does not match.

        Raises:
            OSError: a file is not there, or may not be read.
        """
        data = b"".join(
            _read(self._places[file], start - self._begins[file], end - self._begins[file])
            for file, start, end in self._parts(self.span(piece))
        )
        digest = hashlib.sha1(data, usedforsecurity=False).digest()
        known = self._parsed.pieces[piece * DIGEST_BYTES : (piece + 1) * DIGEST_BYTES]
        return data if digest == known else None

    def write(self, piece: int, data: bytes, runs: Sequence[Span]) -> None:
        """Write what lies in ``runs`` of a piece that ``read`` gave, and make it durable.

        Raises:
            OSError: a file is not there, or cannot be written.
        """
        first = piece * self._parsed.piece_length
        for run in within(runs, self.span(piece)):
            for file, start, end in self._parts(run):
                _write(
                    self._places[file],
                    start - self._begins[file],
                    data[start - first : end - first],
                )

    def _parts(self, run: Span) -> Iterator[tuple[int, int, int]]:
        """Cut a run of the torrent's bytes by the files that it lies in."""
        at, end = run
        file = bisect_right(self._begins, at) - 1
        while at < end:
            stop = min(end, self._begins[file + 1])
            if at < stop:
                yield file, at, stop
            at, file = stop, file + 1


def within(runs: Sequence[Span], span: Span) -> list[Span]:
    """Give what of ``runs`` lies within ``span``."""
    cut = ((max(start, span[0]), min(end, span[1])) for start, end in runs)
    return [(start, end) for start, end in cut if start < end]


def _read(place: str, start: int, end: int) -> bytes:
    """Read a part of a file, as far as the disk gives it."""
    with os.fdopen(os.open(place, os.O_RDONLY | _FLAGS), "rb") as file:
        try:
            file.seek(start)
            return file.read(end - start)
        except OSError as error:
            if error.errno == errno.EIO:
                return b""
            raise


def _write(place: str, at: int, data: bytes) -> None:
    with os.fdopen(os.open(place, os.O_WRONLY | _FLAGS), "wb", buffering=0) as file:
        left = memoryview(data)
        while left:
            written = os.pwrite(file.fileno(), left, at)
            left, at = left[written:], at + written
        os.fsync(file.fileno())
