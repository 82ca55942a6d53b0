"""Named queries over what lies in a shard, and which sites brought it."""

from sqlalchemy import BindParameter, bindparam, func
from sqlmodel import Session, col, select

from fleet.store.tables import Artifact, Site, Transfer

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
