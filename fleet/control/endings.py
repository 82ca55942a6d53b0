"""What becomes of a transfer when its work ended: done, tried again, given away, or given up.

Only the ledger and the outcomes that it applies call it.
"""

from datetime import datetime

from sqlmodel import Session

from fleet.control import executors, publications, replicas
from fleet.planning.retry import after_failure
from fleet.planning.states import ArtifactState, TransferKind, TransferState
from fleet.settings import CentreSettings
from fleet.store import drafting, locking
from fleet.store.tables import Artifact, Transfer, Version

_MOVES = 2  # how often a file is given to another site before it is given up


def retry(
    session: Session,
    settings: CentreSettings,
    transfer: Transfer,
    problem: str,
    now: datetime,
    blamed: set[str],
) -> None:
    """Let a transfer that failed wait for its next time, or suspend it."""
    again = after_failure(
        problem,
        attempts=transfer.attempts,
        max_attempts=settings.max_attempts,
        first_wait=settings.retry_seconds,
        now=now,
    )
    if again.at is None:
        give_up(session, transfer, again.reason, now, blamed)
        return
    transfer.state, transfer.reason = TransferState.WAITING, again.reason
    transfer.not_before = again.at
    executors.take_back(session, transfer)
    if transfer.kind == TransferKind.COPY and transfer.shard_id:
        replicas.failed(session, transfer.shard_id, transfer.target_id, again.reason)


def give_up(
    session: Session, transfer: Transfer, reason: str, now: datetime, blamed: set[str]
) -> None:
    """Suspend a transfer; the version goes on without what its origins do not give.

    Artifacts whose origins are not ``blamed`` are given to another site first: this one was at
    fault.
    """
    end(session, transfer, TransferState.SUSPENDED, reason, now)
    if transfer.kind == TransferKind.COPY and transfer.shard_id:
        replicas.failed(session, transfer.shard_id, transfer.target_id, reason)
    if transfer.kind != TransferKind.INGEST:
        return
    for artifact in drafting.ingested_by(session, transfer.id):
        artifact.reason = artifact.reason or reason
        if len(artifact.tried) < _MOVES and artifact.id not in blamed:
            give_away(artifact, transfer.executor_id)
        else:
            artifact.state = ArtifactState.EXCLUDED
    settle(session, transfer)


def give_away(artifact: Artifact, away_from: str) -> None:
    """Have another site bring an artifact."""
    artifact.ingest_id, artifact.tried = None, [*artifact.tried, away_from]


def end(
    session: Session, transfer: Transfer, state: TransferState, reason: str, now: datetime
) -> None:
    """Note how a transfer ended; the publication that a fill was for goes on."""
    transfer.state, transfer.reason = state, reason
    transfer.ended_at, transfer.not_before = now, None
    if transfer.kind == TransferKind.PUBLISH:
        publications.look_at_fill(session, transfer.id, now)


def settle(session: Session, transfer: Transfer) -> None:
    """Have the version looked at once it waits for no site's work on its files any more."""
    session.flush()
    version = locking.lock(session, Version, transfer.version_id)
    unassigned = drafting.without_ingest(session, version.id, 1)
    if unassigned or drafting.expected(session, version.id) == 0:
        version.dirty = True
