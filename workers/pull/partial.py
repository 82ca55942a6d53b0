"""A file that is on its way: its bytes, its journal and its running digests.

Rules this module keeps:

- The journal is written, whole or not at all, only after the bytes it vouches for were synced;
  after a power cut what lies beyond is fetched again (at most ``CHECKPOINT`` bytes).
- The death of a process takes nothing from the page cache, so a note beside the journal vouches
  for every block written, synced or not, until the machine is started anew.
- One process at a time: the partial is locked as long as it is open, and the lock counts only
  while the file still bears its name.
- Digests' states can't be kept, so the good part is read again on resuming; it is mostly still
  in the page cache.

Methods that touch the disk block; call them from a thread.
"""

import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleet.torrent.pieces import PieceHasher
from workers.digests import Block, Digests, Found, read
from workers.pull.answers import Part, Validator
from workers.pull.faults import Local
from workers.storage.posix import PosixStorage, sync

CHECKPOINT = 16 * 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Journal(BaseModel):
    """What is known of a partial: ``good`` bytes from ``url``, in how many ``answers``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    etag: str = ""
    modified: str = ""
    size: int | None = None
    good: int = Field(0, ge=0)
    answers: int = 0


class Note(BaseModel):
    """A journal that holds until the machine with this ``boot`` id is started anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    boot: str
    journal: Journal


class Partial:
    """One staged file, locked; use it as a context manager, and ``resume`` it first.

    Args:
        path: where it is staged; the journal lies beside it.
        digests: makes the running digests of a file of that size (None: not known yet).

    Raises:
        Local: another process has it.
        OSError: the disk fails us.
    """

    def __init__(self, path: Path, digests: Callable[[int | None], Digests]) -> None:
        self.path = path
        self.journal = Journal()
        self.digests = digests(None)
        self._beside = path.with_suffix(".json")
        self._noted = path.with_suffix(".note")
        self._boot = _boot_id()
        self._make = digests
        self._published = False
        self._descriptor = _lock(path)
        self._saved = self._load()
        self._resumable = self._load_note() or self._saved

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what is worth resuming and let go; an empty partial leaves nothing behind."""
        try:
            if self._published:
                self._forget()
            elif self.good:
                self.checkpoint()
            elif not self.kept:
                self.path.unlink()
                self._forget()
        finally:
            os.close(self._descriptor)

    def resume(self, check: Callable[[], None]) -> None:
        """Read again what an earlier attempt vouched for; ``check`` may raise between blocks."""
        journal = self._resumable
        digests = self._make(journal.size)

        def take(block: Block) -> None:
            check()
            digests.update(block)

        read(self._descriptor, take, end=journal.good)
        self.journal, self.digests = journal, digests

    @property
    def good(self) -> int:
        """Bytes held and hashed."""
        return self.digests.size

    @property
    def kept(self) -> bool:
        """Whether anything is held, or was vouched for by an earlier attempt."""
        return bool(self.good or self._resumable.good)

    @property
    def whole(self) -> bool:
        """Whether all bytes of the file, whose size is known, are held."""
        return self.journal.size is not None and self.good == self.journal.size

    def part(self, url: str) -> Part:
        """Show what is held, as seen by the source at ``url``."""
        journal = self.journal
        validator = Validator(journal.etag, journal.modified)
        return Part(self.good, journal.size, validator, same_url=url == journal.url)

    def begin(self, url: str, size: int | None, validator: Validator) -> None:
        """Start from the first byte; what was held must be discarded before."""
        self.digests = self._make(size)
        self.journal = Journal(
            url=url, etag=validator.etag, modified=validator.modified, size=size, answers=1
        )

    def proceed(self, url: str, size: int | None, validator: Validator) -> None:
        """Go on after the good part with one more answer, of the same URL or of another."""
        journal = self.journal
        changes: dict[str, object] = {"size": size, "answers": journal.answers + 1}
        if url != journal.url:
            changes |= {"url": url, "etag": validator.etag, "modified": validator.modified}
        self.journal = journal.model_copy(update=changes)

    def head(self) -> bytes:
        """Read the first bytes that are held, enough to tell what they are."""
        return os.pread(self._descriptor, 512, 0)

    def write(self, chunks: Sequence[bytes]) -> None:
        """Take the next bytes: to disk, into the digests, and now and then into the journal."""
        block = b"".join(chunks)
        at, view = self.good, memoryview(block)
        while view:
            written = os.pwrite(self._descriptor, view, at)
            at, view = at + written, view[written:]
        self.digests.update(block)
        if self.good - self._saved.good >= CHECKPOINT:
            self.checkpoint()
        elif self._boot:
            note = Note(boot=self._boot, journal=self._now())
            _replace(self._noted, note.model_dump_json(), durable=False)

    def checkpoint(self) -> None:
        """Make the good part one that a later attempt may trust."""
        journal = self._now()
        if journal == self._saved:
            return
        os.fdatasync(self._descriptor)
        _replace(self._beside, journal.model_dump_json(), durable=True)
        self._noted.unlink(missing_ok=True)
        self._saved = self._resumable = journal

    def complete(self) -> None:
        """Take what is held for the whole file, whose size nobody had told."""
        self.journal = self.journal.model_copy(update={"size": self.good})

    def discard(self) -> None:
        """Throw away what is held; the journal first, so that it never vouches for other bytes."""
        self._forget()
        if self._saved.good:
            sync(self._beside.parent)
        os.ftruncate(self._descriptor, 0)
        self._saved = self._resumable = self.journal = Journal()
        self.digests = self._make(None)

    def finish(self, pieces: Callable[[int], int | None]) -> Found:
        """Sync the content, to be published next, and say what its digests are.

        ``pieces`` says how long the pieces of a file of that size are: if the size was not known
        in time to cut them in passing, the file is read again.
        """
        os.fsync(self._descriptor)
        found = self.digests.finish()
        length = pieces(found.size)
        if length is None or found.pieces is not None:
            return found
        hasher = PieceHasher(length)
        read(self._descriptor, hasher.update, end=found.size)
        return replace(found, piece_length=length, pieces=hasher.finish())

    def publish(self, storage: PosixStorage, final: Path) -> None:
        """Move the finished file to its final path."""
        storage.publish(self.path, final)
        self._published = True

    def _now(self) -> Journal:
        """Return the journal that vouches for everything held."""
        return self.journal.model_copy(update={"good": self.good})

    def _forget(self) -> None:
        for path in (self._noted, self._beside):
            _fresh(path).unlink(missing_ok=True)  # left behind if a process was killed just then
            path.unlink(missing_ok=True)

    def _load(self) -> Journal:
        """Read the journal; one that is torn, or says more than the file has, says nothing."""
        try:
            journal = Journal.model_validate_json(self._beside.read_bytes())
        except (FileNotFoundError, ValidationError):
            return Journal()
        return journal if self._holds(journal) else Journal()

    def _load_note(self) -> Journal | None:
        """Read the note, if it is of this boot and says more than the journal."""
        try:
            note = Note.model_validate_json(self._noted.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        counts = note.boot == self._boot and self._holds(note.journal)
        return note.journal if counts and note.journal.good > self._saved.good else None

    def _holds(self, journal: Journal) -> bool:
        return os.fstat(self._descriptor).st_size >= journal.good


def _boot_id() -> str:
    """Name this start of the machine; empty where it has no name, and notes are not taken."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _fresh(path: Path) -> Path:
    return path.with_suffix(path.suffix + ".new")


def _replace(path: Path, text: str, *, durable: bool) -> None:
    """Put a small file in place of another, whole or not at all."""
    fresh = _fresh(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)


def _lock(path: Path) -> int:
    """Open and lock ``path``; a file that was published or removed meanwhile is not it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        descriptor, held = os.open(path, flags, 0o600), False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.path.samestat(path.stat(), os.fstat(descriptor))
        except BlockingIOError as error:
            raise Local("another attempt on this host is still writing it") from error
        except FileNotFoundError:
            continue
        finally:
            if not held:
                os.close(descriptor)
        if held:
            return descriptor
