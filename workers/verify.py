"""Fixity: an order's items, read again where they lie.

Rules this module keeps:

- What is read comes from the disk as far as the system lets us say so, not from the page cache: a
  cached copy proves the memory.
- A corrupt file is moved to quarantine, so that neither the door nor a seeder offers it again;
  a missing one is only reported.
- A block that the disk cannot read is corruption; a file that we may not open is this host's
  fault.
"""

import errno
import os
import sys
import time
from pathlib import Path

from fleet.messages import Item, ItemResult, Order
from fleet.torrent.pieces import PieceHasher
from workers.digests import BLOCK, Block, Digests, Found, kinds, mismatch, parts_of, pieces_of, read
from workers.lease import Lease
from workers.shard import in_offset_order, uncut
from workers.storage.paths import UnsafePathError
from workers.storage.posix import PosixStorage
from workers.work import Work, well

PAUSE_SECONDS = 0.2


def verify(order: Order, storage: PosixStorage, lease: Lease) -> Work:
    """Hash every item of ``order`` where it lies, and the shard's pieces if they are ordered.

    Raises:
        Stopped: the lease ended; nothing is reported of what was read.
    """
    fixity = _Fixity(order, storage, lease)
    items = in_offset_order(order.items)
    found = {id(item): fixity.verify(item) for item in items}
    results = tuple(found[id(item)] for item in order.items)
    whole = order.shard is not None and "pieces" in order.digests
    if not whole or not all(result.ok for result in results):
        return Work(items=results, blobs=fixity.blobs)
    reason = uncut(order, [found[id(item)].size or 0 for item in items])
    pieces = fixity.finish() if fixity.pieces and not reason else None
    return Work(items=results, pieces=pieces, blobs=fixity.blobs, reason=reason)


class _Fixity:
    """One verify under way; items are to come in the order of their offsets."""

    def __init__(self, order: Order, storage: PosixStorage, lease: Lease) -> None:
        self.blobs: dict[str, bytes] = {}
        cut = order.piece_length if order.shard and "pieces" in order.digests else None
        self.pieces = PieceHasher(cut) if cut else None
        self._at = 0  # in the stream that they are cut from
        self._order = order
        self._storage = storage
        self._lease = lease

    def verify(self, item: Item) -> ItemResult:
        """Verify one item; every failure becomes its result."""
        try:
            path = self._storage.path(self._order.folder, item.path)
            found = self._read(item, path)
        except UnsafePathError as error:
            return ItemResult(
                artifact=item.artifact, ok=False, reason=str(error), fault="refused", final=True
            )
        except (FileNotFoundError, NotADirectoryError):
            size = "" if item.size is None else f", all {item.size} bytes of it"
            reason = f"{item.path} is missing{size}"
            return ItemResult(artifact=item.artifact, ok=False, reason=reason, fault="missing")
        except OSError as error:
            reason = f"{item.path} cannot be read: {error.strerror or error}"
            if error.errno == errno.EIO:
                return self._corrupt(item, path, reason)
            return ItemResult(artifact=item.artifact, ok=False, reason=reason, fault="local")
        wrong = mismatch(item, found)
        if wrong:
            return self._corrupt(item, path, f"{item.path} is corrupt: {wrong}", found.size)
        return well(item, found, self.blobs)

    def _read(self, item: Item, path: Path) -> Found:
        with self._storage.open(path) as file:
            descriptor = file.fileno()
            size = os.fstat(descriptor).st_size
            alone = pieces_of(self._order, size) if self._order.shard is None else None
            digests = Digests(kinds(self._order, item), alone, parts_of(self._order))

            self._pad(item.offset)

            def take(block: Block) -> None:
                self._hold()
                digests.update(block)
                if self.pieces is not None:
                    self.pieces.update(block)
                self._at += len(block)
                self._lease.advance(len(block))

            if sys.platform == "linux":
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            read(descriptor, take)
        return digests.finish()

    def finish(self) -> bytes:
        """End the stream; give the hashes of its pieces."""
        self._pad(self._order.stream)
        return self.pieces.finish() if self.pieces else b""

    def _pad(self, end: int | None) -> None:
        """Put zeros into the stream up to ``end``, if the order lets there be any."""
        if self.pieces is None or self._order.stream is None or end is None:
            return
        end = min(end, self._order.stream)
        while self._at < end:
            zeros = bytes(min(BLOCK, end - self._at))
            self.pieces.update(zeros)
            self._at += len(zeros)

    def _hold(self) -> None:
        """Go on if the lease lets us, now or after a pause."""
        self._lease.check()
        while self._lease.paused:
            time.sleep(PAUSE_SECONDS)
            self._lease.check()

    def _corrupt(self, item: Item, path: Path, reason: str, size: int | None = None) -> ItemResult:
        """Take a corrupt file out of the tree, and report it."""
        try:
            self._storage.quarantine(path, reason)
        except OSError as error:
            reason += f"; it could not be moved to quarantine: {error.strerror or error}"
        return ItemResult(
            artifact=item.artifact, ok=False, size=size, reason=reason, fault="corrupt"
        )
