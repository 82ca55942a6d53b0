"""Pieces of the v1 format (BEP 3): how long, which bytes, and their hashes.

The published rule for the piece length: the smallest power of two, from 256 KiB to 16 MiB, that
cuts the content into at most 16,384 pieces.  So a torrent's piece hashes stay within 320 KiB up
to 256 GiB of content, and grow beyond that only because 16 MiB is the longest piece that every
client takes.

| content | piece   | pieces |
|---------|---------|--------|
| 4 GiB   | 256 KiB | 16,384 |
| 10 GiB  | 1 MiB   | 10,240 |
| 100 GiB | 8 MiB   | 12,800 |
| 256 GiB | 16 MiB  | 16,384 |
| 1 TiB   | 16 MiB  | 65,536 |

A published shard's pieces never change, so this rule must go on giving the answers it once gave.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple, Protocol

SHORTEST: Final = 256 * 1024
LONGEST: Final = 16 * 1024 * 1024
MOST_PIECES: Final = 1 << 14
DIGEST_BYTES: Final = 20

# SHA-1 is what the v1 format prescribes, MD5 what stores ask for; trust rests on the SHA-256
sha1: Final = partial(hashlib.sha1, usedforsecurity=False)
md5: Final = partial(hashlib.md5, usedforsecurity=False)


class Span(NamedTuple):
    """A run of bytes in one file: its path, where the run starts, and its length in bytes."""

    path: str
    start: int
    length: int


def piece_length(size: int) -> int:
    """Choose the piece length, in bytes, of a shard of ``size`` bytes.

    Raises:
        ValueError: the size is negative.
    """
    if size < 0:
        raise ValueError(f"a shard cannot have {size} bytes")
    length = SHORTEST
    while length < LONGEST and piece_count(size, length) > MOST_PIECES:
        length *= 2
    return length


def piece_count(size: int, length: int) -> int:
    """Count the pieces of ``length`` bytes that cover ``size`` bytes; the last may be shorter."""
    return -(-size // length)


def piece_spans(files: Iterable[tuple[str, int]], length: int) -> Iterator[tuple[Span, ...]]:
    """Tell what each piece covers of ``files``, pairs of path and size laid end to end.

    Yields:
        The spans of the first piece, of the second, and so on; empty files are in none.
    """
    spans: list[Span] = []
    room = length
    for path, size in files:
        start = 0
        while start < size:
            taken = min(room, size - start)
            spans.append(Span(path, start, taken))
            start += taken
            room -= taken
            if room == 0:
                yield tuple(spans)
                spans, room = [], length
    if spans:
        yield tuple(spans)


class Hash(Protocol):
    """A hash of ``hashlib``."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """Give the digest of all bytes taken."""


class PieceHasher:
    """The SHA-1 of each piece of a stream of bytes, in one pass and without copies.

    A bundle is fed file after file; the hasher does not see where one ends.
    """

    def __init__(self, length: int, new: Callable[[], Hash] = sha1) -> None:
        """Start a stream that is cut into pieces of ``length`` bytes; ``new`` starts their hash.

        Raises:
            ValueError: pieces of no bytes would never end.
        """
        if length < 1:
            raise ValueError(f"a piece cannot have {length} bytes")
        self._length = length
        self._new = new
        self._digests = bytearray()
        self._begin()

    def update(self, buffer: bytes | bytearray | memoryview) -> None:
        """Take the stream's next bytes; the buffer may be reused after the call."""
        view = memoryview(buffer).cast("B")
        while view:
            chunk, view = view[: self._room], view[self._room :]
            self._piece.update(chunk)
            self._room -= len(chunk)
            if self._room == 0:
                self._close()

    def finish(self) -> bytes:
        """End the stream: the digests of all its pieces, joined (20 bytes each for SHA-1)."""
        if self._room < self._length:
            self._close()
        return bytes(self._digests)

    def _begin(self) -> None:
        self._piece = self._new()
        self._room = self._length

    def _close(self) -> None:
        self._digests += self._piece.digest()
        self._begin()
