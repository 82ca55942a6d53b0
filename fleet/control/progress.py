"""How far a version is: for a progress bar, and to know when waiting is over."""

from dataclasses import dataclass

from sqlalchemy import func
from sqlmodel import Session, col, select

from fleet.control.errors import NotFoundError
from fleet.planning.states import (
    ArtifactState,
    PublicationState,
    ReplicaState,
    TransferState,
    VersionState,
)
from fleet.store import faults, versioning
from fleet.store.tables import (
    Artifact,
    Attempt,
    Placement,
    Publication,
    Replica,
    Shard,
    Transfer,
    Version,
)
from fleet.store.transfers import LIVE

_PUBLICATION_ENDED = (PublicationState.PUBLISHED, PublicationState.REFUSED)
_GOING = (ReplicaState.LEAVING, ReplicaState.RETIRED)


@dataclass(frozen=True)
class Progress:
    """Counts of one version; ``bytes_done`` counts every site's copy, as ``bytes_wanted`` does.

    Of its ``live`` transfers, ``active`` ones were announced or run; the others wait.
    ``publishing`` counts the repositories where it is to become a record, and is none yet.
    """

    state: str
    artifacts: int
    known: int
    excluded: int
    shards: int
    replicas_wanted: int
    replicas_available: int
    bytes_known: int
    bytes_wanted: int
    bytes_done: int
    live: int
    active: int
    suspended: int
    publishing: int
    short: int
    settled: bool

    @property
    def complete(self) -> bool:
        """Whether everything asked for is there."""
        return (
            self.settled
            and self.state == VersionState.PUBLISHED
            and not (self.excluded or self.suspended or self.short)
            and self.replicas_available == self.replicas_wanted
        )


def of(session: Session, version_id: str) -> Progress:
    """Return how far a version is.

    Raises:
        NotFoundError: there is no such version.
    """
    version = session.get(Version, version_id)
    if version is None:
        raise NotFoundError(f"there is no version {version_id!r}")
    states = dict(
        session.exec(
            select(Artifact.state, func.count())
            .where(Artifact.version_id == version_id)
            .group_by(col(Artifact.state))
        ).all()
    )
    transfers = versioning.counts(session, version_id)
    wanted, available, bytes_wanted, bytes_available = _replicas(session, version_id)
    dirty, publishing = _dirty(session, version), _publishing(session, version_id)
    live = sum(transfers.get(state, 0) for state in LIVE)
    return Progress(
        state=version.state,
        artifacts=sum(states.values()),
        known=states.get(ArtifactState.KNOWN, 0),
        excluded=states.get(ArtifactState.EXCLUDED, 0),
        shards=_count(session, Shard, version_id),
        replicas_wanted=wanted,
        replicas_available=available,
        bytes_known=int(
            session.exec(
                select(func.sum(col(Artifact.size))).where(Artifact.version_id == version_id)
            ).one()
            or 0
        ),
        bytes_wanted=bytes_wanted,
        bytes_done=bytes_available + _under_way(session, version_id),
        live=live,
        active=live - transfers.get(TransferState.WAITING, 0),
        suspended=transfers.get(TransferState.SUSPENDED, 0),
        publishing=publishing,
        short=_short(session, version_id),
        settled=not dirty and live == publishing == 0,
    )


def _count(session: Session, table: type[Shard], version_id: str) -> int:
    return session.exec(
        select(func.count()).select_from(table).where(table.version_id == version_id)
    ).one()


def _replicas(session: Session, version_id: str) -> tuple[int, int, int, int]:
    """Count the replicas wanted and those that count, and sum their bytes."""
    good, size = faults.counts(), func.sum(col(Shard.size))
    wanted, there, bytes_wanted, bytes_there = session.exec(
        select(func.count(), func.count().filter(good), size, size.filter(good))
        .select_from(Replica)
        .join(Shard, col(Shard.id) == col(Replica.shard_id))
        .where(Shard.version_id == version_id, col(Replica.state).not_in(_GOING))
    ).one()
    return wanted, there, int(bytes_wanted or 0), int(bytes_there or 0)


def _under_way(session: Session, version_id: str) -> int:
    """Sum what running attempts have done so far."""
    total = session.exec(
        select(func.sum(col(Attempt.bytes_done)))
        .join(Transfer, col(Transfer.attempt_id) == col(Attempt.id))
        .where(Transfer.version_id == version_id, Transfer.state == TransferState.RUNNING)
    ).one()
    return int(total or 0)


def _dirty(session: Session, version: Version) -> bool:
    if version.dirty:
        return True
    return (
        session.exec(
            select(Shard.id).where(Shard.version_id == version.id, col(Shard.dirty).is_(True))
        ).first()
        is not None
    )


def _publishing(session: Session, version_id: str) -> int:
    """Count the publications that are under way by themselves."""
    return session.exec(
        select(func.count())
        .select_from(Publication)
        .where(
            Publication.version_id == version_id,
            col(Publication.state).not_in(_PUBLICATION_ENDED),
        )
    ).one()


def _short(session: Session, version_id: str) -> int:
    """Count the shards whose rule cannot be satisfied."""
    return session.exec(
        select(func.count())
        .select_from(Placement)
        .join(Shard, col(Shard.id) == col(Placement.shard_id))
        .where(Shard.version_id == version_id, col(Placement.site_id).is_(None))
    ).one()
