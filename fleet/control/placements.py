"""Keeping rules: from shards about which something changed to placements and transfers.

Rules this module keeps:

- A batch is read, decided and written as a whole, in one unit of work of a moment.
- One bad shard never stops the others: what cannot be decided bears that as its reason, and a
  batch that cannot be written is halved until the bad one is by itself.
- What a shard takes at a site is no longer free for the next one.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row
from sqlmodel import Session

from fleet.control import facts, incidents, repairs, standing, tombstones
from fleet.control.revisits import LOOK_AGAIN
from fleet.planning import repair
from fleet.planning.facts import Choice, Decision, ReplicaFacts
from fleet.planning.lapse import keep, let_go
from fleet.planning.placement import Field, Taken, place
from fleet.planning.press import READ_ON
from fleet.planning.states import ReplicaState, TransferKind
from fleet.settings import CentreSettings
from fleet.store import placing
from fleet.store.columns import new_id
from fleet.store.database import Store, is_away
from fleet.store.placing import Changes, Standing
from fleet.store.tables import Incident, Rule

_log = structlog.get_logger()
_AT_ONCE = 500
_TAKES_NO_ROOM = frozenset({ReplicaState.BAD, ReplicaState.MISSING, ReplicaState.RETIRED})
_NOT_THERE = frozenset({*placing.ABSENT, ReplicaState.RETIRED})


def step(store: Store, settings: CentreSettings) -> bool:
    """Serve the rules of a batch of dirty shards; False when there are none."""
    with store.read() as session:
        if not placing.any_dirty(session):
            return False
    with store.write() as session:
        shards = placing.take(session, _AT_ONCE)
        if shards:
            _serve_each(session, settings, shards, store.now(session))
        return bool(shards)


def _serve_each(
    session: Session, settings: CentreSettings, shards: list[Standing], now: datetime
) -> None:
    """Serve a batch; while it cannot be written, halve it, until the bad shard is by itself."""
    fault = _fault_of(session, settings, shards, now)
    middle = len(shards) // 2
    if fault is None:
        return
    if middle:
        _serve_each(session, settings, shards[:middle], now)
        _serve_each(session, settings, shards[middle:], now)
    else:
        _set_aside(session, shards[0], fault, now)


def _fault_of(
    session: Session, settings: CentreSettings, shards: list[Standing], now: datetime
) -> Exception | None:
    """Serve shards, or change nothing and return why that cannot be."""
    try:
        with session.begin_nested():
            _serve(session, settings, shards, now)
    except Exception as error:
        if is_away(error):
            raise  # the database is gone: no shard's fault
        return error
    return None


def _set_aside(session: Session, shard: Standing, error: Exception, now: datetime) -> None:
    _log.error("shard not placed", shard=shard.id, exc_info=error)
    changes = Changes()
    placing.read(session, [shard])
    if shard.rule is not None:
        _record_fault(changes, shard, shard.rule, error, now)
    placing.write(session, changes)


def _serve(
    session: Session, settings: CentreSettings, shards: list[Standing], now: datetime
) -> None:
    placing.read(session, shards)
    sites = facts.sites(session)
    gone = {site.id for site in sites if site.goes_with}
    judged = incidents.judged(session)
    rules = {shard.rule.id: shard.rule for shard in shards if shard.rule}
    fields = {name: Field.of(facts.rule(rule), sites) for name, rule in rules.items()}
    changes, taken = Changes(), defaultdict[str, Taken](Taken)
    for shard in shards:
        rule = shard.rule
        if rule is None:
            continue
        field = fields[rule.id]
        held = [
            facts.replica(row, judged.get(row.site_id), tombstone=row.site_id in shard.marked)
            for row in shard.replicas.values()
        ]
        urgent = _urgency(shard, rule, field, gone, judged, held)
        if shard.under_way and not shard.unneeded:
            repairs.hasten(session, shard.id, urgent)
        expired = rule.expires is not None and rule.expires <= now
        choose = let_go if shard.unneeded else keep if expired else place
        try:
            decision = choose(field, shard.size, held, taken)
        except Exception as error:  # noqa: BLE001 - one bad shard never stops the others
            _log.exception("shard not placed", shard=shard.id)
            _record_fault(changes, shard, rule, error, now)
            continue
        _record(changes, shard, rule, decision, now)
        if decision.surplus or shard.marked:
            grace = timedelta(days=settings.grace_days)
            grace = min(grace, READ_ON) if shard.unneeded else grace
            tombstones.reconcile(session, shard.id, decision.surplus, now, grace)
        for choice in decision.choices:
            if _expect(changes, shard, choice):
                taken[choice.site].room += shard.size
            if _is_copied(shard, choice.site, judged):
                _copy(changes, shard, rule, urgent, choice, now)
                taken[choice.site].queued += shard.size
    placing.write(session, changes)


def _urgency(
    shard: Standing,
    rule: Rule,
    field: Field,
    gone: Collection[str],
    judged: Mapping[str, Incident],
    held: Sequence[ReplicaFacts],
) -> repair.Urgency:
    """Say how urgent it is to copy a shard, by the good copies that are left.

    Those of a gateway that goes with what it fronts are none, and as lost as those of that.
    """
    counted = [
        site
        for site, row in shard.replicas.items()
        if site in field.names and site not in gone and _counts(row, judged)
    ]
    good = repair.independent(counted, field.fronted)
    states = [ReplicaState.RETIRED if one.site in gone else one.state for one in held]
    return repair.urgency(rule.priority, rule.min_copies, good, states)


def _counts(row: Row[Any], judged: Mapping[str, Incident]) -> bool:
    incident = judged.get(row.site_id)
    return standing.counts(row, incident.began_at if incident else None)


def _record_fault(
    changes: Changes, shard: Standing, rule: Rule, error: Exception, now: datetime
) -> None:
    """Say why a shard could not be decided; what was decided before stands, tombstones too."""
    reason = f"could not be decided, see the scheduler's log: {error}"
    rows = [row for row in shard.placements if row.site_id is None]
    _write(changes, shard, rule, rows, {None: reason}, now)


def _record(
    changes: Changes, shard: Standing, rule: Rule, decision: Decision, now: datetime
) -> None:
    """Keep the decision with its reasons; one that stands keeps its date."""
    wanted: dict[str | None, str] = {choice.site: choice.reason for choice in decision.choices}
    if decision.short:
        wanted[None] = decision.short
    _write(changes, shard, rule, shard.placements, wanted, now)


def _write(
    changes: Changes,
    shard: Standing,
    rule: Rule,
    rows: Sequence[Row[Any]],
    wanted: dict[str | None, str],
    now: datetime,
) -> None:
    """Make of the rows that were read what is wanted, by site with its reason."""
    for row in rows:
        if row.rule_id != rule.id or row.site_id not in wanted:
            changes.dropped.append(row.id)
            continue
        reason = wanted.pop(row.site_id)
        again = now + LOOK_AGAIN if row.site_id is None else None
        if row.reason != reason or again is not None:
            changes.reworded.append({"one": row.id, "why": reason, "again": again})
    changes.placements += (
        {
            "id": new_id("pl"),
            "rule_id": rule.id,
            "shard_id": shard.id,
            "site_id": site,
            "reason": reason,
            "decided_at": now,
            "look_at": now + LOOK_AGAIN if site is None else None,
        }
        for site, reason in wanted.items()
    )


def _expect(changes: Changes, shard: Standing, choice: Choice) -> bool:
    """Have a shard at a site; whether it takes room there that it did not take before."""
    held = shard.replicas.get(choice.site)
    if held is None:
        changes.replicas.append(
            {
                "id": new_id("re"),
                "shard_id": shard.id,
                "site_id": choice.site,
                "reason": choice.reason,
            }
        )
    elif held.state == ReplicaState.RETIRED:
        changes.revived.append({"one": held.id, "why": choice.reason})
    elif held.state in placing.ABSENT:
        changes.expected.append({"one": held.id, "why": choice.reason})
    return held is None or held.state in _TAKES_NO_ROOM


def _is_copied(shard: Standing, site: str, judged: Mapping[str, Incident]) -> bool:
    """Whether a copy is to be made now: none is there or on its way.

    What is bad or missing at a site that is judged is copied once it is known what ails that.
    """
    held = shard.replicas.get(site)
    there = held is not None and held.state not in _NOT_THERE
    return not there and site not in shard.under_way and site not in judged


def _copy(
    changes: Changes,
    shard: Standing,
    rule: Rule,
    urgent: repair.Urgency,
    choice: Choice,
    now: datetime,
) -> None:
    changes.transfers.append(
        {
            "id": new_id("tr"),
            "kind": TransferKind.COPY,
            "version_id": shard.version,
            "shard_id": shard.id,
            "target_id": choice.site,
            "executor_id": choice.site,
            "size": shard.size,
            "priority": urgent.priority,
            "deadline": rule.deadline,
            "reason": "; ".join(filter(None, (urgent.reason, choice.reason))),
            "created_at": now,
        }
    )
