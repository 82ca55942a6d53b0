"""The ledger: applies what workers report.  It alone writes the state of replicas.

Rules this module keeps:

- An outcome counts while no later claim has superseded its attempt; an expired lease alone does
  not matter.  Applied twice, it changes nothing the second time.
- A superseded outcome changes no state: it is kept as an observation, and what it says it brought
  is verified, so that no work is thrown away.
- One bad item never stops the others.
"""

from datetime import datetime

from sqlmodel import Session

from fleet.control import (
    alias_checks,
    budgets,
    deposits,
    executors,
    incidents,
    layers,
    probes,
    publications,
    replicas,
    scores,
    served,
    tombstones,
    traffic,
)
from fleet.control.errors import NotFoundError, RefusedError
from fleet.control.sealing import seal
from fleet.messages import ItemResult, Outcome, Verdict
from fleet.planning.retry import after_failure
from fleet.planning.states import (
    ArtifactState,
    AttemptState,
    TransferKind,
    TransferState,
    VersionState,
)
from fleet.settings import CentreSettings
from fleet.store import holdings, transfers
from fleet.store.database import Store
from fleet.store.tables import (
    Artifact,
    Attempt,
    Observation,
    Shard,
    Transfer,
    Version,
)
from fleet.torrent.pieces import piece_length

_MOVES = 2  # how often a file is given to another site before it is given up
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
        application = _Application(session, settings, transfer, outcome, now)
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


class _Application:
    """One outcome being applied to its transfer; ``remark`` is what was not to be taken of it."""

    def __init__(
        self,
        session: Session,
        settings: CentreSettings,
        transfer: Transfer,
        outcome: Outcome,
        now: datetime,
    ) -> None:
        self.session = session
        self.settings = settings
        self.transfer = transfer
        self.outcome = outcome
        self.now = now
        self.remark = ""
        self.failed = [item for item in outcome.items if not item.ok]

    def apply(self) -> str:
        """Apply it; return the problem, empty when all went well."""
        match self.transfer.kind:
            case TransferKind.INGEST:
                return self._ingest()
            case TransferKind.COPY:
                return self._copy()
            case TransferKind.VERIFY:
                return self._verify()
            case TransferKind.DROP:
                return self._drop()
            case TransferKind.SWITCH:
                return self._switch()
            case TransferKind.PUBLISH:
                return self._publish()
            case _:
                problem = self._problem()
                probes.note(self.session, self.settings, self.transfer, self.outcome, self.now)
                return problem

    def _ingest(self) -> str:
        """Learn what came; what did not is tried again, given to another site, or excluded.

        An artifact that was given to another site meanwhile counts as well while nobody knows it:
        its bytes lie here now.
        """
        version = self.session.get_one(Version, self.transfer.version_id)
        waiting = {
            one.id: one for one in holdings.expected_among(self.session, version.id, self._ids())
        }
        results = [_checked(item, waiting.get(item.artifact)) for item in self.outcome.items]
        self.failed = [item for item in results if not item.ok]
        for item in results:
            artifact = waiting.get(item.artifact)
            if artifact is None:
                continue
            if item.ok:
                _learn(artifact, item)
                self._take_layer(artifact, item)
                artifact.ingest_id = self.transfer.id
                continue
            artifact.reason = item.reason
            if item.final:
                artifact.state = ArtifactState.EXCLUDED
        self.session.flush()
        problem = self._problem()
        excluded = any(one.state == ArtifactState.EXCLUDED for one in waiting.values())
        if holdings.ingested_by(self.session, self.transfer.id):
            self._try_again(problem or "it reported nothing about some files")
        else:
            state = TransferState.SUSPENDED if excluded else TransferState.DONE
            _end(self.session, self.transfer, state, problem, self.now)
        _settle(self.session, self.transfer)
        return problem

    def _take_layer(self, artifact: Artifact, item: ItemResult) -> None:
        """Keep the BEP 52 layer of an artifact, or the reason why it is refused."""
        fault = layers.fault(self.session, item)
        artifact.layer = item.layer.sha256 if item.layer and not fault else None
        if fault:
            said = f"the BEP 52 layer of {artifact.path} is refused: {fault}"
            self.remark = self.remark or said
            self.session.add(
                Observation(
                    kind="refused_layer",
                    observer=self.outcome.site,
                    site_id=self.outcome.site,
                    at=self.now,
                    detail={"attempt": self.outcome.attempt, "reason": said},
                )
            )

    def _ids(self) -> list[str]:
        return [item.artifact for item in self.outcome.items]

    def _check(self, shard: Shard) -> set[str]:
        """Hold every item against what is known of it; return the artifacts that are well."""
        known = {one.id: one for one in holdings.artifacts_of(self.session, shard.id)}
        results = [_checked(item, known.get(item.artifact)) for item in self.outcome.items]
        self.failed = [item for item in results if not item.ok]
        return {item.artifact for item in results if item.ok} & set(known)

    def _copy(self) -> str:
        shard = self.session.get_one(Shard, self.transfer.shard_id)
        missing = shard.files - len(self._check(shard))
        problem = self._problem()
        if missing:
            problem = problem or f"{missing} files were not reported"
        elif shard.infohash is None:
            unsealed = seal(self.session, shard, self.outcome.pieces)
            problem = unsealed and (self.outcome.reason or unsealed)
        if problem:
            self._try_again(problem)
            return problem
        self._arrive(shard)
        _end(self.session, self.transfer, TransferState.DONE, "", self.now)
        return ""

    def _verify(self) -> str:
        shard = self.session.get_one(Shard, self.transfer.shard_id)
        self._check(shard)
        problem = self._problem()
        lost = [item for item in self.failed if item.fault in ("missing", "corrupt")]
        if lost:
            target = self.transfer.target_id
            replicas.lose(self.session, shard.id, target, lost, problem, self.now)
        elif problem or len(self.outcome.items) != shard.files:
            self._try_again(problem or "it did not report on every file")
            return problem
        else:
            problem = alias_checks.judge(self.session, self.transfer.id, self.outcome, self.now)
            self._arrive(shard)
            if problem:
                self._try_again(problem)
                return problem
        _end(self.session, self.transfer, TransferState.DONE, problem, self.now)
        return problem

    def _drop(self) -> str:
        shard = holdings.lock(self.session, Shard, self.transfer.shard_id)
        problem = self._problem()
        if problem or len(self.outcome.items) != shard.files:
            self._try_again(problem or "it did not report on every file")
            return problem
        tombstones.dropped(self.session, shard.id, self.transfer.target_id, self.now)
        shard.dirty = True
        _end(self.session, self.transfer, TransferState.DONE, "", self.now)
        return ""

    def _publish(self) -> str:
        """Learn the md5s of what was brought into a record's draft; the record itself is next."""
        version = self.session.get_one(Version, self.transfer.version_id)
        known = {one.id: one for one in deposits.data_of(self.session, version)}
        results = [
            _proved(_checked(item, known.get(item.artifact)), known.get(item.artifact))
            for item in self.outcome.items
        ]
        self.failed = [item for item in results if not item.ok]
        well = {item.artifact: item for item in results if item.ok and item.artifact in known}
        for name, item in well.items():
            known[name].md5 = item.md5 or known[name].md5
        missing = len(known) - len(well)
        if problem := self._problem() or (f"{missing} files were not reported" if missing else ""):
            self._try_again(problem)
            return problem
        _end(self.session, self.transfer, TransferState.DONE, "", self.now)
        return ""

    def _switch(self) -> str:
        problem = self._problem()
        if problem:
            self._try_again(problem)
            return problem
        _end(self.session, self.transfer, TransferState.DONE, "", self.now)
        served.switched(self.session, self.transfer, self.now)
        return ""

    def _arrive(self, shard: Shard) -> None:
        target = self.transfer.target_id
        fresh = replicas.arrive(self.session, self.settings, shard.id, target, self.now)
        alias_checks.arrived(self.session, shard.id, self.now)
        if fresh:
            probes.ensure(self.session, target, self.now)
            served.arrived(self.session, shard, target, self.now)

    def _try_again(self, problem: str) -> None:
        blamed = {item.artifact for item in self.failed if item.fault in ("source", "refused")}
        _retry(
            self.session,
            self.settings,
            self.transfer,
            problem,
            self.now,
            blamed=blamed,
        )

    def _problem(self) -> str:
        """Put all that went wrong into one line."""
        if not self.failed:
            return self.outcome.reason
        first = self.failed[0].reason
        more = len(self.failed) - 1
        return first if not more else f"{first} (and {more} more files failed)"


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
        _give_up(session, transfer, reason, now, blamed=set())


def reassign(session: Session, transfer: Transfer, attempt: Attempt, now: datetime) -> bool:
    """Give the work of a site that does not answer to another, where another can do it."""
    if transfer.kind == TransferKind.PROBE:
        attempt.state, attempt.reason = AttemptState.WITHDRAWN, transfer.reason
        probes.rearm(session, transfer, now)
        return True
    if transfer.kind != TransferKind.INGEST:
        return _hand_back(session, transfer, attempt)
    if holdings.other_node(session, attempt.site_id) is None:
        return False
    attempt.state, attempt.reason = AttemptState.WITHDRAWN, transfer.reason
    for artifact in holdings.ingested_by(session, transfer.id):
        _move(artifact, attempt.site_id)
    _end(session, transfer, TransferState.CANCELLED, transfer.reason, now)
    _settle(session, transfer)
    return True


def _hand_back(session: Session, transfer: Transfer, attempt: Attempt) -> bool:
    """Let another work for a site that has no worker."""
    if not executors.take_back(session, transfer):
        return False
    attempt.state, attempt.reason = AttemptState.WITHDRAWN, transfer.reason
    transfer.state = TransferState.WAITING
    return True


def _retry(
    session: Session,
    settings: CentreSettings,
    transfer: Transfer,
    problem: str,
    now: datetime,
    blamed: set[str],
) -> None:
    """Let a transfer that failed wait for its next time, or suspend it."""
    retry = after_failure(
        problem,
        attempts=transfer.attempts,
        max_attempts=settings.max_attempts,
        first_wait=settings.retry_seconds,
        now=now,
    )
    if retry.at is None:
        _give_up(session, transfer, retry.reason, now, blamed)
        return
    transfer.state, transfer.reason = TransferState.WAITING, retry.reason
    transfer.not_before = retry.at
    executors.take_back(session, transfer)
    if transfer.kind == TransferKind.COPY and transfer.shard_id:
        replicas.failed(session, transfer.shard_id, transfer.target_id, retry.reason)


def _give_up(
    session: Session, transfer: Transfer, reason: str, now: datetime, blamed: set[str]
) -> None:
    """Suspend a transfer; the version goes on without what its origins do not give.

    Artifacts whose origins are not ``blamed`` are given to another site first: this one was at
    fault.
    """
    _end(session, transfer, TransferState.SUSPENDED, reason, now)
    if transfer.kind == TransferKind.COPY and transfer.shard_id:
        replicas.failed(session, transfer.shard_id, transfer.target_id, reason)
    if transfer.kind != TransferKind.INGEST:
        return
    for artifact in holdings.ingested_by(session, transfer.id):
        artifact.reason = artifact.reason or reason
        if len(artifact.tried) < _MOVES and artifact.id not in blamed:
            _move(artifact, transfer.executor_id)
        else:
            artifact.state = ArtifactState.EXCLUDED
    _settle(session, transfer)


def _move(artifact: Artifact, away_from: str) -> None:
    artifact.ingest_id, artifact.tried = None, [*artifact.tried, away_from]


def _end(
    session: Session, transfer: Transfer, state: TransferState, reason: str, now: datetime
) -> None:
    transfer.state, transfer.reason = state, reason
    transfer.ended_at, transfer.not_before = now, None
    if transfer.kind == TransferKind.PUBLISH:
        publications.look_at_fill(session, transfer.id, now)


def _settle(session: Session, transfer: Transfer) -> None:
    """Have the version looked at once it waits for no site's work on its files any more."""
    session.flush()
    version = holdings.lock(session, Version, transfer.version_id)
    unassigned = holdings.without_ingest(session, version.id, 1)
    if unassigned or holdings.expected(session, version.id) == 0:
        version.dirty = True


def _checked(item: ItemResult, known: Artifact | None) -> ItemResult:
    """Hold a result against what is known; one that contradicts it, or lacks proof, failed."""
    if not item.ok:
        return item
    problem = ""
    if item.sha256 is None or item.size is None:
        problem = "it was reported well without its sha256 and size"
    elif known is not None and known.sha256 not in (None, item.sha256):
        problem = f"sha256 {item.sha256[:16]}… came where {(known.sha256 or '')[:16]}… was known"
    elif known is not None and known.size not in (None, item.size) and known.sha256 is not None:
        problem = f"{item.size:,} bytes came where {known.size:,} were known"
    if not problem:
        return item
    return item.model_copy(update={"ok": False, "reason": problem, "fault": "local"})


def _proved(item: ItemResult, known: Artifact | None) -> ItemResult:
    """Hold a file that was sent to a repository against its md5, by which that checks it."""
    if not item.ok or known is None:
        return item
    if item.md5 is None and known.md5 is None:
        problem = "it was sent to a repository and reported without its md5"
    elif item.md5 is not None and known.md5 not in (None, item.md5):
        problem = f"md5 {item.md5} came where {known.md5} was known"
    else:
        return item
    return item.model_copy(update={"ok": False, "reason": problem, "fault": "local"})


def _learn(artifact: Artifact, item: ItemResult) -> None:
    """Fix what is known of an artifact, once."""
    artifact.state, artifact.reason = ArtifactState.KNOWN, ""
    artifact.size, artifact.sha256 = item.size, item.sha256
    artifact.md5 = item.md5 or artifact.md5
    artifact.bep52_root = item.bep52_root
    if item.pieces and item.piece_length == piece_length(item.size or 0):
        artifact.piece_length, artifact.pieces = item.piece_length, item.pieces.sha256
