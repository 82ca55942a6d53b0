"""Probes: from time to time another site reads a piece of what a site offers, and checks it.

One transfer per site is never done: after each outcome it waits for its next time.  Probes only
demote: two failures in a row open an incident, wrong bytes make the replica suspect at once.
"""

import random
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from fleet.control import replicas
from fleet.messages import Outcome
from fleet.planning.states import TransferKind, TransferState
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.tables import Incident, Observation, Site, Transfer

_KIND = "probe"
_EVIDENCE = frozenset({"source", "corrupt"})  # other faults are the observer's own trouble


def ensure(session: Session, settings: CentreSettings, target: str, now: datetime) -> None:
    """Have a site probed from now on, if it can be read from."""
    site = session.get_one(Site, target)
    if site.read_url and _of(session, target) is None:
        transfer = Transfer(
            kind=TransferKind.PROBE, target_id=target, executor_id=target, created_at=now
        )
        session.add(transfer)
        _arm(session, transfer, now + timedelta(seconds=settings.probe_seconds))


def due_now(session: Session, target: str) -> None:
    """Make a site's next probe due at once, because somebody says it is at fault."""
    transfer = _of(session, target)
    if transfer is not None and transfer.state == TransferState.WAITING:
        transfer.not_before, transfer.reason = None, "a report made it due"


def note(
    session: Session, settings: CentreSettings, transfer: Transfer, outcome: Outcome, now: datetime
) -> None:
    """Keep what a probe saw, and wait for the next."""
    _arm(session, transfer, now + timedelta(seconds=settings.probe_seconds))
    for item in outcome.items:
        before = _last(session, transfer.target_id)
        session.add(
            Observation(
                kind=_KIND,
                observer=outcome.site,
                site_id=transfer.target_id,
                shard_id=transfer.shard_id,
                at=now,
                detail=item.model_dump(mode="json", exclude_none=True),
            )
        )
        if item.ok:
            _close(session, transfer.target_id, now)
        elif before is not None and _accuses(before.detail) and item.fault in _EVIDENCE:
            _open(session, transfer.target_id, item.reason, now)
        if item.fault == "corrupt" and transfer.shard_id:
            replicas.doubt(session, transfer.shard_id, transfer.target_id, item.reason, now)


def rearm(session: Session, settings: CentreSettings, transfer: Transfer, now: datetime) -> None:
    """Let a probe whose observer fell silent be made by another."""
    _arm(session, transfer, now + timedelta(seconds=settings.probe_seconds))


def _arm(session: Session, transfer: Transfer, at: datetime) -> None:
    observers = session.exec(
        select(Site.id).where(
            Site.kind == "node",
            col(Site.retired).is_(False),
            col(Site.silent).is_(False),
            Site.id != transfer.target_id,
        )
    ).all()
    transfer.executor_id = random.choice(observers or [transfer.target_id])  # noqa: S311 - a rota
    transfer.state, transfer.not_before, transfer.attempts = TransferState.WAITING, at, 0
    transfer.reason = f"{transfer.executor_id} probes it next"


def _of(session: Session, target: str) -> Transfer | None:
    return session.exec(
        select(Transfer).where(
            Transfer.kind == TransferKind.PROBE,
            Transfer.target_id == target,
            col(Transfer.state).in_(transfers.LIVE),
        )
    ).first()


def _last(session: Session, target: str) -> Observation | None:
    return session.exec(
        select(Observation)
        .where(Observation.kind == _KIND, Observation.site_id == target)
        .order_by(col(Observation.at).desc())
    ).first()


def _accuses(detail: dict[str, Any]) -> bool:
    return not detail.get("ok") and detail.get("fault") in _EVIDENCE


def _open_one(session: Session, target: str) -> Incident | None:
    return session.exec(
        select(Incident).where(Incident.site_id == target, col(Incident.ended_at).is_(None))
    ).first()


def _open(session: Session, target: str, reason: str, now: datetime) -> None:
    if _open_one(session, target) is None:
        session.add(Incident(site_id=target, kind=_KIND, reason=reason, began_at=now))


def _close(session: Session, target: str, now: datetime) -> None:
    incident = _open_one(session, target)
    if incident is not None:
        incident.ended_at = now
