"""Keeping rules: from a shard about which something changed to placements and transfers."""

from dataclasses import replace
from datetime import datetime

import structlog
from sqlmodel import Session, select

from fleet.control import facts, replicas, tombstones
from fleet.control.revisits import LOOK_AGAIN
from fleet.planning.facts import Decision, SiteFacts
from fleet.planning.lapse import keep
from fleet.planning.placement import place
from fleet.planning.states import ReplicaState, TransferKind
from fleet.settings import CentreSettings
from fleet.store import holdings, transfers
from fleet.store.database import Store
from fleet.store.tables import Placement, Rule, Shard, Transfer, Version

_log = structlog.get_logger()
_AT_ONCE = 100
_WANTING = frozenset({ReplicaState.PENDING, ReplicaState.BAD, ReplicaState.MISSING})


def step(store: Store, settings: CentreSettings) -> bool:
    """Serve the rules of a batch of dirty shards; False when there are none."""
    with store.write() as session:
        dirty = holdings.dirty_shards(session, _AT_ONCE)
        if not dirty:
            return False
        now = store.now(session)
        sites = {site.id: site for site in facts.sites(session)}
        for shard in dirty:
            shard.dirty = False
            version = session.get_one(Version, shard.version_id)
            rule = facts.rule_of(session, version.dataset_id)
            if rule is None:
                continue
            try:
                with session.begin_nested():
                    _serve(session, settings, shard, rule, sites, now)
            except Exception as error:  # noqa: BLE001 - one bad shard never stops the others
                _log.exception("shard not placed", shard=shard.id)
                reason = f"could not be decided, see the scheduler's log: {error}"
                _record(session, shard, rule, Decision((), reason), now)
        return True


def _serve(
    session: Session,
    settings: CentreSettings,
    shard: Shard,
    rule: Rule,
    sites: dict[str, SiteFacts],
    now: datetime,
) -> None:
    """Place one shard; what it takes at each site is no longer free for the next."""
    marked = tombstones.marked(session, shard.id)
    rows = holdings.replicas(session, shard.id)
    held = [facts.replica(row, tombstone=row.site_id in marked) for row in rows]
    counted = {one.site for one in held if one.state in holdings.HOLDING}
    decide = keep if rule.expires is not None and rule.expires <= now else place
    decision = decide(facts.rule(rule), shard.size, tuple(sites.values()), held)
    _record(session, shard, rule, decision, now)
    tombstones.reconcile(session, settings, shard, decision.surplus, now)
    for choice in decision.choices:
        replica = replicas.expect(session, shard.id, choice.site, choice.reason)
        site = sites[choice.site]
        if choice.site not in counted and site.free is not None:
            sites[choice.site] = replace(site, free=site.free - shard.size)
        if replica.state not in _WANTING or _under_way(session, shard.id, choice.site):
            continue
        session.add(
            Transfer(
                kind=TransferKind.COPY,
                version_id=shard.version_id,
                shard_id=shard.id,
                target_id=choice.site,
                executor_id=choice.site,
                size=shard.size,
                priority=rule.priority,
                deadline=rule.deadline,
                reason=choice.reason,
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
            row.reason = wanted.pop(row.site_id)
            if row.site_id is None:
                row.look_at = now + LOOK_AGAIN
    for site, reason in wanted.items():
        session.add(
            Placement(
                rule_id=rule.id,
                shard_id=shard.id,
                site_id=site,
                reason=reason,
                decided_at=now,
                look_at=now + LOOK_AGAIN if site is None else None,
            )
        )
