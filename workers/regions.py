"""Files laid end to end and cut into pieces: what a run of pieces covers of them.  Pure.

A region is a run of whole pieces that is read at once and hashed by one thread: long enough that
handing it over costs nothing, short enough that it is still in the processor's cache then.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from fleet.torrent.pieces import piece_count

REGION: Final = 4 * 1024 * 1024
"""Bytes of a region, but for pieces that are longer and for the last one."""


class Part(NamedTuple):
    """A file that is laid end to end with others.

    Attributes:
        path: below a folder, or None for zeros that lie nowhere.
        size: in bytes, as it is laid out.
        held: how long the file on disk is, None if it is as long as that.
    """

    path: str | None
    size: int
    held: int | None = None


class Span(NamedTuple):
    """The bytes [start, stop) of the file of this number, counted from 0."""

    file: int
    start: int
    stop: int


class Content:
    """Files laid end to end.

    Attributes:
        parts: the files, in order.
        length: of a piece, in bytes.
        size: of all files, in bytes.
        pieces: how many there are.
        region_bytes: how many bytes a region has at most.
    """

    def __init__(self, parts: Sequence[Part], length: int) -> None:
        self.parts, self.length = parts, length
        self._starts = list(accumulate((part.size for part in parts), initial=0))
        self.size = self._starts.pop()
        self.pieces = piece_count(self.size, length)
        self._step = max(REGION // length, 1)
        self.region_bytes = self._step * length

    def regions(self, wanted: Iterable[range]) -> list[range]:
        """Cut runs of pieces into regions."""
        step = self._step
        return [run[at : at + step] for run in wanted for at in range(0, len(run), step)]

    def spans(self, run: range) -> Iterator[Span]:
        """Tell which bytes a run of pieces covers; empty files are in none."""
        begin = run.start * self.length
        end = min(run.stop * self.length, self.size)
        file = bisect_right(self._starts, begin) - 1
        while begin < end:
            start = self._starts[file]
            stop = min(start + self.parts[file].size, end)
            if begin < stop:
                yield Span(file, begin - start, stop - start)
                begin = stop
            file += 1

    def covering(self, file: int, start: int, stop: int) -> range:
        """Tell which pieces hold the bytes [start, stop) of a file."""
        if start >= stop:
            return range(0)
        begin, end = self._starts[file] + start, self._starts[file] + stop
        return range(begin // self.length, piece_count(end, self.length))
