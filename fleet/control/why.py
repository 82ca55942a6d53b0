"""``fleet why``: the chain of causes behind a dataset, a version, a replica or a transfer."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from fleet.control import causes, handover, probes, progress, published, served, webseeds
from fleet.control.causes import Cause
from fleet.control.errors import NotFoundError
from fleet.planning.press import DATASET as CATALOGUE
from fleet.planning.states import ArtifactState, ReplicaState, TransferState, VersionState
from fleet.store import holdings, versioning
from fleet.store.tables import (
    Artifact,
    Attempt,
    Placement,
    Publication,
    Replica,
    Shard,
    Site,
    Tombstone,
    Transfer,
    Version,
)
from fleet.store.transfers import LIVE

_SHOWN = 20
_LOOKED_AT = "it is looked at again when a site, a copy or the rule changes"


@dataclass(frozen=True)
class Why:
    """The causes behind one thing, the thing itself first."""

    causes: tuple[Cause, ...]
    more: int = 0


def explain(session: Session, name: str, now: datetime) -> Why:
    """Explain a dataset (by id or alias), a version, or whatever else has an id.

    Raises:
        NotFoundError: nothing has that name.
    """
    own = causes.press(session) if name == CATALOGUE else []
    dataset = versioning.find_dataset(session, name)
    if dataset is not None or own:
        return _why(own + (_dataset(session, dataset.id, now) if dataset is not None else []))
    if (version := session.get(Version, name)) is not None:
        found = _version(session, version)
        return _why(found[:1] + causes.rule(session, version.dataset_id, now) + found[1:])
    if (transfer := session.get(Transfer, name)) is not None:
        return _why(_transfer(session, transfer, now))
    if (attempt := session.get(Attempt, name)) is not None:
        transfer = session.get_one(Transfer, attempt.transfer_id)
        return _why([_attempt(attempt), *_transfer(session, transfer, now)])
    if (replica := session.get(Replica, name)) is not None:
        return _why(_replica(session, replica, now))
    if (shard := session.get(Shard, name)) is not None:
        return _why(_shard(session, shard, now))
    if (artifact := session.get(Artifact, name)) is not None:
        return _why([_artifact(session, artifact)])
    if (publication := session.get(Publication, name)) is not None:
        return _why(_publication(session, publication, now))
    if (site := session.get(Site, name)) is not None:
        return _why(_site(session, site, now))
    raise NotFoundError(
        f"nothing is called {name!r}: give a dataset, site, or the id of a version, shard, "
        "replica, transfer, attempt, publication or artifact"
    )


def _dataset(session: Session, dataset: str, now: datetime) -> list[Cause]:
    versions = session.exec(
        select(Version).where(Version.dataset_id == dataset).order_by(col(Version.id).desc())
    ).all()
    found = [cause for version in versions for cause in _version(session, version)]
    about = causes.rule(session, dataset, now) + _served(session, dataset)
    return found[:1] + about + found[1:]


def _why(found: list[Cause]) -> Why:
    return Why(tuple(found[: 10 * _SHOWN]), max(0, len(found) - 10 * _SHOWN))


def _version(session: Session, version: Version) -> list[Cause]:
    done = progress.of(session, version.id)
    summary = version.reason or (
        f"{done.known} of {done.artifacts} files known, {done.replicas_available} of "
        f"{done.replicas_wanted} copies verified"
    )
    again = version.look_at if version.state == VersionState.DRAFT else None
    found = [Cause(f"{version.dataset_id} {version.label}", version.state, summary, again)]
    found += [Cause("note", "import", note) for note in version.notes]
    found += published.causes(session, published.rows_of(session, version=version.id))
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
    found += [_artifact(session, one) for one in troubled]
    short = session.exec(
        select(Placement)
        .join(Shard, col(Shard.id) == col(Placement.shard_id))
        .where(Shard.version_id == version.id, col(Placement.site_id).is_(None))
        .limit(_SHOWN)
    ).all()
    found += [
        Cause(f"shard {one.shard_id}", "unsatisfiable", f"{one.reason}; {_LOOKED_AT}")
        for one in short
    ]
    waiting = session.exec(
        select(Transfer)
        .where(
            Transfer.version_id == version.id,
            col(Transfer.state).in_((*LIVE, TransferState.SUSPENDED)),
        )
        .order_by(col(Transfer.state).desc(), col(Transfer.id))
        .limit(_SHOWN)
    ).all()
    found += [_summary(one) for one in waiting]
    poor = session.exec(
        select(Replica)
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .where(Shard.version_id == version.id, Replica.state != ReplicaState.AVAILABLE)
        .limit(_SHOWN)
    ).all()
    return found + [causes.copy(one) for one in poor]


def _transfer(session: Session, transfer: Transfer, now: datetime) -> list[Cause]:
    attempts = session.exec(
        select(Attempt)
        .where(Attempt.transfer_id == transfer.id)
        .order_by(col(Attempt.id).desc())
        .limit(_SHOWN)
    ).all()
    found = [_summary(transfer), *causes.waits(session, transfer, now)]
    found += [_attempt(one) for one in attempts]
    found += [
        Cause(f"source {source['host']}", source.get("state", "ranked"), source["reason"])
        for source in (attempts[0].sources if attempts else ())
    ]
    files = session.exec(
        select(Artifact)
        .where(Artifact.ingest_id == transfer.id, Artifact.reason != "")
        .order_by(col(Artifact.path))
        .limit(_SHOWN)
    ).all()
    return found + [_artifact(session, one) for one in files]


def _publication(session: Session, row: Publication, now: datetime) -> list[Cause]:
    found = published.causes(session, [row])
    if row.transfer_id is None:
        return found
    return found + _transfer(session, session.get_one(Transfer, row.transfer_id), now)


def _replica(session: Session, replica: Replica, now: datetime) -> list[Cause]:
    found = [causes.copy(replica), causes.stands(session, replica.shard_id)]
    troubles = causes.troubles(session, replica.site_id, now)
    found += [one for one in troubles if one.state != "ended"]
    found += [
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
        found.append(
            Cause(
                f"tombstone at {replica.site_id}",
                "to be dropped",
                reason,
                marked.look_at,
                marked.made_at,
            )
        )
    found.append(_web_seed(session, replica))
    transfers = session.exec(
        select(Transfer)
        .where(Transfer.shard_id == replica.shard_id, Transfer.target_id == replica.site_id)
        .order_by(col(Transfer.id).desc())
        .limit(_SHOWN)
    ).all()
    return found + [_summary(one) for one in transfers]


def _web_seed(session: Session, replica: Replica) -> Cause:
    found = webseeds.listing(session, replica)
    probe = probes.of(session, replica.site_id)
    return Cause(
        f"web seed at {replica.site_id}",
        "listed" if found.listed else "not listed",
        found.reason + (f"; {probe.reason}" if probe else ""),
        probe.not_before if probe else None,
    )


def _shard(session: Session, shard: Shard, now: datetime) -> list[Cause]:
    state = "sealed" if shard.infohash else "cut"
    reason = f"{shard.files} files, {shard.size:,} bytes"
    found = [Cause(f"shard {shard.id}", state, reason)]
    for replica in holdings.replicas(session, shard.id):
        found += _replica(session, replica, now)
    return found


def _site(session: Session, site: Site, now: datetime) -> list[Cause]:
    waiting = session.exec(
        select(Transfer)
        .where(
            Transfer.executor_id == site.id,
            col(Transfer.state).in_((*LIVE, TransferState.SUSPENDED)),
        )
        .order_by(col(Transfer.priority).desc(), col(Transfer.id))
        .limit(_SHOWN)
    ).all()
    return [
        *causes.site(session, site, now),
        *handover.causes(session, site, _SHOWN),
        *_served(session, site.id)[:_SHOWN],
        *published.causes(session, published.rows_of(session, site=site.id)),
        *(_summary(one) for one in waiting),
    ]


def _served(session: Session, name: str) -> list[Cause]:
    return [
        Cause(
            f"processed/ of {one.dataset} at {one.site}",
            f"serves {one.version}" if one.version else "serves nothing yet",
            one.reason,
            one.again,
            one.since,
        )
        for one in served.told(session, name)
    ]


def _artifact(session: Session, artifact: Artifact) -> Cause:
    again = None
    if artifact.state == ArtifactState.EXPECTED and artifact.ingest_id:
        again = session.get_one(Transfer, artifact.ingest_id).not_before
    return Cause(f"file {artifact.path}", artifact.state, artifact.reason, again)


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
