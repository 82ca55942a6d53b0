"""Dropping a shard: its files are deleted at their places, and what was staged of them.

Rules this module keeps:

- Only the order's own files are touched, and folders that are empty without them.
- A file that is gone already is dropped; one that cannot be deleted is reported and does not stop
  the others.  So a drop that was broken off is done again from its beginning.
- Where the store's root is missing or holds nothing at all, it is taken for one that is not
  mounted, and the drop fails, not for good: the copy may lie on what is missing.  A store that was
  used is never that bare, since pulls and drops leave the folder of staged files: so a drop that
  is done again succeeds.
- Nothing is deleted without a lease that lasts: the centre may want the shard here again.
"""

from fleet.messages import Item, ItemResult, Order
from workers.lease import Lease
from workers.storage.doubts import Doubts
from workers.storage.paths import UnsafePathError
from workers.storage.posix import PosixStorage
from workers.work import Work


def drop(order: Order, storage: PosixStorage, lease: Lease) -> Work:
    """Delete every item of ``order``.

    Raises:
        Stopped: the lease ended or may have; some files may be gone.
    """
    results = []
    if _is_missing(storage):
        return Work(items=tuple(_absent(item, storage) for item in order.items))
    for item in order.items:
        lease.check_live()
        results.append(_drop(order.folder, item, storage))
    return Work(items=tuple(results))


def _is_missing(storage: PosixStorage) -> bool:
    """Whether it looks as if the store were not there at all; nothing is made by looking."""
    try:
        return not any(storage.root.iterdir())
    except FileNotFoundError:
        return True


def _absent(item: Item, storage: PosixStorage) -> ItemResult:
    reason = f"nothing of it is here, and {storage.root} is empty: is the store mounted?"
    return ItemResult(artifact=item.artifact, ok=False, reason=reason, fault="local")


def _drop(folder: str, item: Item, storage: PosixStorage) -> ItemResult:
    try:
        path = storage.path(folder, item.path)
        storage.remove(path)
        Doubts(storage.root).lift(path)
        storage.discard(item.artifact)
        storage.prune(path.parent)
    except (OSError, UnsafePathError) as error:
        reason = f"{item.path} cannot be deleted: {error}"
        return ItemResult(artifact=item.artifact, ok=False, reason=reason, fault="local")
    return ItemResult(artifact=item.artifact, ok=True)
