"""Rows as the plain values that planning decides from."""

from sqlmodel import Session, col, select

from fleet.planning.facts import ReplicaFacts, RuleFacts, SiteFacts, WindowFacts
from fleet.planning.states import ReplicaState
from fleet.store import holdings
from fleet.store.tables import Replica, Rule, Site, Window


def sites(session: Session) -> list[SiteFacts]:
    """Return every site that is not retired, with its free space and its queue."""
    held, queued = holdings.bytes_held(session), holdings.bytes_queued(session)
    rows = session.exec(select(Site).where(col(Site.retired).is_(False)).order_by(Site.id)).all()
    return [site(row, held.get(row.id, 0), queued.get(row.id, 0)) for row in rows]


def site(row: Site, held: int = 0, queued: int = 0) -> SiteFacts:
    """Return one site; ``held`` and ``queued`` are bytes."""
    return SiteFacts(
        id=row.id,
        kind=row.kind,
        driver=row.driver,
        region=row.region,
        country=row.country,
        jurisdiction=row.jurisdiction,
        operator=row.operator,
        provider=row.provider,
        arch=row.arch,
        trusted=row.trusted,
        retired=row.retired or row.retiring is not None,
        silent=row.silent,
        fronts=tuple(row.fronts),
        free=None if row.capacity is None else row.capacity - held,
        queued=queued,
        speed_mbps=row.speed_mbps,
    )


def rule(row: Rule) -> RuleFacts:
    """Return what a rule asks for."""
    return RuleFacts(row.copies, row.min_copies, row.selector, tuple(row.spread_by))


def rule_of(session: Session, dataset: str) -> Rule | None:
    """Return the rule of a dataset that was given last."""
    return session.exec(
        select(Rule).where(Rule.dataset_id == dataset).order_by(col(Rule.id).desc())
    ).first()


def replica(row: Replica, *, tombstone: bool = False) -> ReplicaFacts:
    """Return what is believed of one copy."""
    return ReplicaFacts(row.site_id, ReplicaState(row.state), tombstone)


def windows(session: Session, site_id: str) -> list[WindowFacts]:
    """Return when a site may carry bulk traffic."""
    rows = session.exec(select(Window).where(Window.site_id == site_id)).all()
    return [WindowFacts(row.timezone, row.opens, row.closes) for row in rows]
