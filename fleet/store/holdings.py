"""Named queries over versions, artifacts, shards and replicas."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Integer, String, bindparam, exists, func, true, update
from sqlmodel import Session, SQLModel, col, select
from sqlmodel.sql.expression import SelectOfScalar

from fleet.planning.states import ArtifactState, ReplicaState, TransferState, VersionState
from fleet.store import faults
from fleet.store.tables import (
    Artifact,
    Dataset,
    DatasetAlias,
    Incident,
    Replica,
    Shard,
    Site,
    Transfer,
    Version,
)
from fleet.store.transfers import UNENDED

Row = TypeVar("Row", bound=SQLModel)
TROUBLED = (ReplicaState.SUSPECT, ReplicaState.BAD, ReplicaState.MISSING)
SEEDED = (ReplicaState.AVAILABLE, ReplicaState.SUSPECT)  # BitTorrent proves each piece

_SAME_BUT_FOR_CASE = select(Dataset.id).where(
    func.lower(col(Dataset.id)) == bindparam("name", type_=String())
)


def find_dataset(session: Session, name: str) -> Dataset | None:
    """Return the dataset called ``name``, by its id or by an old name of it."""
    alias = session.get(DatasetAlias, name)
    return session.get(Dataset, alias.dataset_id if alias else name)


def same_but_for_case(session: Session, name: str) -> str | None:
    """Return the id of a dataset that differs from ``name`` in capitals alone, if there is one."""
    return session.exec(_SAME_BUT_FOR_CASE, params={"name": name.lower()}).first()


def lock(session: Session, table: type[Row], key: str | None) -> Row:
    """Take a row for this unit of work, and read it anew.

    Whoever sets or clears ``dirty`` does so under this lock: cleared without it, a flag set by
    another unit of work at the same time would be lost.
    """
    return session.get_one(table, key, with_for_update=True, populate_existing=True)


_SHARDS = (
    select(Shard)
    .where(col(Shard.id).in_(bindparam("shards", expanding=True)))
    .order_by(col(Shard.id))
    .with_for_update()
    .execution_options(populate_existing=True)
)


def lock_shards(session: Session, shards: Iterable[str]) -> Sequence[Shard]:
    """Take some shards for this unit of work, the one with the least id first, as all do."""
    return session.exec(_SHARDS, params={"shards": list(shards)}).all()


def lock_shards_at(session: Session, site: str) -> None:
    """Take the shards of all that a site holds or is to hold, in the order that all keep."""
    theirs = select(Replica.shard_id).where(
        Replica.site_id == site, Replica.state != ReplicaState.RETIRED
    )
    session.exec(
        select(Shard.id).where(col(Shard.id).in_(theirs)).order_by(col(Shard.id)).with_for_update()
    ).all()


def dirty_shards(session: Session, versions: SelectOfScalar[str]) -> None:
    """Have all shards of some versions looked at; they are taken in the order that all keep."""
    theirs = col(Shard.version_id).in_(versions)
    session.exec(select(Shard.id).where(theirs).order_by(col(Shard.id)).with_for_update()).all()
    session.exec(update(Shard).where(theirs).values(dirty=True))


def folder(version: Version) -> str:
    """Return where a version lies below every site's root."""
    return f"{version.dataset_id}/{version.label}"


_OF_SHARD: BindParameter[str] = bindparam("shard")
_ARTIFACTS = select(Artifact).where(Artifact.shard_id == _OF_SHARD)


def artifacts_of(session: Session, shard: str) -> list[Artifact]:
    """Return a shard's artifacts, in the order they lie in it.

    That order is by code point; a database's own collation may differ.
    """
    rows = session.exec(_ARTIFACTS, params={"shard": shard}).all()
    return sorted(rows, key=lambda artifact: artifact.path)


_FILES = select(Artifact.path, Artifact.size).where(Artifact.shard_id == _OF_SHARD)


def files_of(session: Session, shard: str) -> list[tuple[str, int]]:
    """Return the paths and sizes of a shard's artifacts, in the order they lie in it."""
    rows = session.exec(_FILES, params={"shard": shard}).all()
    return sorted((path, size or 0) for path, size in rows)


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


_DATASET: BindParameter[str] = bindparam("dataset")
_LATEST = (
    select(Version)
    .where(Version.dataset_id == _DATASET, Version.state == VersionState.PUBLISHED)
    .order_by(col(Version.sequence).desc())
)


def latest(session: Session, dataset: str) -> Version | None:
    """Return the published version of a dataset, which no other has superseded."""
    return session.exec(_LATEST, params={"dataset": dataset}).first()


def before(session: Session, version: Version) -> Version | None:
    """Return the version of the same dataset that was published before one."""
    earlier = select(Version).where(
        Version.dataset_id == version.dataset_id, col(Version.sequence) < version.sequence
    )
    return session.exec(earlier.order_by(col(Version.sequence).desc())).first()


_LAST_SEQUENCE = select(func.max(col(Version.sequence))).where(Version.dataset_id == _DATASET)


def last_sequence(session: Session, dataset: str) -> int:
    """Return the sequence of the dataset's version that was published last; 0 if none was."""
    return session.exec(_LAST_SEQUENCE, params={"dataset": dataset}).one() or 0


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


_ARRIVAL = (
    select(Site.id)
    .join(Transfer, col(Transfer.target_id) == col(Site.id))
    .join(Artifact, col(Artifact.ingest_id) == col(Transfer.id))
    .where(Artifact.shard_id == _OF_SHARD)
    .group_by(col(Site.id), col(Site.retired), col(Site.silent))
    .order_by(
        col(Site.retired), col(Site.silent), func.sum(col(Artifact.size)).desc(), col(Site.id)
    )
    .limit(1)
)


def arrival(session: Session, shard: str) -> str:
    """Return the site whose ingests brought most of a shard; one that is there, if any is."""
    return session.exec(_ARRIVAL, params={"shard": shard}).one()


def ingest_sites(session: Session, shard: str) -> dict[str, str]:
    """Map the id of each artifact of a shard to the site whose ingest brought it."""
    rows = session.exec(
        select(Artifact.id, Transfer.target_id)
        .join(Transfer, col(Transfer.id) == col(Artifact.ingest_id))
        .where(Artifact.shard_id == shard)
    ).all()
    return dict(rows)


_REPLICA = select(Replica).where(
    Replica.shard_id == _OF_SHARD, Replica.site_id == bindparam("site")
)


@contextmanager
def unwritten(session: Session) -> Iterator[None]:
    """Ask for copies by shard and site without what was changed being written before.

    A copy's shard and site never change: of what waits to be written only new copies matter.
    """
    if any(isinstance(one, Replica) for one in session.new):
        session.flush()
    with session.no_autoflush:
        yield


def replica(session: Session, shard: str, site: str) -> Replica | None:
    """Return what is believed of a shard at a site."""
    with unwritten(session):
        return session.exec(_REPLICA, params={"shard": shard, "site": site}).one_or_none()


def replicas(session: Session, shard: str) -> Sequence[Replica]:
    """Return what is believed of a shard at every site."""
    return session.exec(select(Replica).where(Replica.shard_id == shard)).all()


_GOOD = (
    select(func.count())
    .select_from(Replica)
    .where(Replica.shard_id == _OF_SHARD, Replica.state == ReplicaState.AVAILABLE)
)


def good(session: Session, shard: str) -> int:
    """Count the copies of a shard that are verified and not in doubt."""
    return session.exec(_GOOD, params={"shard": shard}).one()


def at_site(session: Session, site: str) -> Sequence[Replica]:
    """Return all that a site holds or is to hold."""
    return session.exec(
        select(Replica).where(Replica.site_id == site, Replica.state != ReplicaState.RETIRED)
    ).all()


_READABLE = (
    select(Site)
    .join(Replica, col(Replica.site_id) == col(Site.id))
    .where(
        Replica.shard_id == _OF_SHARD,
        Replica.state == bindparam("state"),
        Site.read_url != "",
        col(Site.retired).is_(False),
    )
)


def readable(
    session: Session, shard: str, state: ReplicaState = ReplicaState.AVAILABLE
) -> Sequence[Site]:
    """Return the sites that hold a copy of a shard, a verified one, and can be read from."""
    return session.exec(_READABLE, params={"shard": shard, "state": state}).all()


_CHANGED = select(Version.id).where(col(Version.dirty) == true()).order_by(col(Version.id)).limit(1)
_COME = (
    select(Version.id)
    .where(col(Version.look_at) <= bindparam("now"))
    .order_by(col(Version.look_at))
    .limit(1)
)


def next_version(session: Session, now: datetime) -> str | None:
    """Return a version about which something changed, or whose time to be looked at has come."""
    changed = session.exec(_CHANGED).first()
    return min(
        filter(None, (changed, session.exec(_COME, params={"now": now}).first())), default=None
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


def counts(session: Session, version: str) -> dict[str, int]:
    """Count a version's transfers by state."""
    rows = session.exec(
        select(Transfer.state, func.count())
        .where(Transfer.version_id == version)
        .group_by(col(Transfer.state))
    ).all()
    return {str(state): number for state, number in rows}


def suspended(session: Session, version: str) -> Sequence[Transfer]:
    """Return a version's transfers that wait for a person."""
    return session.exec(
        select(Transfer).where(
            Transfer.version_id == version, Transfer.state == TransferState.SUSPENDED
        )
    ).all()


def site_lines(session: Session, sites: Iterable[str]) -> list[dict[str, Any]]:
    """Count each site's replicas by what matters on a screen, and the transfers to it.

    What does not count because its site is at fault as a whole is bad.
    """
    state, number = col(Replica.state), func.count()
    copies = {
        site: (available, copying, held - available)
        for site, available, copying, held in session.exec(
            select(
                Replica.site_id,
                number.filter(faults.counts()),
                number.filter(state == ReplicaState.COPYING),
                number.filter(state.in_((ReplicaState.AVAILABLE, *TROUBLED))),
            ).group_by(col(Replica.site_id))
        ).all()
    }
    running = dict(
        session.exec(
            select(Transfer.target_id, func.count())
            .where(Transfer.state == TransferState.RUNNING)
            .group_by(col(Transfer.target_id))
        ).all()
    )
    lines = []
    for site in sites:
        available, copying, bad = copies.get(site, (0, 0, 0))
        lines.append(
            {
                "site": site,
                "available": available,
                "copying": copying,
                "bad": bad,
                "transfers": running.get(site, 0),
            }
        )
    return lines
