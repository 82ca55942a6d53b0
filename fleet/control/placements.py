"""Keeping rules: from a shard about which something changed to placements and transfers."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import structlog
from sqlmodel import Session, select

from fleet.control import facts, incidents, repairs, replicas, standing
from fleet.planning import repair
from fleet.planning.facts import Decision, SiteFacts
from fleet.planning.placement import place
from fleet.planning.states import ReplicaState, TransferKind
from fleet.store import holdings, transfers
from fleet.store.database import Store
from fleet.store.tables import Incident, Placement, Rule, Shard, Transfer, Version

_log = structlog.get_logger()
_AT_ONCE = 100
_WANTING = frozenset({ReplicaState.PENDING, ReplicaState.BAD, ReplicaState.MISSING})


def step(store: Store) -> bool:
    """Serve the rules of a batch of dirty shards; False when there are none."""
    with store.write() as session:
        dirty = holdings.dirty_shards(session, _AT_ONCE)
        if not dirty:
            return False
        now = store.now(session)
        sites = {site.id: site for site in facts.sites(session)}
        judged = incidents.judged(session)
        for shard in dirty:
            shard.dirty = False
            version = session.get_one(Version, shard.version_id)
            rule = facts.rule_of(session, version.dataset_id)
            if rule is None or (rule.expires is not None and rule.expires <= now):
                continue
            try:
                with session.begin_nested():
                    _serve(session, shard, rule, sites, judged, now)
            except Exception as error:  # noqa: BLE001 - one bad shard never stops the others
                _log.exception("shard not placed", shard=shard.id)
                reason = f"could not be decided, see the scheduler's log: {error}"
                _record(session, shard, rule, Decision((), reason), now)
        return True


def _serve(
    session: Session,
    shard: Shard,
    rule: Rule,
    sites: dict[str, SiteFacts],
    judged: Mapping[str, Incident],
    now: datetime,
) -> None:
    """Place one shard; what it takes at each site is no longer free for the next."""
    stand = standing.of(session, (shard.id,), judged)[shard.id]
    held = [facts.replica(row, judged.get(row.site_id)) for row in stand.rows]
    urgent = repair.urgency(rule.priority, rule.min_copies, stand.good, [one.state for one in held])
    repairs.hasten(session, shard.id, urgent)
    counted = {one.site for one in held if one.state in holdings.HOLDING}
    decision = place(facts.rule(rule), shard.size, tuple(sites.values()), held)
    _record(session, shard, rule, decision, now)
    for choice in decision.choices:
        replica = replicas.expect(session, shard.id, choice.site, choice.reason)
        site = sites[choice.site]
        if choice.site not in counted and site.free is not None:
            sites[choice.site] = replace(site, free=site.free - shard.size)
        if replica.state not in _WANTING or _under_way(session, shard.id, choice.site):
            continue
        if choice.site in judged:
            continue  # what is bad or missing there is copied once it is known what ails the site
        session.add(
            Transfer(
                kind=TransferKind.COPY,
                version_id=shard.version_id,
                shard_id=shard.id,
                target_id=choice.site,
                executor_id=choice.site,
                size=shard.size,
                priority=urgent.priority,
                deadline=rule.deadline,
                reason="; ".join(filter(None, (urgent.reason, choice.reason))),
                created_at=now,
            )
        )


def _under_way(session: Session, shard: str, site: str) -> bool:
    """Whether a copy is on its way, or was suspended until a person says so."""
    kinds = (TransferKind.COPY,)
    return transfers.live(session, shard, site, kinds, transfers.UNENDED) is not None


def _record(session: Session, shard: Shard, rule: Rule, decision: Decision, now: datetime) -> None:
    """Keep the decision with its reasons; one that stands keeps its date."""
    wanted: dict[str | None, str] = {choice.site: choice.reason for choice in decision.choices}
    if decision.short:
        wanted[None] = decision.short
    rows = session.exec(select(Placement).where(Placement.shard_id == shard.id)).all()
    for row in rows:
        if row.rule_id != rule.id or row.site_id not in wanted:
            session.delete(row)
        else:
            reason = wanted.pop(row.site_id)
            if row.site_id is None:
                row.reason = reason
    for site, reason in wanted.items():
        session.add(
            Placement(
                rule_id=rule.id, shard_id=shard.id, site_id=site, reason=reason, decided_at=now
            )
        )
