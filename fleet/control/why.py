"""``fleet why``: the chain of causes behind a dataset, a version, a replica or a transfer."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from fleet.control import probes, progress, uploads, webseeds
from fleet.control.errors import NotFoundError
from fleet.planning.states import ArtifactState, ReplicaState, TransferState
from fleet.store import holdings
from fleet.store.tables import (
    Artifact,
    Attempt,
    Placement,
    Replica,
    Shard,
    Site,
    Tombstone,
    Transfer,
    Uploading,
    Version,
)
from fleet.store.transfers import LIVE

_SHOWN = 20


@dataclass(frozen=True)
class Cause:
    """One thing, the state it is in, the reason, and when it will be looked at again."""

    thing: str
    state: str
    reason: str
    again: datetime | None = None


@dataclass(frozen=True)
class Why:
    """The causes behind one thing, the thing itself first."""

    causes: tuple[Cause, ...]
    more: int = 0


def explain(session: Session, name: str) -> Why:
    """Explain a dataset (by id or alias), version, replica, transfer, attempt, artifact or shard.

    Raises:
        NotFoundError: nothing has that name.
    """
    dataset = holdings.find_dataset(session, name)
    if dataset is not None:
        versions = session.exec(
            select(Version).where(Version.dataset_id == dataset.id).order_by(col(Version.id).desc())
        ).all()
        return _why([cause for version in versions for cause in _version(session, version)])
    if (version := session.get(Version, name)) is not None:
        return _why(_version(session, version))
    if (transfer := session.get(Transfer, name)) is not None:
        return _why(_transfer(session, transfer))
    if (attempt := session.get(Attempt, name)) is not None:
        transfer = session.get_one(Transfer, attempt.transfer_id)
        return _why([_attempt(attempt), *_transfer(session, transfer)])
    if (replica := session.get(Replica, name)) is not None:
        return _why(_replica(session, replica))
    if (shard := session.get(Shard, name)) is not None:
        return _why(_shard(session, shard))
    if (artifact := session.get(Artifact, name)) is not None:
        return _why([_artifact(session, artifact)])
    if (site := session.get(Site, name)) is not None:
        return _why(_site(session, site))
    raise NotFoundError(
        f"nothing is called {name!r}: give a dataset, site, or the id of a version, shard, "
        "replica, transfer, attempt or artifact"
    )


def _why(causes: list[Cause]) -> Why:
    return Why(tuple(causes[: 10 * _SHOWN]), max(0, len(causes) - 10 * _SHOWN))


def _version(session: Session, version: Version) -> list[Cause]:
    done = progress.of(session, version.id)
    summary = version.reason or (
        f"{done.known} of {done.artifacts} files known, {done.replicas_available} of "
        f"{done.replicas_wanted} copies verified"
    )
    causes = [
        Cause(f"{version.dataset_id} {version.label}", version.state, summary, version.look_at)
    ]
    causes += [Cause("note", "import", note) for note in version.notes]
    troubled = session.exec(
        select(Artifact)
        .where(
            Artifact.version_id == version.id,
            (Artifact.state == ArtifactState.EXCLUDED)
            | ((Artifact.state == ArtifactState.EXPECTED) & (Artifact.reason != "")),
        )
        .order_by(col(Artifact.path))
        .limit(5 * _SHOWN)
    ).all()
    causes += [_artifact(session, one) for one in troubled]
    short = session.exec(
        select(Placement)
        .join(Shard, col(Shard.id) == col(Placement.shard_id))
        .where(Shard.version_id == version.id, col(Placement.site_id).is_(None))
        .limit(_SHOWN)
    ).all()
    causes += [Cause(f"shard {one.shard_id}", "unsatisfiable", one.reason) for one in short]
    waiting = session.exec(
        select(Transfer)
        .where(
            Transfer.version_id == version.id,
            col(Transfer.state).in_((*LIVE, TransferState.SUSPENDED)),
        )
        .order_by(col(Transfer.state).desc(), col(Transfer.id))
        .limit(_SHOWN)
    ).all()
    causes += [_summary(one) for one in waiting]
    poor = session.exec(
        select(Replica)
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .where(Shard.version_id == version.id, Replica.state != ReplicaState.AVAILABLE)
        .limit(_SHOWN)
    ).all()
    return causes + [_copy(one) for one in poor]


def _transfer(session: Session, transfer: Transfer) -> list[Cause]:
    attempts = session.exec(
        select(Attempt)
        .where(Attempt.transfer_id == transfer.id)
        .order_by(col(Attempt.id).desc())
        .limit(_SHOWN)
    ).all()
    causes = [_summary(transfer)] + [_attempt(one) for one in attempts]
    causes += [
        Cause(f"source {source['host']}", source.get("state", "ranked"), source["reason"])
        for source in (attempts[0].sources if attempts else ())
    ]
    files = session.exec(
        select(Artifact)
        .where(Artifact.ingest_id == transfer.id, Artifact.reason != "")
        .order_by(col(Artifact.path))
        .limit(_SHOWN)
    ).all()
    return causes + [_artifact(session, one) for one in files]


def _replica(session: Session, replica: Replica) -> list[Cause]:
    causes = [_copy(replica)]
    causes += [
        Cause(f"placement at {one.site_id}", "chosen", one.reason)
        for one in session.exec(
            select(Placement).where(
                Placement.shard_id == replica.shard_id, Placement.site_id == replica.site_id
            )
        ).all()
    ]
    marked = session.get(Tombstone, (replica.shard_id, replica.site_id))
    if marked is not None:
        reason = f"{marked.reason}; {marked.waits}"
        causes.append(
            Cause(f"tombstone at {replica.site_id}", "to be dropped", reason, marked.look_at)
        )
    causes.append(_web_seed(session, replica))
    transfers = session.exec(
        select(Transfer)
        .where(Transfer.shard_id == replica.shard_id, Transfer.target_id == replica.site_id)
        .order_by(col(Transfer.id).desc())
        .limit(_SHOWN)
    ).all()
    return causes + [_summary(one) for one in transfers]


def _web_seed(session: Session, replica: Replica) -> Cause:
    found = webseeds.listing(session, replica)
    probe = probes.of(session, replica.site_id)
    return Cause(
        f"web seed at {replica.site_id}",
        "listed" if found.listed else "not listed",
        found.reason + (f"; {probe.reason}" if probe else ""),
        probe.not_before if probe else None,
    )


def _shard(session: Session, shard: Shard) -> list[Cause]:
    state = "sealed" if shard.infohash else "cut"
    reason = f"{shard.files} files, {shard.size:,} bytes"
    causes = [Cause(f"shard {shard.id}", state, reason)]
    for replica in holdings.replicas(session, shard.id):
        causes += _replica(session, replica)
    return causes


def _site(session: Session, site: Site) -> list[Cause]:
    state = "retired" if site.retired else "retiring" if site.retiring else "active"
    causes = [Cause(site.id, state, f"{site.kind} {site.region}", site.retiring)]
    if (told := session.get(Uploading, site.id)) is not None:
        state = "held" if told.bytes_per_second == 0 else "open"
        causes.append(Cause(f"uploads of {site.id}", state, uploads.in_words(told), told.until))
    waiting = session.exec(
        select(Transfer)
        .where(
            Transfer.executor_id == site.id,
            col(Transfer.state).in_((*LIVE, TransferState.SUSPENDED)),
        )
        .order_by(col(Transfer.priority).desc(), col(Transfer.id))
        .limit(_SHOWN)
    ).all()
    return causes + [_summary(one) for one in waiting]


def _artifact(session: Session, artifact: Artifact) -> Cause:
    again = None
    if artifact.state == ArtifactState.EXPECTED and artifact.ingest_id:
        again = session.get_one(Transfer, artifact.ingest_id).not_before
    return Cause(f"file {artifact.path}", artifact.state, artifact.reason, again)


def _copy(replica: Replica) -> Cause:
    reason = replica.reason
    if replica.state == ReplicaState.AVAILABLE and replica.verified_at:
        reason = f"every byte verified {replica.verified_at:%Y-%m-%d %H:%M:%S} UTC; {reason}"
    name = f"replica {replica.id} at {replica.site_id}"
    return Cause(name, replica.state, reason, replica.look_at)


def _summary(transfer: Transfer) -> Cause:
    name = f"transfer {transfer.id} ({transfer.kind} to {transfer.target_id})"
    tries = f", {transfer.attempts} attempts so far" if transfer.attempts else ""
    reason = (transfer.reason or "waits for its turn") + tries
    return Cause(name, transfer.state, reason, transfer.not_before)


def _attempt(attempt: Attempt) -> Cause:
    reason = attempt.reason or f"{attempt.bytes_done:,} bytes done"
    fence = f", fence {attempt.fence}" if attempt.fence else ""
    return Cause(
        f"attempt {attempt.id} at {attempt.site_id}{fence}",
        attempt.state,
        reason,
        attempt.lease_until if attempt.ended_at is None else None,
    )
