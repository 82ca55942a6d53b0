"""Fixity: an order's items, read again where they lie.

Rules this module keeps:

- What is read comes from the disk as far as the system lets us say so, not from the page cache: a
  cached copy proves the memory.
- A corrupt file is moved to quarantine, so that neither the door nor a seeder offers it again;
  a missing one is only reported.
- One whose size is right may be mended in its place before, where the order names its torrent;
  that is believed only after it was read again, and all that was written to with it.
- It stays in its place for that, because the seeder goes on serving its good pieces from there.
  From the moment it is known to be corrupt it is in doubt (see ``doubts``), and no door offers it:
  whoever is stopped or killed leaves the doubt, and only a verify lifts it.
- A block that the disk cannot read is corruption; a file that we may not open is this host's
  fault.
"""

import errno
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fleet.messages import Item, ItemResult, Order
from fleet.torrent.pieces import PieceHasher
from workers.digests import BLOCK, Block, Digests, Found, kinds, mismatch, parts_of, pieces_of, read
from workers.lease import Lease
from workers.mend import Mended, mendable
from workers.shard import in_offset_order, uncut
from workers.storage.doubts import Doubts
from workers.storage.paths import UnsafePathError
from workers.storage.posix import PosixStorage
from workers.work import Work, well

PAUSE_SECONDS = 0.2

Mend = Callable[[Sequence[Item]], Mended]


def verify(order: Order, storage: PosixStorage, lease: Lease, mend: Mend | None = None) -> Work:
    """Hash every item of ``order`` where it lies, and the shard's pieces if they are ordered.

    Args:
        order: what to read.
        storage: where it lies.
        lease: asked before each read.
        mend: mends corrupt files in their places, if it can.

    Raises:
        Stopped: the lease ended; nothing is reported of what was read.
    """
    fixity = _Fixity(order, storage, lease, mending=mend is not None)
    items = in_offset_order(order.items)
    found = {id(item): fixity.verify(item) for item in items}
    mended = Mended()
    if mend and fixity.doubted:
        mended = mend(fixity.doubted)
        fixity = _read_again(fixity, items, mended, found)
    results = tuple(found[id(item)] for item in order.items)
    work = Work(results, mended.sources, mended.bytes_fetched, blobs=fixity.blobs)
    whole = order.shard is not None and "pieces" in order.digests
    if not whole or not all(result.ok for result in results):
        return work
    reason = uncut(order, [found[id(item)].size or 0 for item in items])
    pieces = fixity.finish() if fixity.pieces and not reason else None
    return replace(work, pieces=pieces, reason=reason)


def _read_again(
    before: "_Fixity", items: Sequence[Item], mended: Mended, found: dict[int, ItemResult]
) -> "_Fixity":
    """Read what was doubted and what else was written to; all of it where pieces are cut."""
    doubted = {id(item) for item in before.doubted}
    fixity = before.again(mended.reason)
    for item in items:
        if fixity.pieces or id(item) in doubted or mended.touches(item):
            result = fixity.verify(item)
            told = {"reason": mended.reason} if result.ok and id(item) in doubted else {}
            found[id(item)] = result.model_copy(update=told)
    return fixity


class _Fixity:
    """One reading of all or some items; they are to come in the order of their offsets.

    Attributes:
        doubted: the corrupt ones that were left in their places, to be mended.
    """

    def __init__(self, order: Order, storage: PosixStorage, lease: Lease, *, mending: bool) -> None:
        self.blobs: dict[str, bytes] = {}
        self.doubted: list[Item] = []
        self._mending = mending
        self._note = ""  # of what was tried before this reading
        cut = order.piece_length if order.shard and "pieces" in order.digests else None
        self.pieces = PieceHasher(cut) if cut else None
        self._at = 0  # in the stream that they are cut from
        self._order = order
        self._storage = storage
        self._doubts = Doubts(storage.root)
        self._lease = lease

    def again(self, note: str) -> "_Fixity":
        """Begin another reading, of what was written to meanwhile; ``note`` says why."""
        fixity = _Fixity(self._order, self._storage, self._lease, mending=False)
        fixity.blobs, fixity._note = self.blobs, note
        return fixity

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
        try:
            self._doubts.lift(path)
        except OSError as error:
            reason = f"{item.path} is right, but stays in doubt: {error.strerror or error}"
            return ItemResult(artifact=item.artifact, ok=False, reason=reason, fault="local")
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

            if self._note:
                os.fsync(descriptor)  # what is not on the disk yet stays in the cache
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
        """Take a corrupt file out of the tree, unless it may be mended, and report it."""
        reason = f"{reason}; {self._note}" if self._note else reason
        fits = size is not None and size == item.size and mendable(item)
        if not (self._mending and fits and self._left_in_doubt(item, path, reason)):
            try:
                self._storage.quarantine(path, reason)
                self._doubts.lift(path)
            except OSError as error:
                reason += f"; it could not be moved to quarantine: {error.strerror or error}"
        return ItemResult(
            artifact=item.artifact, ok=False, size=size, reason=reason, fault="corrupt"
        )

    def _left_in_doubt(self, item: Item, path: Path, reason: str) -> bool:
        """Leave a corrupt file in its place, to be mended, if nobody is given it meanwhile."""
        try:
            self._doubts.put(path, reason)
        except OSError:
            return False
        self.doubted.append(item)
        return True
