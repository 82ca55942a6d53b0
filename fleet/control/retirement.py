"""Retiring a site: what it holds counts no more, and its work goes to others.

A site whose copies are needed is retired later: as long as a shard lacks ``min`` good copies at
other sites, it stays a source and goes on with its work, but gets nothing new.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, false, func, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from fleet.control import facts, incidents, probes, replicas, tombstones
from fleet.planning import spread
from fleet.planning.states import ReplicaState, TransferKind, TransferState, VersionState
from fleet.store import faults, holdings, transfers
from fleet.store.database import Store
from fleet.store.tables import Replica, Rule, Shard, Site, Tombstone, Version

_LOOK_AGAIN = timedelta(minutes=10)


def step(store: Store) -> bool:
    """Look at the sites that are to be retired; False when none was due."""
    with store.read() as session:
        now = store.now(session)
        due = session.exec(select(Site.id).where(col(Site.retiring) <= now)).all()
    for site in due:
        look_at(store, site)
    return bool(due)


def look_at(store: Store, site: str) -> bool:
    """Retire a site that is to be, once none of its copies is needed; whether it is retired.

    Of several each is a unit of work of its own, which takes its shards in the order all keep.
    """
    with store.write() as session:
        now, row = store.now(session), session.get_one(Site, site)
        if row.retiring is None:
            return row.retired
        if _needed(session, site, most=1):
            row.retiring = now + _LOOK_AGAIN
        else:
            _retire(session, row, now)
        return row.retired


def waits(session: Session, site: str) -> str:
    """Say what a site that is to be retired waits for."""
    return (
        f"is retired once {len(_needed(session, site))} shards have as many copies elsewhere as "
        "they must have; until then keep it running"
    )


def _needed(session: Session, site: str, most: int | None = None) -> Sequence[str]:
    """Name the shards of which a site has a copy and others have fewer than must be.

    Copies with a tombstone, unread ones of a site that is at fault as a whole, and those of a
    gateway and what it fronts take nobody's place.
    """
    other, elsewhere = aliased(Replica), aliased(Site)
    going = aliased(Tombstone)
    leaving = exists().where(
        col(going.shard_id) == col(other.shard_id), col(going.site_id) == col(other.site_id)
    )
    others = (
        select(func.count())
        .select_from(other)
        .join(elsewhere, col(elsewhere.id) == col(other.site_id))
        .where(
            col(other.shard_id) == col(Replica.shard_id),
            col(other.site_id).not_in([site, *_one_place(session, site)]),
            faults.counts(other),
            col(elsewhere.retired).is_(False),
            col(elsewhere.retiring).is_(None),
            col(elsewhere.silent).is_(False),
            ~leaving,
            ~_only_fronts(session, other),
        )
        .correlate(Replica)
        .scalar_subquery()
    )
    least = (
        select(Rule.min_copies)
        .where(col(Rule.dataset_id) == col(Version.dataset_id))
        .order_by(col(Rule.id).desc())
        .limit(1)
        .correlate(Version)
        .scalar_subquery()
    )
    return session.exec(
        select(Replica.shard_id)
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            Replica.site_id == site,
            col(Replica.state).in_(holdings.SEEDED),
            Version.state != VersionState.WITHDRAWN,
            others < func.coalesce(least, 1),
        )
        .limit(most)
    ).all()


def _one_place(session: Session, site: str) -> list[str]:
    """Name the sites that are one place with another by a gateway: their bytes are the same."""
    fronted = facts.fronted(session)
    return [
        one
        for one in session.exec(select(Site.id)).all()
        if one != site and spread.gateway(site, one, fronted)
    ]


def _only_fronts(session: Session, other: type[Replica]) -> ColumnElement[bool]:
    """Whether a copy is a gateway's, and what it fronts has one as well, which counts."""
    behind = aliased(Replica)
    return or_(
        false(),
        *(
            (col(other.site_id) == gateway)
            & exists().where(
                col(behind.shard_id) == col(other.shard_id),
                col(behind.site_id).in_(sites),
                col(behind.state) == ReplicaState.AVAILABLE,
            )
            for gateway, sites in facts.fronted(session).items()
        ),
    )


def _retire(session: Session, row: Site, now: datetime) -> None:
    """Take a site out of everything, in one unit of work; nothing on its disks is touched.

    Transfers are taken first, then versions, shards and what hangs on them, the site's row last.
    """
    site = row.id
    versions: set[str] = set()
    for transfer in transfers.of_site(session, site):
        transfers.withdraw_announced(session, transfer.id)
        if transfer.kind == TransferKind.PROBE and transfer.target_id != site:
            probes.rearm(session, transfer, now)
            continue
        transfer.state, transfer.ended_at = TransferState.CANCELLED, now
        transfer.reason = f"{site} was retired"
        if transfer.kind == TransferKind.INGEST and transfer.version_id:
            for artifact in holdings.ingested_by(session, transfer.id):
                artifact.ingest_id = None
        if transfer.version_id:
            versions.add(transfer.version_id)
    for version in sorted(versions):
        holdings.lock(session, Version, version).dirty = True
    replicas.retire(session, site, now)
    tombstones.forget_site(session, site)
    incident = incidents.of(session, site)
    if incident is not None:
        incident.ended_at, incident.look_at = now, None
    row.retired, row.retiring = True, None
