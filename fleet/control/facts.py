"""Rows as the plain values that planning decides from."""

from typing import Any

from sqlalchemy import Row, bindparam
from sqlmodel import Session, col, select

from fleet.control import gateways, incidents, standing
from fleet.planning import press
from fleet.planning.facts import ReplicaFacts, RuleFacts, SiteFacts, WindowFacts
from fleet.planning.states import ReplicaState
from fleet.store import loads
from fleet.store.tables import Incident, Replica, Rule, Site, Window

_UNLADEN = loads.Load()


_SITES = select(Site).order_by(Site.id)


def sites(session: Session) -> list[SiteFacts]:
    """Return every site that is not retired, with its free space and its queue."""
    found = loads.loads(session)
    rows = session.exec(_SITES).all()
    judged, gone = incidents.judged(session), gateways.gone_of(rows)
    return [
        site(row, found.get(row.id, _UNLADEN), judged.get(row.id), gone.get(row.id, ""))
        for row in rows
        if not row.retired
    ]


def site(
    row: Site,
    load: loads.Load = _UNLADEN,
    incident: Incident | None = None,
    goes_with: str = "",
) -> SiteFacts:
    """Return one site with what it holds and has to do, and an incident of it as a whole.

    A condemned one answers for nothing, so that what it holds is copied elsewhere below ``min``.
    A gateway's copies go with what it fronts, so that they are made elsewhere too.
    """
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
        retired=gateways.goes(row) or goes_with != "",
        goes_with=goes_with,
        silent=row.silent or _condemned(incident),
        fronts=tuple(row.fronts),
        free=None if row.capacity is None else row.capacity - load.held,
        queued=load.queued,
        speed_mbps=row.speed_mbps,
        incident=incident.reason if incident else "",
    )


def rule(row: Rule) -> RuleFacts:
    """Return what a rule asks for."""
    citable = row.dataset_id != press.DATASET
    return RuleFacts(row.copies, row.min_copies, row.selector, tuple(row.spread_by), citable)


_RULE_OF = (
    select(Rule).where(Rule.dataset_id == bindparam("dataset")).order_by(col(Rule.id).desc())
).limit(1)


def rule_of(session: Session, dataset: str) -> Rule | None:
    """Return the rule of a dataset that was given last."""
    return session.exec(_RULE_OF, params={"dataset": dataset}).first()


def replica(
    row: Replica | Row[Any], incident: Incident | None = None, *, tombstone: bool = False
) -> ReplicaFacts:
    """Return what is believed of one copy, with an incident of its site as a whole.

    Of a condemned site nothing is awaited any more, and what was not read since its incident began
    is in doubt, though each copy's own state says so only once its turn has come.
    """
    state = ReplicaState(row.state)
    if incident is not None and _condemned(incident):
        if state in (ReplicaState.PENDING, ReplicaState.COPYING):
            state = ReplicaState.MISSING
        elif state == ReplicaState.AVAILABLE and not standing.counts(row, incident.began_at):
            state = ReplicaState.SUSPECT
    return ReplicaFacts(row.site_id, state, tombstone)


def _condemned(incident: Incident | None) -> bool:
    return incident is not None and incident.stage in (incidents.CONDEMNED, incidents.READING)


_WINDOWS = select(Window).where(Window.site_id == bindparam("site"))


def windows(session: Session, site_id: str) -> list[WindowFacts]:
    """Return the windows that the sites file declares for a site."""
    rows = session.exec(_WINDOWS, params={"site": site_id}).all()
    return [WindowFacts(row.timezone, row.opens, row.closes) for row in rows]
