"""What a site that is to be retired waits for, shard by shard, as `fleet why` tells it."""

from collections.abc import Iterator

from sqlmodel import Session, col, select

from fleet.control import gateways, standing
from fleet.control.causes import Cause
from fleet.planning.states import ReplicaState, TransferKind, TransferState, VersionState
from fleet.store import retiring, transfers
from fleet.store.holdings import SEEDED
from fleet.store.retiring import Needed
from fleet.store.tables import Placement, Replica, Shard, Site, Tombstone, Transfer, Version


def causes(session: Session, site: Site, limit: int) -> list[Cause]:
    """Tell which shards a site that is to be retired is needed for, and why each yet."""
    if site.retiring is None:
        return []
    fronted = gateways.fronted(session)
    found = retiring.needed(session, site.id, fronted, limit)
    return [_cause(session, site.id, one, fronted) for one in found]


def _cause(session: Session, site: str, one: Needed, fronted: retiring.Fronted) -> Cause:
    version = session.get_one(Version, session.get_one(Shard, one.shard).version_id)
    said = [f"{version.dataset_id} {version.label}: {one.others} of {one.least} good copies"]
    if one.lost:
        said.append(f"no other site has it, and it is lost with {site}")
    if version.state == VersionState.DRAFT:
        said.append("it is copied once its version is published")
    said += _under_way(session, one.shard)
    said += _short(session, one.shard)
    said += _aside(session, site, one.shard, fronted)
    return Cause(f"shard {one.shard}", "needed", "; ".join(said))


def _under_way(session: Session, shard: str) -> Iterator[str]:
    """Tell of the copies that are being made, or that were given up."""
    for one in session.exec(
        select(Transfer)
        .where(
            Transfer.shard_id == shard,
            Transfer.kind == TransferKind.COPY,
            col(Transfer.state).in_(transfers.UNENDED),
        )
        .order_by(col(Transfer.id))
    ).all():
        if one.state == TransferState.SUSPENDED:
            yield f"transfer {one.id} to {one.target_id} waits for a person: {one.reason}"
        else:
            yield f"transfer {one.id} to {one.target_id} is {one.state}"


def _short(session: Session, shard: str) -> Iterator[str]:
    """Tell what the rule is short of: more sites, or another rule, would help."""
    for one in session.exec(
        select(Placement).where(Placement.shard_id == shard, col(Placement.site_id).is_(None))
    ).all():
        yield f"{one.reason}; other sites or another rule can change that"


def _aside(session: Session, site: str, shard: str, fronted: retiring.Fronted) -> Iterator[str]:
    """Tell of the copies elsewhere that take nobody's place."""
    counted, gone = standing.of(session, (shard,))[shard].counted, gateways.gone(session)
    marked = session.exec(select(Tombstone.site_id).where(Tombstone.shard_id == shard)).all()
    for copy, place in session.exec(
        select(Replica, Site)
        .join(Site, col(Site.id) == col(Replica.site_id))
        .where(
            Replica.shard_id == shard,
            Replica.site_id != site,
            col(Replica.state).in_(SEEDED),
            col(Site.retired).is_(False),
        )
        .order_by(col(Site.id))
    ).all():
        if site in fronted.get(place.id, ()):
            yield f"{place.id} fronts {site}, so they are one place"
        elif place.retiring is not None:
            yield f"{place.id} is to be retired as well"
        elif place.id in gone:
            yield f"{place.id} fronts {gone[place.id]}, which was retired or is to be"
        elif place.silent:
            yield f"{place.id} has it and answers no wake-up"
        elif copy.state == ReplicaState.SUSPECT or place.id not in counted:
            yield f"the copy at {place.id} is in doubt"
        elif place.id in marked:
            yield f"the copy at {place.id} is to be dropped"
