"""Named queries over what a site that is to be retired would take along.

A shard is needed of it while others have fewer good copies than must be.  Copies with a tombstone,
unread ones of a site that is at fault as a whole, and those of a gateway to the site take nobody's
place; nor do copies at sites that are silent or to be retired themselves, or at gateways to these.
What a gateway fronts stays when the gateway goes; a gateway and what it fronts take one place.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, false, func, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from fleet.planning.states import VersionState
from fleet.store import faults
from fleet.store.holdings import SEEDED
from fleet.store.tables import Replica, Rule, Shard, Site, Tombstone, Version

Fronted = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Needed:
    """A shard of which others have ``others`` good copies where ``least`` must be.

    ``lost``: no other place has one at all, good or in doubt; nor has a gateway to a retired one.
    """

    shard: str
    others: int
    least: int
    lost: bool


def note(session: Session, site: str, **values: Any) -> bool:
    """Note of a site that is to be retired, or was, how that stands; False if it is to stay."""
    won = session.exec(
        update(Site)
        .where(col(Site.id) == site, or_(col(Site.retired), col(Site.retiring).is_not(None)))
        .values(**values)
        .returning(col(Site.id))
    ).first()
    return won is not None


def is_needed(session: Session, site: str, fronted: Fronted) -> bool:
    """Whether any shard of a site is needed; ``fronted`` maps gateways to all that they front."""
    return session.execute(_needed(site, fronted).limit(1)).first() is not None


def needed(session: Session, site: str, fronted: Fronted, limit: int) -> list[Needed]:
    """Return shards that are needed of a site, those that nobody else has first."""
    found = _needed(site, fronted).subquery()
    asked = select(found).order_by(found.c.lost.desc(), found.c.shard).limit(limit)
    return [Needed(*row) for row in session.execute(asked).all()]


def tally(session: Session, site: str, fronted: Fronted) -> tuple[int, int]:
    """Count the shards that are needed of a site, and those of them that nobody else has."""
    found = _needed(site, fronted).subquery()
    number = func.count()
    asked = select(number, number.filter(found.c.lost)).select_from(found)
    every, lost = session.execute(asked).one()
    return every, lost


def datasets_lost(session: Session, site: str, fronted: Fronted, limit: int) -> Sequence[str]:
    """Name datasets with shards that nobody but a site has."""
    found = _needed(site, fronted).subquery()
    return (
        session.execute(
            select(col(Version.dataset_id))
            .join(Shard, col(Shard.version_id) == col(Version.id))
            .join(found, found.c.shard == col(Shard.id))
            .where(found.c.lost)
            .distinct()
            .order_by(col(Version.dataset_id))
            .limit(limit)
        )
        .scalars()
        .all()
    )


def _needed(site: str, fronted: Fronted) -> Select[Any]:
    gateways = sorted(front for front, sites in fronted.items() if site in sites)
    other, elsewhere, going = aliased(Replica), aliased(Site), aliased(Tombstone)
    leaving = exists().where(
        col(going.shard_id) == col(other.shard_id), col(going.site_id) == col(other.site_id)
    )
    apart = (
        col(elsewhere.id) == col(other.site_id),
        col(other.shard_id) == col(Replica.shard_id),
        col(other.site_id).not_in([site, *gateways]),
        col(elsewhere.retired).is_(False),
    )
    others = (
        select(func.count())
        .select_from(other, elsewhere)
        .where(
            *apart,
            faults.counts(other),
            *_stays(elsewhere),
            ~leaving,
            ~_only_fronts(other, fronted),
        )
        .correlate(Replica)
        .scalar_subquery()
    )
    seeded = col(other.state).in_(SEEDED)
    kept = exists().where(*apart, seeded, ~_fronts(other, fronted, _is_retired)).correlate(Replica)
    asked = (
        select(col(Rule.min_copies))
        .where(col(Rule.dataset_id) == col(Version.dataset_id))
        .order_by(col(Rule.id).desc())
        .limit(1)
        .correlate(Version)
        .scalar_subquery()
    )
    least = func.coalesce(asked, 1)
    return (
        select(
            col(Replica.shard_id).label("shard"),
            others.label("others"),
            least.label("least"),
            (~kept).label("lost"),
        )
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            col(Replica.site_id) == site,
            col(Replica.state).in_(SEEDED),
            col(Version.state) != VersionState.WITHDRAWN,
            col(Version.unneeded) == false(),
            others < least,
        )
    )


def _stays(place: type[Site]) -> Sequence[ColumnElement[bool]]:
    """Conditions of a site whose copies take the place of others."""
    return (
        col(place.retired).is_(False),
        col(place.retiring).is_(None),
        col(place.silent).is_(False),
    )


def _is_retired(place: type[Site]) -> ColumnElement[bool]:
    return col(place.retired).is_(True)


def _goes(place: type[Site]) -> ColumnElement[bool]:
    return or_(_is_retired(place), col(place.retiring).is_not(None))


def _fronts(
    copy: type[Replica], fronted: Fronted, which: Callable[[type[Site]], ColumnElement[bool]]
) -> ColumnElement[bool]:
    """Whether a copy is at a gateway to a site of which ``which`` holds."""
    place = aliased(Site)
    return or_(
        false(),
        *(
            (col(copy.site_id) == front) & exists().where(col(place.id).in_(sites), which(place))
            for front, sites in fronted.items()
        ),
    )


def _only_fronts(other: type[Replica], fronted: Fronted) -> ColumnElement[bool]:
    """Whether a copy is a gateway's, and what it fronts goes, or has one as well, which counts.

    Of several gateways to one site, the one with the least id that has a copy takes their place;
    none that itself goes with what it fronts does.
    """
    behind, place = aliased(Replica), aliased(Site)
    return or_(
        _fronts(other, fronted, _goes),
        *(
            (col(other.site_id) == front)
            & exists().where(
                col(behind.shard_id) == col(other.shard_id),
                col(behind.site_id).in_(sites | _before(front, fronted)),
                col(place.id) == col(behind.site_id),
                faults.counts(behind),
                *_stays(place),
                ~_fronts(behind, fronted, _goes),
            )
            for front, sites in fronted.items()
        ),
    )


def _before(gateway: str, fronted: Fronted) -> frozenset[str]:
    """Name the gateways with a lesser id to any site that a gateway fronts.

    None that fronts the gateway itself, whose place that one takes.
    """
    mine = fronted[gateway]
    return frozenset(
        one
        for one, theirs in fronted.items()
        if one < gateway and mine & theirs and gateway not in theirs
    )
