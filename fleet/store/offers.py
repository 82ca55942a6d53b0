"""What is public, and where it is: read version by version, and only what changed.

Rules this module keeps:

- A version's count of changes is exact: it differs from what it was whenever a copy of the version
  came, went, was doubted or proved, or its own state, sequence or DOI changed, or the DOI of its
  dataset; see migrations 0016 and 0018.  It is a sum, and no number that only rises, since units of
  work commit in no order.
- What changed since the notes were last added up (``fold``) is told shard by shard.
- The files of a public version never change, so that they are read once.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import BindParameter, Executable, bindparam, delete, false, func, true
from sqlmodel import Session, SQLModel, col, select

from fleet.planning.states import ArtifactState, ReplicaState, VersionState
from fleet.store import given
from fleet.store.tables import Artifact, DatasetAlias, Replica, Shard, Version, VersionChange

TOLD = (
    ReplicaState.AVAILABLE,
    ReplicaState.SUSPECT,
    ReplicaState.BAD,
    ReplicaState.MISSING,
    ReplicaState.LEAVING,
)
_FOLD_FROM = 500  # rows to add up; fewer are summed in a millisecond
_FOLD_MOST = 20_000  # at once: of many that were noted while nobody ticked, some at each tick
_AT_ONCE = 5000
_COLUMNS = ("path", "role", "size", "sha256", "shard_id")
_CHANGE = SQLModel.metadata.tables["versionchange"]


class FileRow(NamedTuple):
    """One file of a public version."""

    path: str
    role: str
    size: int
    sha256: str
    shard: str


class ShardRow(NamedTuple):
    """A shard of a public version; one that is not sealed has no torrent."""

    id: str
    position: int
    infohash: str | None


class Note(NamedTuple):
    """That a copy of a shard changed."""

    id: int
    version: str
    shard: str
    changes: int


class CopyRow(NamedTuple):
    """A copy of a shard that is at a site, or was."""

    position: int
    site: str
    state: str
    proved: bool


_SUMS = select(VersionChange.version_id, func.sum(VersionChange.changes)).group_by(
    VersionChange.version_id
)
_NOTED = _CHANGE.c.folded == false()
_MANY = sqlalchemy.select(_CHANGE.c.id).where(_NOTED).order_by(_CHANGE.c.id)
_MANY = _MANY.offset(_FOLD_FROM - 1).limit(1)
_NOTES = (
    select(
        VersionChange.id, VersionChange.version_id, VersionChange.shard_id, VersionChange.changes
    )
    .where(_NOTED, col(VersionChange.shard_id).is_not(None))
    .order_by(col(VersionChange.id))
)
_VERSION: BindParameter[str] = bindparam("version")
_FILES = sqlalchemy.select(*(col(getattr(Artifact, name)) for name in _COLUMNS)).where(
    col(Artifact.version_id) == _VERSION,
    col(Artifact.state) == ArtifactState.KNOWN,
    col(Artifact.shard_id).is_not(None),
    col(Artifact.sha256).is_not(None),  # what nobody can prove is offered to nobody
)
_SHARDS = (
    select(Shard.id, Shard.position, Shard.infohash)
    .where(Shard.version_id == _VERSION)
    .order_by(col(Shard.position))
)
_COPIES = (
    select(Shard.position, Replica.site_id, Replica.state, col(Replica.proved_at).is_not(None))
    .join(Shard, col(Shard.id) == col(Replica.shard_id))
    .where(Shard.version_id == _VERSION, col(Replica.state).in_(TOLD))
    .order_by(col(Shard.position), col(Replica.site_id))
)
_SOME = _COPIES.where(col(Shard.id).in_(bindparam("shards", expanding=True)))
_POSITIONS = select(Shard.position).where(col(Shard.id).in_(bindparam("shards", expanding=True)))


def changes(session: Session) -> dict[str, int]:
    """Map every public version to how often something changed of it."""
    return {version: int(times) for version, times in session.exec(_SUMS).all()}


def notes(session: Session) -> list[Note]:
    """Return what changed shard by shard since the notes were last added up."""
    return [Note(*row) for row in session.execute(_NOTES)]


def version(session: Session, one: str) -> Version | None:
    """Return a version that is public; None if it is not."""
    row = session.get(Version, one)
    return None if row is None or row.state == VersionState.DRAFT else row


def files(session: Session, version: str) -> Iterator[FileRow]:
    """Yield the files of a version, a few thousand at a time."""
    rows = session.execute(_FILES, {"version": version}, execution_options={"yield_per": _AT_ONCE})
    return (FileRow(*row) for row in rows)


def shards(session: Session, version: str) -> list[ShardRow]:
    """Return the shards of a version, in their order."""
    return [ShardRow(*row) for row in session.execute(_SHARDS, {"version": version})]


def copies(session: Session, version: str) -> Iterator[CopyRow]:
    """Yield the copies of a version that are at a site, or were: by shard, then by site."""
    rows = session.execute(_COPIES, {"version": version}, execution_options={"yield_per": _AT_ONCE})
    return (CopyRow(*row) for row in rows)


def copies_of(session: Session, version: str, shards: Sequence[str]) -> dict[int, list[CopyRow]]:
    """Map the positions of some shards of a version to the copies of each, as ``copies`` does."""
    found: dict[int, list[CopyRow]] = {
        position: [] for position in session.exec(_POSITIONS, params={"shards": shards})
    }
    for row in session.execute(_SOME, {"version": version, "shards": shards}):
        copy = CopyRow(*row)
        found[copy.position].append(copy)
    return found


def aliases(session: Session) -> dict[str, str]:
    """Map the old names of datasets to their ids."""
    rows = session.exec(select(DatasetAlias.alias, DatasetAlias.dataset_id)).all()
    return dict(rows)


def worth_folding(session: Session) -> bool:
    """Whether so many changes were noted that they should be added up."""
    return session.execute(_MANY).first() is not None


_OLDEST = sqlalchemy.select(_CHANGE.c.id).where(_NOTED).order_by(_CHANGE.c.id).limit(_FOLD_MOST)
_ROW = (_CHANGE.c.version_id, _CHANGE.c.changes)
_TAKEN = delete(_CHANGE).where(_CHANGE.c.id.in_(_OLDEST)).returning(*_ROW)


def fold(session: Session) -> None:
    """Put a sum in place of the notes of each version, the oldest first.

    What others note meanwhile stays as it is; two that fold at once may leave a version two sums.
    """
    kind, connection = given.dialect(session), session.connection()
    sums = Counter[str]()
    for version, times in connection.execute(_TAKEN):
        sums[version] += times
    for version, times in connection.execute(_sums(kind), given.ids(kind, list(sums))):
        sums[version] += times
    rows = [{"version_id": name, "changes": times, "folded": True} for name, times in sums.items()]
    told = given.inserting(kind, _CHANGE, "version_id", "changes", "folded")
    connection.execute(told, given.told(kind, rows))


@cache
def _sums(kind: str) -> Executable:
    """Take the sums of versions that are given."""
    theirs = given.among(kind, _CHANGE.c.version_id)
    return delete(_CHANGE).where(_CHANGE.c.folded == true(), theirs).returning(*_ROW)
