"""Rows as the plain values that planning decides from."""

from typing import Any

from sqlalchemy import Row
from sqlmodel import Session, col, select

from fleet.planning.facts import ReplicaFacts, RuleFacts, SiteFacts, WindowFacts
from fleet.planning.states import ReplicaState
from fleet.store import loads
from fleet.store.tables import Replica, Rule, Site, Window

_UNLADEN = loads.Load()


def sites(session: Session) -> list[SiteFacts]:
    """Return every site that is not retired, with its free space and its queue."""
    found = loads.loads(session)
    rows = session.exec(select(Site).where(col(Site.retired).is_(False)).order_by(Site.id)).all()
    return [site(row, found.get(row.id, _UNLADEN)) for row in rows]


def site(row: Site, load: loads.Load = _UNLADEN) -> SiteFacts:
    """Return one site with what it holds and has to do."""
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
        retired=row.retired,
        silent=row.silent,
        fronts=tuple(row.fronts),
        free=None if row.capacity is None else row.capacity - load.held,
        queued=load.queued,
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


def replica(row: Replica | Row[Any]) -> ReplicaFacts:
    """Return what is believed of one copy."""
    return ReplicaFacts(row.site_id, ReplicaState(row.state))


def windows(session: Session, site_id: str) -> list[WindowFacts]:
    """Return when a site may carry bulk traffic."""
    rows = session.exec(select(Window).where(Window.site_id == site_id)).all()
    return [WindowFacts(row.timezone, row.opens, row.closes) for row in rows]
