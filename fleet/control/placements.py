"""Keeping rules: from shards about which something changed to placements and transfers.

Rules this module keeps:

- A batch is read, decided and written as a whole, in one unit of work of a moment.
- One bad shard never stops the others: what cannot be decided bears that as its reason, and a
  batch that cannot be written is halved until the bad one is by itself.
- What a shard takes at a site is no longer free for the next one.
"""

from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from fleet.control import facts
from fleet.planning.facts import Choice, Decision, RuleFacts, SiteFacts
from fleet.planning.placement import place
from fleet.planning.states import ReplicaState, TransferKind
from fleet.store import placing
from fleet.store.database import Store
from fleet.store.placing import Changes, Standing
from fleet.store.tables import Rule

_log = structlog.get_logger()
_AT_ONCE = 500
_TAKES_NO_ROOM = frozenset({ReplicaState.BAD, ReplicaState.MISSING, ReplicaState.RETIRED})


def step(store: Store) -> bool:
    """Serve the rules of a batch of dirty shards; False when there are none."""
    with store.write() as session:
        shards = placing.take(session, _AT_ONCE)
        if not shards:
            return False
        _serve_each(session, shards, store.now(session))
        return True


def _serve_each(session: Session, shards: list[Standing], now: datetime) -> None:
    """Serve a batch; while it cannot be written, halve it, until the bad shard is by itself."""
    fault = _fault_of(session, shards, now)
    middle = len(shards) // 2
    if fault is None:
        return
    if middle:
        _serve_each(session, shards[:middle], now)
        _serve_each(session, shards[middle:], now)
    else:
        _set_aside(session, shards[0], fault, now)


def _fault_of(session: Session, shards: list[Standing], now: datetime) -> Exception | None:
    """Serve shards, or change nothing and return why that cannot be."""
    try:
        with session.begin_nested():
            _serve(session, shards, now)
    except Exception as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise  # the database is gone: no shard's fault
        return error
    return None


def _set_aside(session: Session, shard: Standing, error: Exception, now: datetime) -> None:
    _log.error("shard not placed", shard=shard.id, exc_info=error)
    changes = Changes()
    placing.read(session, [shard])
    if shard.rule is not None:
        _record(changes, shard, shard.rule, _undecided(error), now)
    placing.write(session, changes)


def _serve(session: Session, shards: list[Standing], now: datetime) -> None:
    placing.read(session, shards)
    sites = {site.id: site for site in facts.sites(session)}
    rules = {shard.rule.id: facts.rule(shard.rule) for shard in shards if shard.rule}
    changes = Changes()
    for shard in shards:
        rule = shard.rule
        if rule is None or (rule.expires is not None and rule.expires <= now):
            continue
        decision = _decide(shard, rules[rule.id], sites)
        _record(changes, shard, rule, decision, now)
        for choice in decision.choices:
            _expect(changes, shard, rule, choice, sites, now)
    placing.write(session, changes)


def _decide(shard: Standing, rule: RuleFacts, sites: dict[str, SiteFacts]) -> Decision:
    held = [facts.replica(row) for row in shard.replicas]
    try:
        return place(rule, shard.size, tuple(sites.values()), held)
    except Exception as error:  # noqa: BLE001 - one bad shard never stops the others
        _log.exception("shard not placed", shard=shard.id)
        return _undecided(error)


def _undecided(error: Exception) -> Decision:
    return Decision((), f"could not be decided, see the scheduler's log: {error}")


def _record(
    changes: Changes, shard: Standing, rule: Rule, decision: Decision, now: datetime
) -> None:
    """Keep the decision with its reasons; one that stands keeps its date."""
    wanted: dict[str | None, str] = {choice.site: choice.reason for choice in decision.choices}
    if decision.short:
        wanted[None] = decision.short
    for row in shard.placements:
        if row.rule_id != rule.id or row.site_id not in wanted:
            changes.dropped.append({"one": row.id})
            continue
        reason = wanted.pop(row.site_id)
        if row.site_id is None and row.reason != reason:
            changes.reworded.append({"one": row.id, "why": reason})
    changes.placements += (
        {
            "rule_id": rule.id,
            "shard_id": shard.id,
            "site_id": site,
            "reason": reason,
            "decided_at": now,
        }
        for site, reason in wanted.items()
    )


def _expect(
    changes: Changes,
    shard: Standing,
    rule: Rule,
    choice: Choice,
    sites: dict[str, SiteFacts],
    now: datetime,
) -> None:
    """Have a shard at a site, and copied there unless it is there or on its way."""
    held = next((row for row in shard.replicas if row.site_id == choice.site), None)
    if held is None:
        changes.replicas.append(
            {"shard_id": shard.id, "site_id": choice.site, "reason": choice.reason}
        )
    elif held.state == ReplicaState.RETIRED:
        changes.revived.append({"one": held.id, "why": choice.reason})
    elif held.state in placing.ABSENT:
        changes.expected.append({"one": held.id, "why": choice.reason})
    else:
        return
    copies = choice.site not in shard.under_way
    site = sites[choice.site]
    takes = shard.size if held is None or held.state in _TAKES_NO_ROOM else 0
    sites[site.id] = replace(
        site,
        free=None if site.free is None else site.free - takes,
        queued=site.queued + (shard.size if copies else 0),
    )
    if copies:
        changes.transfers.append(
            {
                "kind": TransferKind.COPY,
                "version_id": shard.version,
                "shard_id": shard.id,
                "target_id": choice.site,
                "executor_id": choice.site,
                "size": shard.size,
                "priority": rule.priority,
                "deadline": rule.deadline,
                "reason": choice.reason,
                "created_at": now,
            }
        )
