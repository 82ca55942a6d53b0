"""The ledger: applies what workers report.  It alone writes the state of replicas.

Rules this module keeps:

- An outcome counts while no later claim has superseded its attempt; an expired lease alone does
  not matter.  Applied twice, it changes nothing the second time.
- A superseded outcome changes no state: it is kept as an observation, and what it says it brought
  is verified, so that no work is thrown away.
"""

from datetime import datetime

from sqlmodel import Session

from fleet.control import (
    budgets,
    endings,
    executors,
    incidents,
    probes,
    replicas,
    scores,
    traffic,
)
from fleet.control.errors import NotFoundError, RefusedError
from fleet.control.outcomes import Application
from fleet.messages import Outcome, Verdict
from fleet.planning.states import AttemptState, TransferKind, TransferState, VersionState
from fleet.settings import CentreSettings
from fleet.store import drafting, transfers
from fleet.store.database import Store
from fleet.store.tables import Attempt, Observation, Transfer, Version

_EVIDENCE_MOST = 2000  # characters kept of one proof
_ENDED = frozenset({AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.SUPERSEDED})


def apply(store: Store, settings: CentreSettings, outcome: Outcome) -> Verdict:
    """Apply ``outcome``, whose sender's identity was checked, in one unit of work.

    Raises:
        NotFoundError: that site never had such an attempt.
        RefusedError: the attempt was never claimed with that fence, or a blob is missing.
    """
    with store.write() as session:
        attempt = session.get(Attempt, outcome.attempt)
        if attempt is None or attempt.site_id != outcome.site:
            raise NotFoundError(f"site {outcome.site} has no attempt {outcome.attempt}")
        transfer = transfers.lock(session, attempt.transfer_id)
        session.refresh(attempt)
        if attempt.fence is None or outcome.fence != attempt.fence:
            raise RefusedError(f"attempt {attempt.id} was not claimed with fence {outcome.fence}")
        if attempt.state in _ENDED:
            return Verdict(
                applied=attempt.state != AttemptState.SUPERSEDED, reason="applied before"
            )
        now = store.now(session)
        scores.note(session, outcome, now)
        budgets.note(session, attempt, outcome, now)
        traffic.note(session, outcome, now)
        _note_evidence(session, transfer, outcome, now)
        if transfer.fence != outcome.fence or _is_over(session, transfer):
            return _superseded(session, transfer, attempt, outcome, now)
        if transfer.attempt_id != attempt.id:
            transfers.withdraw_announced(session, transfer.id)
        application = Application(session, settings, transfer, outcome, now)
        problem = application.apply()
        state = AttemptState.FAILED if problem else AttemptState.SUCCEEDED
        _close(attempt, outcome, state, problem or application.remark, now)
        return Verdict(applied=True, reason=attempt.reason or "applied")


def _close(
    attempt: Attempt, outcome: Outcome, state: AttemptState, reason: str, now: datetime
) -> None:
    """Note how an attempt ended: at once, and last, so that its row is written once."""
    attempt.state, attempt.reason = state, reason
    attempt.ended_at, attempt.bytes_fetched = now, outcome.bytes_fetched


def _note_evidence(session: Session, transfer: Transfer, outcome: Outcome, now: datetime) -> None:
    """Keep the proofs that a host sent wrong bytes; a copy of the fleet's own is then doubted."""
    for source in outcome.sources:
        if not source.evidence:
            continue
        evidence = source.evidence[:_EVIDENCE_MOST]
        session.add(
            Observation(
                kind="wrong_bytes",
                observer=outcome.site,
                site_id=source.site,
                shard_id=transfer.shard_id,
                at=now,
                detail={"host": source.host, "attempt": outcome.attempt, "evidence": evidence},
            )
        )
        judged = incidents.of(session, outcome.site)  # what it got wrong may be its own doing
        if source.site is not None and transfer.shard_id is not None and judged is None:
            reason = f"{outcome.site} got wrong bytes of it: {evidence}"
            replicas.doubt(session, transfer.shard_id, source.site, reason, now)


def _is_over(session: Session, transfer: Transfer) -> bool:
    """Whether nothing more can come of a transfer; what an ingest brought is of use to a draft."""
    if transfer.state != TransferState.CANCELLED or transfer.kind != TransferKind.INGEST:
        return transfer.state in (TransferState.CANCELLED, TransferState.DONE)
    return session.get_one(Version, transfer.version_id).state != VersionState.DRAFT


def _superseded(
    session: Session, transfer: Transfer, attempt: Attempt, outcome: Outcome, now: datetime
) -> Verdict:
    reason = f"a later claim (fence {transfer.fence}) superseded fence {outcome.fence}"
    if transfer.fence == outcome.fence:
        reason = f"its transfer was {transfer.state} meanwhile: {transfer.reason}"
    _close(attempt, outcome, AttemptState.SUPERSEDED, reason, now)
    session.add(
        Observation(
            kind="superseded_outcome",
            observer=outcome.site,
            site_id=transfer.target_id,
            shard_id=transfer.shard_id,
            at=now,
            detail=outcome.model_dump(mode="json", include={"attempt", "fence", "items"}),
        )
    )
    if transfer.shard_id is not None and any(item.ok for item in outcome.items):
        replicas.read_anew(session, transfer.shard_id, transfer.target_id, reason, now)
    return Verdict(applied=False, reason=reason)


def lapse(
    session: Session, settings: CentreSettings, attempt: Attempt, reason: str, now: datetime
) -> None:
    """Let the transfer of an attempt whose lease ran out be claimed again, or suspend it."""
    if not transfers.release(session, attempt, reason, now):
        return
    transfer = session.get_one(Transfer, attempt.transfer_id)
    if transfer.kind == TransferKind.PROBE:
        probes.rearm(session, transfer, now)
    elif transfer.attempts >= settings.max_attempts:
        reason = f"gave up after {transfer.attempts} attempts: {reason}"
        endings.give_up(session, transfer, reason, now, blamed=set())


def reassign(session: Session, transfer: Transfer, attempt: Attempt, now: datetime) -> bool:
    """Give the work of a site that does not answer to another, where another can do it."""
    if transfer.kind == TransferKind.PROBE:
        attempt.state, attempt.reason = AttemptState.WITHDRAWN, transfer.reason
        probes.rearm(session, transfer, now)
        return True
    if transfer.kind != TransferKind.INGEST:
        return _hand_back(session, transfer, attempt)
    if drafting.other_node(session, attempt.site_id) is None:
        return False
    attempt.state, attempt.reason = AttemptState.WITHDRAWN, transfer.reason
    for artifact in drafting.ingested_by(session, transfer.id):
        endings.give_away(artifact, attempt.site_id)
    endings.end(session, transfer, TransferState.CANCELLED, transfer.reason, now)
    endings.settle(session, transfer)
    return True


def _hand_back(session: Session, transfer: Transfer, attempt: Attempt) -> bool:
    """Let another work for a site that has no worker."""
    if not executors.take_back(session, transfer):
        return False
    attempt.state, attempt.reason = AttemptState.WITHDRAWN, transfer.reason
    transfer.state = TransferState.WAITING
    return True
