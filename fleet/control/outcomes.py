"""What an outcome does to what its transfer was about, for each kind of work.

Rules this module keeps:

- Only the ledger applies outcomes, and only such as count.
- One bad item never stops the others.
"""

from datetime import datetime

from sqlmodel import Session

from fleet.control import (
    alias_checks,
    deposits,
    endings,
    layers,
    probes,
    replicas,
    served,
    tombstones,
)
from fleet.control.results import checked, learn, proved
from fleet.control.sealing import seal
from fleet.messages import ItemResult, Outcome
from fleet.planning.states import ArtifactState, TransferKind, TransferState
from fleet.settings import CentreSettings
from fleet.store import contents, drafting, locking
from fleet.store.tables import Artifact, Observation, Shard, Transfer, Version


class Application:
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
            one.id: one for one in drafting.expected_among(self.session, version.id, self._ids())
        }
        results = [checked(item, waiting.get(item.artifact)) for item in self.outcome.items]
        self.failed = [item for item in results if not item.ok]
        for item in results:
            artifact = waiting.get(item.artifact)
            if artifact is None:
                continue
            if item.ok:
                learn(artifact, item)
                self._take_layer(artifact, item)
                artifact.ingest_id = self.transfer.id
                continue
            artifact.reason = item.reason
            if item.final:
                artifact.state = ArtifactState.EXCLUDED
        self.session.flush()
        problem = self._problem()
        excluded = any(one.state == ArtifactState.EXCLUDED for one in waiting.values())
        if drafting.ingested_by(self.session, self.transfer.id):
            self._try_again(problem or "it reported nothing about some files")
        else:
            state = TransferState.SUSPENDED if excluded else TransferState.DONE
            endings.end(self.session, self.transfer, state, problem, self.now)
        endings.settle(self.session, self.transfer)
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
        known = {one.id: one for one in contents.artifacts_of(self.session, shard.id)}
        results = [checked(item, known.get(item.artifact)) for item in self.outcome.items]
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
        endings.end(self.session, self.transfer, TransferState.DONE, "", self.now)
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
        endings.end(self.session, self.transfer, TransferState.DONE, problem, self.now)
        return problem

    def _drop(self) -> str:
        shard = locking.lock(self.session, Shard, self.transfer.shard_id)
        problem = self._problem()
        if problem or len(self.outcome.items) != shard.files:
            self._try_again(problem or "it did not report on every file")
            return problem
        tombstones.dropped(self.session, shard.id, self.transfer.target_id, self.now)
        shard.dirty = True
        endings.end(self.session, self.transfer, TransferState.DONE, "", self.now)
        return ""

    def _publish(self) -> str:
        """Learn the md5s of what was brought into a record's draft; the record itself is next."""
        version = self.session.get_one(Version, self.transfer.version_id)
        known = {one.id: one for one in deposits.data_of(self.session, version)}
        results = [
            proved(checked(item, known.get(item.artifact)), known.get(item.artifact))
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
        endings.end(self.session, self.transfer, TransferState.DONE, "", self.now)
        return ""

    def _switch(self) -> str:
        problem = self._problem()
        if problem:
            self._try_again(problem)
            return problem
        endings.end(self.session, self.transfer, TransferState.DONE, "", self.now)
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
        endings.retry(
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
