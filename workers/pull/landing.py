"""Files that are proved and wait to be made durable together, then put in their places.

Rules this module keeps:

- Content first, then names, then the folders of the names; only then is anyone told.
- What the disk could not write is never called durable: if the content of one file may be lost,
  the whole batch's is held for lost, but for what its owners had synced themselves.
- A name that cannot be given (taken by a folder, too long) fails that file alone.
- Whoever comes too late is told so: nothing waits for what nobody will do.
"""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self

from workers.storage.posix import Disk, PosixStorage, StrPath

FULL = 256
FULL_BYTES = 64 * 1024 * 1024
PATIENCE = 2.0  # seconds

Landed = Callable[[OSError | None], None]


class _Waiting(NamedTuple):
    staged: str
    final: str
    synced: bool
    landed: Landed


class Landing:
    """Lands files in batches, in the thread that fills one; leaving it lands what waits."""

    def __init__(self, storage: PosixStorage) -> None:
        self._storage = storage
        self._lock = threading.Lock()  # of what waits
        self._turn = threading.Lock()  # of whoever lands
        self._waiting: list[_Waiting] = []
        self._since = 0.0  # the first of it waits
        self._unsynced_bytes = 0
        self._left = False
        self._disk: Disk | None = None

    def __enter__(self) -> Self:
        # Opened before anything is written: it reports all errors since then.
        self._disk = Disk(self._storage.staging_folder())
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._left = True
        try:
            self.flush()
        finally:
            if self._disk is not None:
                self._disk.close()

    def add(
        self, staged: StrPath, final: StrPath, synced: bool, landed: Landed, size: int = 0
    ) -> None:
        """Let a proved file wait for its batch; return after landing it if it made that full.

        Args:
            staged: where it lies now, on the storage's own file system.
            final: where it belongs; what lies there is replaced.
            synced: whether its content was synced by the caller.
            landed: called once, from any thread, when content and name are durable (None) or with
                what went wrong (ECANCELED: the landing was left before); it must not raise.
            size: how many bytes have to be made durable with the batch.
        """
        waiting = _Waiting(os.fspath(staged), os.fspath(final), synced, landed)
        with self._lock:
            late = self._left
            if not late:
                self._since = self._since if self._waiting else monotonic()
                self._waiting.append(waiting)
                self._unsynced_bytes += size
            full = self._full
        if late:
            landed(OSError(errno.ECANCELED, os.strerror(errno.ECANCELED)))
        elif full:
            with self._turn:
                if self._full:
                    self._land()

    @property
    def due(self) -> bool:
        """Whether the first of what waits has waited for ``PATIENCE`` seconds."""
        with self._lock:
            return bool(self._waiting) and monotonic() - self._since >= PATIENCE

    def flush(self) -> None:
        """Land what waits, and wait for what others land."""
        with self._turn:
            self._land()

    @property
    def _full(self) -> bool:
        return len(self._waiting) >= FULL or self._unsynced_bytes >= FULL_BYTES

    def _land(self) -> None:
        with self._lock:
            batch, self._waiting, self._unsynced_bytes = self._waiting, [], 0
        wrong = self._sync([each.staged for each in batch if not each.synced])
        named: list[_Waiting] = []
        for each in batch:
            if wrong and not each.synced:
                each.landed(wrong)
                continue
            try:
                self._storage.publish(each.staged, each.final)
            except OSError as error:
                each.landed(error)
            else:
                named.append(each)
        unsettled = self._settle(named)
        for each in named:
            each.landed(unsettled)

    def _sync(self, staged: Sequence[str]) -> OSError | None:
        """Make the content of staged files durable; give what kept us from it."""
        if not staged or self._disk is None:
            return None
        try:
            self._disk.sync(staged)
        except OSError as error:
            return error
        return None

    def _settle(self, named: Sequence[_Waiting]) -> OSError | None:
        """Make names durable; give what kept us from it."""
        try:
            self._storage.settle(each.final for each in named)
        except OSError as error:
            return error
        return None
