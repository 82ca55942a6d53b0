"""The artifacts of drafts, read and written: which are waited for and from whom, which are cut."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import BindParameter, Integer, bindparam, exists, func, update
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from fleet.planning.states import ArtifactState
from fleet.store import faults
from fleet.store.tables import Artifact, Incident, Shard, Site, Transfer
from fleet.store.transfers import UNENDED

_INGESTED_BY = (
    select(Artifact)
    .where(Artifact.ingest_id == bindparam("transfer"), Artifact.state == ArtifactState.EXPECTED)
    .order_by(col(Artifact.path))
)


def ingested_by(session: Session, transfer: str) -> Sequence[Artifact]:
    """Return the artifacts that an ingest has yet to bring."""
    return session.exec(_INGESTED_BY, params={"transfer": transfer}).all()


_VERSION: BindParameter[str] = bindparam("version")
_EXPECTED = (
    select(func.count())
    .select_from(Artifact)
    .where(Artifact.version_id == _VERSION, Artifact.state == ArtifactState.EXPECTED)
)


def expected(session: Session, version: str) -> int:
    """Count the artifacts of a version that are neither known nor excluded."""
    return session.exec(_EXPECTED, params={"version": version}).one()


_EXPECTED_AMONG = select(Artifact).where(
    Artifact.version_id == _VERSION,
    Artifact.state == ArtifactState.EXPECTED,
    col(Artifact.id).in_(bindparam("ids", expanding=True)),
)


def expected_among(session: Session, version: str, ids: Iterable[str]) -> Sequence[Artifact]:
    """Return those of the artifacts with ``ids`` that a version still waits for."""
    return session.exec(_EXPECTED_AMONG, params={"version": version, "ids": list(ids)}).all()


def other_node(session: Session, site: str) -> str | None:
    """Return a node other than ``site`` that is there, stays and answers, if any does.

    None that is at fault as a whole.
    """
    at_fault = exists().where(col(Incident.site_id) == col(Site.id), faults.judged())
    return session.exec(
        select(Site.id)
        .where(
            Site.kind == "node",
            Site.id != site,
            col(Site.silent).is_(False),
            col(Site.retired).is_(False),
            col(Site.retiring).is_(None),
            ~at_fault,
        )
        .order_by(col(Site.id))
    ).first()


def _unassigned(*, tried: bool) -> SelectOfScalar[Artifact]:
    return (
        select(Artifact)
        .where(
            Artifact.version_id == _VERSION,
            Artifact.state == ArtifactState.EXPECTED,
            col(Artifact.ingest_id).is_(None),
            (col(Artifact.reason) != "") == tried,
        )
        .limit(bindparam("most", type_=Integer()))
    )


# asked for in one sorted query, all of them would be read
_UNASSIGNED = (_unassigned(tried=False), _unassigned(tried=True))


def without_ingest(session: Session, version: str, limit: int) -> Sequence[Artifact]:
    """Return artifacts of a version that no transfer fetches yet, untried ones first."""
    rows: list[Artifact] = []
    for some in _UNASSIGNED:
        asked = {"version": version, "most": limit - len(rows)}
        rows += session.exec(some, params=asked).all()
        if len(rows) == limit:
            break
    return sorted(rows, key=lambda artifact: (artifact.reason, artifact.path))


def assign(session: Session, given: Iterable[tuple[str, str | None, str]]) -> None:
    """Note for artifacts, by id, the ingest that each was given to, or the reason why to none.

    As the statements of this module that change thousands of rows do, it passes by the session,
    which would hold the store for long.
    """
    session.connection().execute(
        update(Artifact)
        .where(col(Artifact.id) == bindparam("one"))
        .values(ingest_id=bindparam("ingest"), reason=bindparam("why")),
        [
            {"one": one, "ingest": ingest, "why": "" if ingest else reason}
            for one, ingest, reason in given
        ],
    )


_EXCLUDED = (
    select(func.count())
    .select_from(Artifact)
    .where(Artifact.version_id == _VERSION, Artifact.state == ArtifactState.EXCLUDED)
)


def excluded(session: Session, version: str) -> int:
    """Count the artifacts of a version that could not be had."""
    return session.exec(_EXCLUDED, params={"version": version}).one()


_KNOWN = (
    select(func.count())
    .select_from(Artifact)
    .where(Artifact.version_id == _VERSION, Artifact.state == ArtifactState.KNOWN)
)
_CUT = select(func.sum(col(Shard.files))).where(Shard.version_id == _VERSION)
_UNCUT_FILES = select(Artifact.id, Artifact.path, Artifact.size, Artifact.role).where(
    Artifact.version_id == _VERSION,
    Artifact.state == ArtifactState.KNOWN,
    col(Artifact.shard_id).is_(None),
)


def uncut(session: Session, version: str) -> int:
    """Count the artifacts of a version whose bytes are known and that are in no shard yet."""
    known, cut = (session.exec(one, params={"version": version}).one() for one in (_KNOWN, _CUT))
    return int(known or 0) - int(cut or 0)


def uncut_files(session: Session, version: str) -> list[tuple[str, str, int, bool]]:
    """Return of the artifacts that ``uncut`` counts id, path, size, and which is the manifest."""
    rows = session.exec(_UNCUT_FILES, params={"version": version}).all()
    return [(one, path, size or 0, role == "manifest") for one, path, size, role in rows]


_LAST_POSITION = select(func.max(Shard.position)).where(Shard.version_id == _VERSION)


def next_position(session: Session, version: str) -> int:
    """Return the position of a version's next shard; 0 while it has none."""
    last = session.exec(_LAST_POSITION, params={"version": version}).one()
    return 0 if last is None else last + 1


def put_in_shard(session: Session, shard: str, offsets: Iterable[tuple[str, int]]) -> None:
    """Put artifacts, by id with the offset of each, into a shard."""
    session.connection().execute(
        update(Artifact)
        .where(col(Artifact.id) == bindparam("one"))
        .values(shard_id=shard, offset=bindparam("at")),
        [{"one": one, "at": at} for one, at in offsets],
    )


def exclude(session: Session, reasons: Mapping[str, str]) -> None:
    """Leave artifacts, by id with the reason of each, out of their version."""
    session.connection().execute(
        update(Artifact)
        .where(col(Artifact.id) == bindparam("one"))
        .values(state=ArtifactState.EXCLUDED, reason=bindparam("why"), shard_id=None, offset=None),
        [{"one": one, "why": reason} for one, reason in reasons.items()],
    )


def unsealed_by_nobody(session: Session, version: str) -> Sequence[Shard]:
    """Return a version's shards that have no pieces and that no site is to hash."""
    hashing = (
        select(Transfer.shard_id)
        .where(Transfer.version_id == version, col(Transfer.state).in_(UNENDED))
        .where(col(Transfer.shard_id).is_not(None))
    )
    return session.exec(
        select(Shard).where(
            Shard.version_id == version,
            col(Shard.infohash).is_(None),
            col(Shard.id).not_in(hashing),
        )
    ).all()
