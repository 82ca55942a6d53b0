"""What an export of the ledger is made of: a version's artifacts, each with all its copies."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Case,
    ColumnElement,
    DateTime,
    Select,
    and_,
    case,
    collate,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from fleet.planning.states import ReplicaState, TransferKind
from fleet.store import faults
from fleet.store.tables import Artifact, Attempt, Replica, Transfer, Version

_ROWS_AT_ONCE = 5_000


def versions(session: Session, dataset: str | None) -> list[tuple[str, str, str]]:
    """Return dataset, id and label of a dataset's versions, or of all, the oldest first."""
    wanted: Select[*tuple[Any, ...]] = select(
        col(Version.dataset_id), col(Version.created_at), col(Version.id), col(Version.label)
    )
    if dataset is not None:
        wanted = wanted.where(col(Version.dataset_id) == dataset)
    rows = sorted(tuple(row) for row in session.execute(wanted))
    return [(owner, version, label) for owner, _, version, label in rows]


def count(session: Session, version: str) -> int:
    """Count what ``copies`` gives of a version."""
    return int(session.execute(_rows(select(func.count()), version)).scalar_one())


def copies(session: Session, version: str) -> Iterator[Sequence[Any]]:
    """Stream a version's artifacts by path: each with its copies by site, or once with none.

    What stands in a row is told by the names that ``fleet.control.exports`` gives it.  Moments are
    as the database gives them, in UTC: on SQLite without a zone, which would take as long as all
    the rest to add.
    """
    before: Sequence[Any] | None = None
    streamed = {"yield_per": _ROWS_AT_ONCE}  # PostgreSQL would send all of it at once
    statement = _copies(version, collation="C" if _is_postgres(session) else "BINARY")
    for row in session.connection().execute(statement, execution_options=streamed):
        if before is not None and before[:2] != row[:2]:
            yield before
        before = row  # of several copies that were made to one site, the last one counts
    if before is not None:
        yield before


def _copies(version: str, collation: str) -> Select[*tuple[Any, ...]]:
    """Select them by code point, with the last attempt to bring each, earlier ones before it.

    That is the ingest where it fetched the file to this very site, or to none yet; else a copy.
    """
    ingest, ingested = aliased(Transfer), aliased(Attempt)
    copy, copied = aliased(Transfer), aliased(Attempt)
    here = or_(col(Replica.site_id).is_(None), col(ingest.target_id) == col(Replica.site_id))
    fetched = and_(col(ingested.id).is_not(None), here)

    def told(name: str) -> Case[Any]:
        return case((fetched, getattr(ingested, name)), else_=getattr(copied, name))

    moments = (col(Replica.verified_at), told("claimed_at"), told("ended_at"))
    wanted: Select[*tuple[Any, ...]] = select(
        col(Artifact.path),
        col(Replica.site_id),
        col(Artifact.origins)[0].as_string(),
        col(Artifact.size),
        col(Artifact.sha256),
        col(Artifact.md5),
        *(type_coerce(one, DateTime) for one in moments),
        col(Artifact.state),
        col(Artifact.reason),
        col(Replica.state),
        col(Replica.reason),
        faults.counts(),
        told("state"),
        told("reason"),
    )
    copying = and_(
        col(copy.shard_id) == col(Replica.shard_id),
        col(copy.target_id) == col(Replica.site_id),
        col(copy.kind) == TransferKind.COPY,
    )
    return (
        _rows(wanted, version)
        .outerjoin(ingest, col(ingest.id) == col(Artifact.ingest_id))
        .outerjoin(ingested, _last(ingested, ingest))
        .outerjoin(copy, copying)
        .outerjoin(copied, _last(copied, copy))
        .order_by(
            collate(col(Artifact.path), collation),
            collate(col(Replica.site_id), collation),
            col(copied.claimed_at).is_not(None),
            col(copied.claimed_at),
        )
    )


def _last(attempt: type[Attempt], transfer: type[Transfer]) -> ColumnElement[bool]:
    """Whether an attempt is the last one that claimed a transfer."""
    return and_(
        col(attempt.transfer_id) == col(transfer.id), col(attempt.fence) == col(transfer.fence)
    )


def _rows(wanted: Select[*tuple[Any, ...]], version: str) -> Select[*tuple[Any, ...]]:
    """Select from a version's artifacts, each with its copies."""
    theirs = and_(
        col(Replica.shard_id) == col(Artifact.shard_id),
        col(Replica.state) != ReplicaState.RETIRED,
    )
    return (
        wanted.select_from(Artifact)
        .outerjoin(Replica, theirs)
        .where(col(Artifact.version_id) == version)
    )


def _is_postgres(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"
