"""A staged file that is on its way: locked, written at any place, and vouched for by a journal.

One process at a time: the file is locked as long as it is open, and the lock counts only while
the file still bears its name.  No room is set aside beforehand: file systems that allocate late
lay four interleaved streams out in as few runs either way (9 in 1 GiB on ext4), and tmpfs would
have to clear every page first.  Methods that touch the disk block.

After a sync that failed nothing is believed any more: the kernel tells of what it could not write
once, and then shows it as if it were on the disk (fsync(2)).
"""

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from workers.pull.faults import Local
from workers.pull.journal import Author, Journal
from workers.storage.posix import FILE_MODE


class Partial:
    """One staged file; use it as a context manager.

    Raises:
        Local: another process has it.
        OSError: the disk fails us.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = _lock(path)
        self.journal = Journal(path)
        self.found = self.journal.load(os.fstat(self.descriptor).st_size)
        self._closed = self._published = self._lost = False
        self._closing = threading.Lock()  # a descriptor that was closed may name another file
        self._keeps = bool(self.found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go; a partial that nothing is known of leaves nothing behind.  Twice is once."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                if self._published:
                    self.journal.forget(durable=False)
                elif not self._keeps:
                    self.path.unlink(missing_ok=True)
                    self.journal.forget(durable=False)
            finally:
                self.journal.close()
                os.close(self.descriptor)

    def begin(self, size: int | None, authors: tuple[Author, ...]) -> None:
        """Keep a journal from now on."""
        if not self._lost:
            self._keeps = True
            self.journal.begin(size, authors)

    def write(self, view: memoryview, at: int) -> None:
        """Put bytes where they belong."""
        while view:
            written = os.pwrite(self.descriptor, view, at)
            at, view = at + written, view[written:]

    def read(self, start: int, end: int) -> bytes:
        """Read bytes ``[start, end)`` that were written before."""
        return os.pread(self.descriptor, end - start, start)

    def head(self) -> bytes:
        """Read the first bytes, enough to tell what they are."""
        return os.pread(self.descriptor, 512, 0)

    def sync(self) -> None:
        """Make what was written so far survive a power cut; once closed, do nothing.

        Raises:
            OSError: it may not, and is disowned.
        """
        self._sync(os.fdatasync)

    def discard(self) -> None:
        """Throw away what is held; the journal first, so that it never vouches for other bytes."""
        self.journal.forget(durable=True)
        os.ftruncate(self.descriptor, 0)
        self._keeps = False
        self.found = bytearray()

    def disown(self) -> None:
        """Vouch for nothing of it, now and later: what was written may not be on the disk."""
        self._lost, self._keeps = True, False
        self.journal.forget(durable=True)

    def finish(self, size: int, *, durable: bool) -> None:
        """Make it ready to be published: cut off what is beyond its end, sync it if wanted.

        Raises:
            OSError: it cannot be; if it could not be synced, it is disowned.
        """
        os.ftruncate(self.descriptor, size)
        os.fchmod(self.descriptor, FILE_MODE)
        if durable:
            self._sync(os.fsync)

    def published(self) -> None:
        """Know that the file has been moved to its place."""
        self._published = True

    def _sync(self, how: Callable[[int], None]) -> None:
        with self._closing:
            if self._closed:
                return
            try:
                how(self.descriptor)
            except OSError:
                self.disown()
                raise


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
