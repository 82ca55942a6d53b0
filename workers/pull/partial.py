"""A file that is on its way: its bytes, its journal and its running digests.

Rules this module keeps:

- The journal is written, whole or not at all, only after the bytes it vouches for were synced;
  what lies beyond is fetched again (at most ``CHECKPOINT`` bytes after a crash).
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


class Journal(BaseModel):
    """What is known of a partial: ``good`` bytes from ``url``, in how many ``answers``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    etag: str = ""
    modified: str = ""
    size: int | None = None
    good: int = Field(0, ge=0)
    answers: int = 0


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
        self._make = digests
        self._published = False
        self._descriptor = _lock(path)
        self._saved = self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what is worth resuming and let go; an empty partial leaves nothing behind."""
        try:
            if self._published:
                self._beside.unlink(missing_ok=True)
            elif self.good:
                self.checkpoint()
            elif not self.kept:
                self.path.unlink()
                self._beside.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)

    def resume(self, check: Callable[[], None]) -> None:
        """Read again what an earlier attempt vouched for; ``check`` may raise between blocks."""
        journal = self._saved
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
        return bool(self.good or self._saved.good)

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

    def checkpoint(self) -> None:
        """Make the good part one that a later attempt may trust."""
        journal = self.journal.model_copy(update={"good": self.good})
        if journal == self._saved:
            return
        os.fdatasync(self._descriptor)
        fresh = self._beside.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(journal.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._beside)
        self._saved = journal

    def complete(self) -> None:
        """Take what is held for the whole file, whose size nobody had told."""
        self.journal = self.journal.model_copy(update={"size": self.good})

    def discard(self) -> None:
        """Throw away what is held; the journal first, so that it never vouches for other bytes."""
        if self._saved.good:
            self._beside.unlink()
            sync(self._beside.parent)
        os.ftruncate(self._descriptor, 0)
        self._saved = self.journal = Journal()
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

    def _load(self) -> Journal:
        """Read the journal; one that is torn, or says more than the file has, says nothing."""
        try:
            journal = Journal.model_validate_json(self._beside.read_bytes())
        except (FileNotFoundError, ValidationError):
            return Journal()
        kept = os.fstat(self._descriptor).st_size
        return journal if kept >= journal.good else Journal()


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
