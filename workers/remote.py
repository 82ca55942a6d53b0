"""A site that has no worker, as an attempt works for it: opened, read and emptied from here.

Rules this module keeps:

- What opens it is kept in memory, and asked for anew when it expires.
- A verify reads every byte of every file from where it lies; a drop removes the order's own files
  and no others.
"""

import hashlib

from fleet.messages import Grant, Item, ItemResult, Order
from fleet.places import BucketPlace, ItemsPlace
from fleet.settings import SiteSettings
from workers.centre import Centre, CentreAway, CentreRefused
from workers.lease import Lease
from workers.storage import archive
from workers.storage.contract import Absent, Denied, Storage, StorageError
from workers.work import Work


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
    granted = [first]  # the one that came with the order, for the first asking

    def keys() -> Keys:
        try:
            grant = granted.pop() if granted else centre.grant(order.attempt)
        except (CentreRefused, CentreAway) as error:
            raise Denied(f"what opens {first.site} cannot be had anew: {error}") from error
        return Keys(grant.key_id, grant.secret, grant.token, grant.expires)

    return Bucket(place, keys, settings.user_agent, lease)


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
        return ItemResult(
            artifact=item.artifact, ok=False, size=size, reason=reason, fault="corrupt"
        )
    return ItemResult(artifact=item.artifact, ok=True, size=size, sha256=found)


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
