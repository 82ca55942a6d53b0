"""Probes: from time to time another site reads pieces of what a site offers, and checks them.

One transfer per site is never done: after each outcome it waits for its next time.  What another
site read right proves a copy as a web seed.  All else only demotes: a fault takes that back, wrong
bytes make the replica suspect at once, two probes in a row that were served nothing right open an
incident of the site, unless copies are all that failed that were never served right anyway.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control import incidents, replicas, samples
from fleet.messages import ItemResult, Outcome
from fleet.planning.states import TransferKind, TransferState
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.tables import Artifact, Attempt, Incident, Observation, Site, Transfer

_KIND = "probe"
_SOON = timedelta(seconds=5)
_NOBODY = timedelta(minutes=5)  # until it is looked again for somebody who could
_EVIDENCE = frozenset({"source", "corrupt"})  # other faults are the observer's own trouble


def ensure(session: Session, target: str, now: datetime) -> None:
    """Have a site probed soon, because a copy is new there, and from then on."""
    if not session.get_one(Site, target).read_url:
        return
    transfer = of(session, target)
    if transfer is None:
        transfer = Transfer(
            kind=TransferKind.PROBE, target_id=target, executor_id=target, created_at=now
        )
        session.add(transfer)
        _arm(session, transfer, now + _SOON)
    elif transfer.state == TransferState.WAITING and (transfer.not_before or now) > now + _SOON:
        transfer.not_before = now + _SOON


def begin_anew(session: Session, target: str, now: datetime) -> None:
    """Take back all that probes of a site proved, since it is read elsewhere, and probe it there.

    The transfer's row is taken first: an outcome that is being applied comes before, or counts
    for nothing.
    """
    transfer = of(session, target)
    if transfer is not None and transfers.lock(session, transfer.id).state in transfers.LIVE:
        transfers.withdraw_announced(session, transfer.id)
        transfer.state, transfer.ended_at = TransferState.CANCELLED, now
        transfer.reason = f"{target} is read elsewhere now"
        session.flush()
    replicas.disprove_all(session, target)
    ensure(session, target, now)


_OF = select(Transfer).where(
    Transfer.kind == TransferKind.PROBE,
    Transfer.target_id == bindparam("site"),
    col(Transfer.state).in_(transfers.LIVE),
)


def of(session: Session, target: str) -> Transfer | None:
    """Return the probe of a site that waits or runs; None where none was ever due."""
    return session.exec(_OF, params={"site": target}).first()


def due_now(session: Session, target: str) -> None:
    """Make a site's next probe due at once, because somebody says it is at fault."""
    transfer = of(session, target)
    if transfer is not None and transfer.state == TransferState.WAITING:
        transfer.not_before, transfer.reason = None, "a report made it due"


def note(
    session: Session, settings: CentreSettings, transfer: Transfer, outcome: Outcome, now: datetime
) -> None:
    """Keep what a probe saw of each copy that it was to read, and wait for the next.

    That is soon while there are copies to be proved, and this one proved some.  An observer that is
    at fault as a whole neither proves nor accuses: the probe is for another.
    """
    target = transfer.target_id
    if incidents.of(session, outcome.site) is not None:
        rearm(session, transfer, now)
        return
    attempt = session.get_one(Attempt, outcome.attempt)
    began, seen = attempt.claimed_at or now, samples.asked(attempt.sources, outcome.items)
    _judge(session, target, seen, now)  # by what was known before
    proved = [_see(session, target, outcome, item, began, now) for item in seen]
    session.flush()
    soon = any(proved) and replicas.unproved(session, target)
    wait = _SOON if soon else timedelta(seconds=settings.probe_seconds)
    _arm(session, transfer, now + wait)


def _see(
    session: Session,
    target: str,
    outcome: Outcome,
    item: ItemResult,
    began: datetime,
    now: datetime,
) -> bool:
    """Keep what was seen of one copy and act on it; whether it was proved for the first time."""
    artifact = session.get(Artifact, item.artifact)
    shard = artifact.shard_id if artifact else None
    detail = item.model_dump(mode="json", exclude_none=True) | {"attempt": outcome.attempt}
    session.add(
        Observation(
            kind=_KIND,
            observer=outcome.site,
            site_id=target,
            shard_id=shard,
            at=now,
            detail=detail,
        )
    )
    if shard is None:
        return False
    if item.ok:
        by = outcome.site
        return by != target and replicas.prove(session, shard, target, by, began, now)
    if item.fault in _EVIDENCE:
        replicas.disprove(session, shard, target)
    if item.fault == "corrupt":
        replicas.doubt(session, shard, target, item.reason, now)
    return False


def _judge(session: Session, target: str, seen: Sequence[ItemResult], now: datetime) -> None:
    """End a site's incident if anything was served right; open one after two probes of faults."""
    if any(item.ok for item in seen):
        _close(session, target, now)
        return
    accusing = [item for item in seen if item.fault in _EVIDENCE]
    if not accusing or not replicas.tell_of_site(session, target, [i.artifact for i in accusing]):
        return
    before = _last(session, target)
    served = any(one.get("ok") for one in before)
    if not served and any(one.get("fault") in _EVIDENCE for one in before):
        _open(session, target, accusing[0].reason, now)


def rearm(session: Session, transfer: Transfer, now: datetime) -> None:
    """Let a probe whose observer fell silent, is at fault, or was retired, be made by another."""
    _arm(session, transfer, now + _SOON)


def of_others(session: Session, site: str, limit: int) -> list[str]:
    """Name probes of other sites that wait for one, in the order in which all take them."""
    due = transfers.due(session, site, (TransferKind.PROBE,), limit)
    return sorted(probe.id for probe in due if probe.target_id != site)


def pass_on(session: Session, site: str, limit: int, now: datetime) -> int:
    """Let probes of other sites that wait for one be made by another; return how many.

    It is at fault as a whole, and what it waits with would wait until it is cleared.
    """
    passed = 0
    for one in of_others(session, site, limit):
        transfer = transfers.lock(session, one)
        if transfer.state == TransferState.WAITING:
            rearm(session, transfer, now)
            passed += 1
    return passed


_OBSERVERS = select(Site.id).where(
    Site.kind == "node",
    col(Site.retired).is_(False),
    col(Site.retiring).is_(None),
    col(Site.silent).is_(False),
    Site.id != bindparam("site"),
    col(Site.id).not_in(bindparam("judged", expanding=True)),
)


def _arm(session: Session, transfer: Transfer, at: datetime) -> None:
    judged = incidents.judged(session)  # a site that cannot read its own copies accuses nobody
    asked = {"site": transfer.target_id, "judged": list(judged)}
    observers = session.exec(_OBSERVERS, params=asked).all()
    if not observers:
        at += _NOBODY
    transfer.executor_id = random.choice(observers or [transfer.target_id])  # noqa: S311 - a rota
    transfer.state, transfer.not_before, transfer.attempts = TransferState.WAITING, at, 0
    transfer.reason = f"{transfer.executor_id} probes it next"


def _last(session: Session, target: str) -> list[dict[str, Any]]:
    """Return what a site's last probe saw, item by item."""
    rows = session.exec(
        select(Observation)
        .where(Observation.kind == _KIND, Observation.site_id == target)
        .order_by(col(Observation.at).desc(), col(Observation.id).desc())
        .limit(samples.AT_ONCE)
    ).all()
    attempt = rows[0].detail.get("attempt") if rows else None
    return [row.detail for row in rows if row.detail.get("attempt") == attempt]


_OPEN = select(Incident).where(
    Incident.site_id == bindparam("site"),
    Incident.kind == _KIND,
    col(Incident.ended_at).is_(None),
)


def _open_one(session: Session, target: str) -> Incident | None:
    return session.exec(_OPEN, params={"site": target}).first()


def _open(session: Session, target: str, reason: str, now: datetime) -> None:
    if _open_one(session, target) is None:
        session.add(Incident(site_id=target, kind=_KIND, reason=reason, began_at=now))


def _close(session: Session, target: str, now: datetime) -> None:
    incident = _open_one(session, target)
    if incident is not None:
        incident.ended_at = now
