"""What a probe reads: a part, with a hash that proves it, of a file of each of several copies.

Rules this module keeps:

- Half of what is read is of the copies whose proof is oldest, half of those that are no web seed,
  in any order: however many are bad, they hold up no other, and what is good is seen to be.  What
  the one half lacks the other has.
- Of a copy that is no web seed its largest file is asked for: it meets whatever cuts ranges.
- A part is a whole piece, or a whole file where no piece lies within it.
"""

import random
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Integer, bindparam
from sqlmodel import Session, col, func, select

from fleet.control import layers, reading
from fleet.messages import Item, ItemResult, Sample, Source
from fleet.planning.states import ReplicaState
from fleet.store import versioning
from fleet.store.tables import Artifact, Blob, Replica, Shard, Site, Version
from fleet.torrent.pieces import DIGEST_BYTES

AT_ONCE = 8  # copies that one probe looks at
_WHOLE_MOST = 1024 * 1024  # a file is read whole up to this size


_COPIES = (
    select(Replica, Shard)
    .join(Shard, col(Shard.id) == col(Replica.shard_id))
    .where(
        Replica.site_id == bindparam("site"),
        Replica.state == ReplicaState.AVAILABLE,
        col(Shard.infohash).is_not(None),
    )
    .limit(AT_ONCE)
)
_PROVED_AT = col(Replica.proved_at)
_NEW = _COPIES.where(_PROVED_AT.is_(None)).order_by(func.random())
_OLD = _COPIES.where(_PROVED_AT.is_not(None)).order_by(_PROVED_AT)
_FILES = select(Artifact).where(Artifact.shard_id == bindparam("shard")).limit(1)
_LARGEST = _FILES.order_by(col(Artifact.size).desc(), col(Artifact.id))
_ONE = _FILES.order_by(col(Artifact.id)).offset(bindparam("at", type_=Integer()))


def choose(session: Session, target: Site) -> tuple[Item, ...]:
    """Choose what a probe of a site reads; the items' paths are below the site's root."""
    if not target.read_url:
        return ()
    new = session.exec(_NEW, params={"site": target.id}).all()
    old = session.exec(_OLD, params={"site": target.id}).all()
    rows = [*old[: max(AT_ONCE // 2, AT_ONCE - len(new))], *new][:AT_ONCE]
    rows.sort(key=lambda row: row[1].id)  # its outcome locks them in this order, as the scheduler
    items = (_item(session, target, replica, shard) for replica, shard in rows)
    return tuple(item for item in items if item is not None)


def places(items: Sequence[Item]) -> list[dict[str, str]]:
    """Give what is kept of a probe's order: the artifacts that its outcome may speak of."""
    return [
        {"artifact": one.artifact, "host": source.site or "", "state": "asked", "reason": one.path}
        for one in items
        for source in one.sources
    ]


def asked(places: Sequence[Mapping[str, str]], told: Iterable[ItemResult]) -> list[ItemResult]:
    """Return what an outcome says of the artifacts that were asked for, once of each."""
    known = {place.get("artifact") for place in places}
    first: dict[str, ItemResult] = {}
    for item in told:
        if item.artifact in known:
            first.setdefault(item.artifact, item)
    return list(first.values())


def _item(session: Session, target: Site, replica: Replica, shard: Shard) -> Item | None:
    if replica.proved_at is None:
        artifact = session.exec(_LARGEST, params={"shard": shard.id}).one()
    else:
        at = random.randrange(shard.files)  # noqa: S311 - sampling, not a secret
        artifact = session.exec(_ONE, params={"shard": shard.id, "at": at}).one()
    sample = _sample(session, shard, artifact)
    where = reading.of(session, shard.version_id, [target]).get(target.id)
    if sample is None or where is None:
        return None
    folder = versioning.folder(session.get_one(Version, shard.version_id))
    return Item(
        artifact=artifact.id,
        path=f"{folder}/{artifact.path}",
        size=artifact.size,
        sha256=artifact.sha256,
        sources=(Source(url=where.url(folder, artifact.path), site=target.id),),
        sample=sample,
    )


def _sample(session: Session, shard: Shard, artifact: Artifact) -> Sample | None:
    size, offset, length = artifact.size or 0, artifact.offset or 0, shard.piece_length
    if artifact.layer is not None and artifact.piece_length is not None:
        length = artifact.piece_length
        number = random.randrange(size // length)  # noqa: S311 - sampling, not a secret
        digest = layers.piece(session, artifact, number)
        return Sample(start=number * length, length=length, bep52=digest)
    first, last = -(-offset // length), (offset + size) // length
    if size <= _WHOLE_MOST or first >= last:
        return Sample(start=0, length=size, sha256=artifact.sha256)
    blob = session.get(Blob, shard.pieces)
    if blob is None:
        return None
    number = random.randrange(first, last)  # noqa: S311 - sampling, not a secret
    digest = blob.data[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES].hex()
    return Sample(start=number * length - offset, length=length, sha1=digest)
