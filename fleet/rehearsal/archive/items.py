"""Items of the Internet Archive and the catalogue tasks that change them.

From "ias3 Internet archive S3-like API" (archive.org/developers/ias3.html), "Internet Archive Tasks
API" (…/developers/tasks.html) and "IAS3API" (github.com/vmbrasseur/IAS3API).  Nothing that is
uploaded is there at once: it is a task in the item's queue, and tasks run one after the other.
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleet.rehearsal.exchange import Body, Piece

FORMATS = {".csv": "Comma-Separated Values", ".pdf": "Text PDF", ".txt": "Text", ".zip": "ZIP"}
HISTORY = "history/files/{name}.~{number}~"


@dataclass(frozen=True)
class File:
    """One file of an item, with the digests that its record tells."""

    name: str
    pieces: tuple[Piece, ...]
    size: int
    md5: str
    sha1: str
    crc32: str
    mtime: float
    source: str = "original"
    original: str | None = None

    @property
    def format(self) -> str:
        """What the Archive calls its format; that it goes by the name is assumed."""
        return FORMATS.get(Path(self.name).suffix.lower(), "Unknown")


def file_of(name: str, body: Body, now: float, source: str = "original") -> File:
    """Digest a body, in one pass, and keep it as a file."""
    md5 = hashlib.md5(usedforsecurity=False)
    sha1 = hashlib.sha1(usedforsecurity=False)
    crc32 = 0

    def add(data: memoryview) -> None:
        nonlocal crc32
        crc32 = zlib.crc32(data, crc32)

    body.pour(md5.update, sha1.update, add)
    pieces = body.keep()
    digests = (md5.hexdigest(), sha1.hexdigest(), f"{crc32:08x}")
    return File(name, pieces, body.length, *digests, mtime=now, source=source)


@dataclass
class Item:
    """One item: whoever's first upload made it, everybody's later ones go into it.

    ``replaced`` are (name, old MD5, new MD5) of all bytes that other bytes took the place of.
    """

    identifier: str
    uploader: str
    metadata: Mapping[str, Sequence[str]]
    created: float
    size_hint: int | None
    files: dict[str, File] = field(default_factory=dict)
    replaced: list[tuple[str, str, str]] = field(default_factory=list)
    settled: bool = False
    updated: float = 0.0
    torrent: bytes | None = None
    ran: int = 0
    queue: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def submit(self, due: float, task: Callable[[], None]) -> None:
        """Put a task into the queue, to run no sooner than then."""
        self.queue.append((due, task))

    def settle(self, now: float) -> None:
        """Run the tasks that are due, in order."""
        while self.queue and self.queue[0][0] <= now:
            self.updated, task = self.queue.pop(0)
            self.ran += 1
            task()
            self.settled = True

    def write(self, new: File, keep_old: bool) -> None:
        """Put a file in its place."""
        old = self.files.get(new.name)
        if old is not None and old.md5 != new.md5:
            if keep_old:
                self._remember(old)
            else:
                self.replaced.append((new.name, old.md5, new.md5))
        self.files[new.name] = new

    def delete(self, name: str, keep_old: bool, cascade: bool) -> None:
        """Take a file away, and with ``x-archive-cascade-delete`` what was derived from it."""
        old = self.files.pop(name, None)
        if old is not None and keep_old:
            self._remember(old)
        if cascade:
            self.files = {key: file for key, file in self.files.items() if file.original != name}

    def derive(self, make: Callable[[str, bytes], File]) -> None:
        """Make derivatives and the item's torrent; what it makes of which file is assumed.

        The torrent is as stale as the last derivation: one with ``x-archive-queue-derive: 0`` adds
        files that it does not know.
        """
        for name, file in list(self.files.items()):
            if name.endswith(".pdf") and file.source == "original":
                text = make(f"{name.removesuffix('.pdf')}_djvu.txt", f"text of {name}".encode())
                self.files[text.name] = replace(text, source="derivative", original=name)
        names = "".join(f"{len(name.encode())}:{name}" for name in sorted(self.files))
        self.torrent = f"d5:filesl{names}ee".encode()

    def _remember(self, old: File) -> None:
        """Keep an old version where ``x-archive-keep-old-version`` puts it."""
        number = 1
        while (name := HISTORY.format(name=old.name, number=number)) in self.files:
            number += 1
        self.files[name] = replace(old, name=name)
