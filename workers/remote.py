"""A site that has no worker, as an attempt works for it: opened, read and emptied from here.

Rules this module keeps:

- What opens it is kept in memory, and asked for anew when it expires.
- A verify reads every byte of every file from where it lies.  What is corrupt there and ours, as
  the service says, is removed: else it could never be written anew, and would be offered on.
- A drop removes the order's own files and no others.
- A switch is of what lies there already: no byte goes through this node.
"""

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Final

from fleet.messages import Grant, Item, ItemResult, Order
from fleet.places import BucketPlace, ItemsPlace, RecordsPlace
from fleet.settings import SiteSettings
from workers.centre import Centre, CentreAway, CentreRefused
from workers.lease import Lease
from workers.storage import archive, latest
from workers.storage.contract import Absent, Denied, Storage, StorageError, Switchable
from workers.storage.zenodo import Record
from workers.work import Work

KEPT_SECONDS: Final = 60.0


def opened(order: Order, lease: Lease, settings: SiteSettings, centre: Centre) -> Storage:
    """Open the site that ``order`` has a grant for."""
    assert order.grant is not None
    match order.grant.place:
        case BucketPlace() as place:
            return _bucket(order, order.grant, place, lease, settings, centre)
        case ItemsPlace() as place:
            keys = archive.Keys(order.grant.key_id, order.grant.secret)
            size = sum(item.size or 0 for item in order.items)
            return archive.Archive(place, keys, settings.user_agent, lease, size)
        case RecordsPlace() as place:
            token = order.grant.token or ""
            return Record(place, token, settings.user_agent, lease, order.folder)


def _bucket(
    order: Order,
    first: Grant,
    at: BucketPlace,
    lease: Lease,
    settings: SiteSettings,
    centre: Centre,
) -> Storage:
    from workers.storage.s3 import Bucket, Keys, Place  # noqa: PLC0415 - 0.3 s that few need

    place = Place(at.endpoint, at.bucket, at.prefix, at.region)
    held = _Held(first)

    def keys() -> Keys:
        try:
            grant = held.renewed(lambda: centre.grant(order.attempt))
        except CentreRefused as error:
            raise Denied(f"what opens {first.site} cannot be had anew: {error}") from error
        except CentreAway as error:
            raise StorageError(f"what opens {first.site} cannot be had now: {error}") from error
        return Keys(grant.key_id, grant.secret, grant.token, grant.expires)

    return Bucket(place, keys, settings.user_agent, lease)


class _Held:
    """A grant, and when it was had: for a while no other is asked for."""

    def __init__(self, grant: Grant) -> None:
        self._grant, self._had = grant, time.monotonic()
        self._lock = threading.Lock()

    def renewed(self, ask: Callable[[], Grant]) -> Grant:
        """Return the grant, or a new one if that was had a while ago."""
        with self._lock:
            if time.monotonic() - self._had > KEPT_SECONDS:
                self._grant, self._had = ask(), time.monotonic()
            return self._grant


def verify(order: Order, storage: Storage, lease: Lease) -> Work:
    """Read every item of ``order`` where it lies.

    Raises:
        Stopped: the lease ended.
    """
    return Work(tuple(_verify(item, _path(order, item), storage, lease) for item in order.items))


def drop(order: Order, storage: Storage, lease: Lease) -> Work:
    """Remove every item of ``order``.

    Raises:
        Stopped: the lease ended or may have; some may be gone.
    """
    return Work(tuple(_drop(item, _path(order, item), storage, lease) for item in order.items))


def switch(order: Order, storage: Storage, lease: Lease) -> Work:
    """Have the set of ``order`` be served under bare names.

    Raises:
        Stopped: the lease ended; the next attempt goes on.
    """
    assert order.latest is not None
    if not isinstance(storage, Switchable):
        return Work(reason=f"what {order.latest.title} lies in serves nothing under bare names")
    try:
        latest.switch(storage, order.latest, lease)
    except StorageError as error:
        return Work(reason=str(error))
    return Work()


def _verify(item: Item, path: str, storage: Storage, lease: Lease) -> ItemResult:
    digest, size = hashlib.sha256(), 0
    try:
        for block in storage.read(path):
            lease.check()
            digest.update(block)
            size += len(block)
            lease.advance(len(block))
    except Absent:
        reason = f"{item.path} is missing"
        return ItemResult(artifact=item.artifact, ok=False, reason=reason, fault="missing")
    except StorageError as error:
        return _failed(item, error)
    found = digest.hexdigest()
    if item.sha256 is not None and found != item.sha256:
        reason = f"{item.path} is corrupt: sha256 {found}, and {item.sha256} was expected"
        reason += _put_away(item, path, storage)
        return ItemResult(
            artifact=item.artifact, ok=False, size=size, reason=reason, fault="corrupt"
        )
    return ItemResult(artifact=item.artifact, ok=True, size=size, sha256=found)


def _put_away(item: Item, path: str, storage: Storage) -> str:
    """Remove a corrupt object that was written as this item; say what became of it."""
    try:
        found = storage.stat(path)
        if found is None or item.sha256 is None:
            return ""
        if found.sha256 != item.sha256 and (item.md5 is None or found.md5 != item.md5):
            return "; it was not written by us, and stays until a person removes it"
        storage.remove(path)
    except StorageError as error:
        return f"; it could not be removed: {error}"
    return "; it was removed, to be written anew"


def _drop(item: Item, path: str, storage: Storage, lease: Lease) -> ItemResult:
    lease.check_live()
    try:
        storage.remove(path)
    except StorageError as error:
        return _failed(item, error)
    return ItemResult(artifact=item.artifact, ok=True)


def _failed(item: Item, error: StorageError) -> ItemResult:
    return ItemResult(
        artifact=item.artifact, ok=False, reason=str(error), final=error.final, fault="local"
    )


def _path(order: Order, item: Item) -> str:
    return f"{order.folder}/{item.path}" if order.folder else item.path
