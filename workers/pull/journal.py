"""What is known of a staged file that may not be whole: which granules hold, and of whom.

Two small files lie beside the data.  The *head* says whose file it is (``Head``); it is replaced
whole or not at all.  The *map* has one byte for each granule: its author's number, or 0 if the
granule is missing, and the bit ``SYNCED`` once the data is on the disk for good.  One byte can't
be torn.

Rules this module keeps:

- ``SYNCED`` is written only after the data was synced: what bears it survives a power cut.
- The death of a process takes nothing from the page cache: a granule without ``SYNCED`` counts
  until the machine is started anew, which its boot id tells.
- A map never vouches for other bytes than those it was written for: it is gone, durably, before
  its data is thrown away.
- A map of granules of another size than ours, or of an unknown one, vouches for nothing.

It may be forgotten or closed by one thread while another marks or syncs: that is no error.
"""

import contextlib
import os
import re
import threading
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workers.pull.extents import GRANULE, MOST_AUTHORS
from workers.storage.posix import sync

SYNCED = 0x80
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HELD = re.compile(rb"[^\0]+")
_SEALED = bytes(mark | SYNCED for mark in range(256))


class Author(BaseModel):
    """A source as it was when its bytes came."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    etag: str = ""
    modified: str = ""


class Head(BaseModel):
    """Whose bytes the map counts; an author's number is its place, counted from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    boot: str = ""
    granule: int = 0  # bytes; 0 where nothing is known
    size: int | None = Field(None, ge=0)
    authors: tuple[Author, ...] = Field((), max_length=MOST_AUTHORS)


class Journal:
    """The head and the map of one staged file; nothing is written before ``begin``."""

    def __init__(self, data: Path) -> None:
        self.head = Head()
        self._data = data
        self._head = data.with_suffix(".json")
        self._map = data.with_suffix(".map")
        self._descriptor: int | None = None
        self._marks = b""  # what counts of the map that was found
        self._boasts = False  # the map that was found says more than counts
        self._sealed = False  # a head that gets lost would be missed
        self._lock = threading.Lock()  # of what is open

    def load(self, length: int) -> bytearray:
        """Read which granules of ``length`` bytes of data an earlier attempt vouches for.

        A journal that is torn, or of another start of this machine, vouches for less or nothing.
        """
        head, found = _read_head(self._head), _read(self._map)
        same_boot = bool(head.boot) and head.boot == boot_id()
        marks = bytearray(found)
        for at, mark in enumerate(found):
            end = (at + 1) * GRANULE if head.size is None else min((at + 1) * GRANULE, head.size)
            counts = (mark & SYNCED or same_boot) and end <= length
            marks[at] = mark if counts and 0 < mark & ~SYNCED <= len(head.authors) else 0
        self._boasts = marks != found
        if not any(marks):
            return bytearray()
        self.head, self._marks = head, bytes(marks)
        self._sealed = any(mark & SYNCED for mark in marks)
        return bytearray(mark & ~SYNCED for mark in marks)

    def begin(self, size: int | None, authors: tuple[Author, ...]) -> None:
        """Begin, or go on, to vouch for what these ``authors`` bring to a file of ``size`` bytes.

        The authors that were found keep their numbers: they come first.
        """
        head = Head(boot=boot_id(), granule=GRANULE, size=size, authors=authors)
        with self._lock:
            if self._descriptor is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._descriptor = os.open(self._map, flags, 0o600)
                os.pwrite(self._descriptor, self._marks, 0)
                os.ftruncate(self._descriptor, len(self._marks))
                if self._boasts:  # it must not come back with a power cut, when the data is another
                    os.fsync(self._descriptor)
            if head != self.head:
                _replace(self._head, head.model_dump_json(), durable=self._sealed)
                self.head = head

    def mark(self, first: int, authors: bytes) -> None:
        """Vouch for granules from ``first`` on, until the machine is started anew."""
        with self._lock:
            if self._descriptor is not None:
                os.pwrite(self._descriptor, authors, first)

    def seal(self, authors: bytes) -> None:
        """Vouch for all these granules, whose data was synced; for good once ``sync`` is back."""
        with self._lock:
            if self._descriptor is None:
                return
            self._sealed = True
            # Others may have been marked since the data was synced.
            for run in _HELD.finditer(authors):
                os.pwrite(self._descriptor, run[0].translate(_SEALED), run.start())

    def sync(self) -> None:
        """Make head and map ones that survive a power cut."""
        with self._lock:
            if self._descriptor is None:
                return
            descriptor = os.dup(self._descriptor)
        try:
            with contextlib.suppress(FileNotFoundError):  # forgotten meanwhile
                _sync_file(self._head)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync(self._data.parent)

    def forget(self, *, durable: bool) -> None:
        """Vouch for nothing more."""
        with self._lock:
            there = self._descriptor is not None or bool(self._marks) or self._boasts
            self._let_go()
            for path in (self._map, self._head, _fresh(self._head)):
                path.unlink(missing_ok=True)
            self.head, self._marks = Head(), b""
            self._boasts = self._sealed = False
        if there and durable:
            sync(self._data.parent)

    def close(self) -> None:
        """Let go of the map."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def boot_id() -> str:
    """Name this start of the machine; empty where it has no name, and only synced bytes count."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _read_head(path: Path) -> Head:
    """Read a head; of one that is missing, torn or of other granules nothing is known."""
    try:
        head = Head.model_validate_json(_read(path))
    except ValidationError:
        return Head()
    return head if head.granule == GRANULE else Head()


def _fresh(path: Path) -> Path:
    return path.with_suffix(path.suffix + ".new")


def _replace(path: Path, text: str, *, durable: bool) -> None:
    """Put a small file in place of another: whole or not at all, after a power cut if durable."""
    fresh = _fresh(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
