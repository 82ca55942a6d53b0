"""One request and its answer, as a service of this room sees them.

No body is ever held in memory whole: what a client sends is spooled below the service's folder, and
what it is sent may be pieces of files.
"""

import os
import re
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

STEP = 1 << 20
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Piece:
    """So many bytes of a file from ``start``; whoever has it keeps the file from being deleted."""

    path: Path
    start: int
    length: int
    holder: object = field(default=None, compare=False, repr=False)

    def read(self) -> bytes:
        """Give the bytes, in memory."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.length)


@dataclass(frozen=True)
class Answer:
    """What a service answers; a header of None is left out, even one that would be added."""

    status: int
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | Sequence[Piece] = b""

    @property
    def length(self) -> int:
        """The body's bytes."""
        if isinstance(self.body, bytes):
            return len(self.body)
        return sum(piece.length for piece in self.body)


class Spooled:
    """A file that is deleted once nothing refers to it any more."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder)
        self.path = Path(name)
        self.file = os.fdopen(descriptor, "r+b", buffering=0)
        weakref.finalize(self, self.path.unlink, missing_ok=True)


class Body:
    """The body of a request, received whole; its bytes are gone with it, unless kept."""

    def __init__(self, folder: Path) -> None:
        self.length = 0
        self._folder = folder
        self._spooled: Spooled | None = None

    def write(self, data: memoryview) -> None:
        """Take in what has arrived."""
        if self._spooled is None:
            self._spooled = Spooled(self._folder)
        self._spooled.file.write(data)
        self.length += len(data)

    def rewind(self) -> None:
        """Read from the first byte on again."""
        if self._spooled is not None:
            self._spooled.file.seek(0)

    def read(self, most: int = -1) -> bytes:
        """Give the next bytes, all that are left by default; none at the end."""
        return self._spooled.file.read(most) if self._spooled is not None else b""

    def pour(self, *sinks: Callable[[memoryview], object]) -> None:
        """Give every byte to each of these, such as a digest's ``update``."""
        self.rewind()
        view = memoryview(bytearray(min(STEP, self.length)))
        while self._spooled is not None and (got := self._spooled.file.readinto(view)):
            for sink in sinks:
                sink(view[:got])
        self.rewind()

    def damage(self) -> None:
        """Turn the first byte over, as bad memory on the way would."""
        first = self.read(1)
        self.rewind()
        if self._spooled is not None:
            self._spooled.file.write(bytes([first[0] ^ 0xFF]))
            self.rewind()

    def keep(self) -> tuple[Piece, ...]:
        """Give the bytes as pieces of a file, which is there as long as they are."""
        if self._spooled is None:
            return ()
        return (Piece(self._spooled.path, 0, self.length, self._spooled),)

    def close(self) -> None:
        """Forget the bytes."""
        if self._spooled is not None:
            self._spooled.file.close()
            self._spooled = None


@dataclass(frozen=True)
class Asked:
    """One request; ``target`` is what stood in its first line, as a signature covers it.

    ``segments`` are the path's, each decoded by itself: a slash that came as ``%2F`` stays inside
    its segment, and none of them may be used as a file's name.  ``headers`` are by lowercase name.
    """

    number: int
    method: str
    target: str
    path: str
    segments: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: Body

    def param(self, name: str) -> str | None:
        """Give a parameter of the query; the first of its name."""
        return next((value for key, value in self.query if key == name), None)


def window(pieces: Sequence[Piece], start: int, length: int) -> Iterator[Piece]:
    """Cut a run of bytes out of pieces that follow one another."""
    for piece in pieces:
        if start < piece.length and length > 0:
            taken = min(piece.length - start, length)
            yield replace(piece, start=piece.start + start, length=taken)
            start, length = 0, length - taken
        else:
            start -= min(piece.length, start)


def ranged(
    asked: Asked, pieces: Sequence[Piece], headers: Mapping[str, str | None], most: int = 1 << 62
) -> Answer:
    """Answer a GET or HEAD of these bytes, or the range of them that it asks for.

    One range only: several, or one that makes no sense, are answered whole, as RFC 9110 lets a
    server do; so is a range of another state than ``If-Range`` names.  A range is cut after
    ``most`` bytes.
    """
    whole = sum(piece.length for piece in pieces)
    headers = {"Accept-Ranges": "bytes", **headers}
    found = RANGE.fullmatch(asked.headers.get("range", ""))
    held = {None, headers.get("ETag"), headers.get("Last-Modified")}
    if found is None or found.groups() == ("", "") or asked.headers.get("if-range") not in held:
        return Answer(200, headers, pieces)
    first, last = found.groups()
    start = int(first) if first else max(0, whole - int(last))
    end = min(whole, int(last) + 1) if first and last else whole
    if first and last and int(last) < start:
        return Answer(200, headers, pieces)
    if start >= whole or (not first and int(last) == 0):
        return Answer(416, {"Content-Range": f"bytes */{whole}"})
    end = min(end, start + most)
    headers = {**headers, "Content-Range": f"bytes {start}-{end - 1}/{whole}"}
    return Answer(206, headers, tuple(window(pieces, start, end - start)))
