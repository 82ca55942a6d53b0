"""Named queries over what sites serve under bare names, and what they could."""

from collections.abc import Iterable, Sequence

from sqlalchemy import exists, func
from sqlmodel import Session, col, or_, select

from fleet.planning.latest import FOLDER
from fleet.planning.states import ArtifactState, TransferKind, VersionState
from fleet.store import faults
from fleet.store.tables import Artifact, Replica, Served, Shard, Transfer, Version
from fleet.store.transfers import UNENDED

_NAMES_AT_ONCE = 500


def newest(session: Session, dataset: str) -> Version | None:
    """Return the version of a dataset that is published and superseded by none."""
    return session.exec(
        select(Version)
        .where(Version.dataset_id == dataset, Version.state == VersionState.PUBLISHED)
        .order_by(col(Version.sequence).desc())
    ).first()


def datasets_at(session: Session, site: str) -> Sequence[str]:
    """Name the datasets that a site has copies of, or is to have, in the order that all take."""
    return session.exec(
        select(Version.dataset_id)
        .join(Shard, col(Shard.version_id) == col(Version.id))
        .join(Replica, col(Replica.shard_id) == col(Shard.id))
        .where(Replica.site_id == site)
        .distinct()
        .order_by(Version.dataset_id)
    ).all()


def absent(session: Session, version: str, site: str) -> int:
    """Count the shards of a version of which a site has no copy that counts."""
    there = exists().where(
        col(Replica.shard_id) == col(Shard.id), col(Replica.site_id) == site, faults.counts()
    )
    return session.exec(
        select(func.count()).select_from(Shard).where(Shard.version_id == version, ~there)
    ).one()


def bare_files(session: Session, version: str) -> Sequence[tuple[str, int, str, str | None]]:
    """Return path, size, sha256 and md5 of a version's data that lie in no folder but ours."""
    path = col(Artifact.path)
    rows = session.exec(
        select(Artifact.path, Artifact.size, Artifact.sha256, Artifact.md5).where(
            Artifact.version_id == version,
            Artifact.role == "data",
            Artifact.state == ArtifactState.KNOWN,
            or_(
                path.not_like("%/%"),
                path.like(f"{FOLDER}/%") & path.not_like(f"{FOLDER}/%/%"),
            ),
        )
    ).all()
    return [(path, size or 0, sha256 or "", md5) for path, size, sha256, md5 in rows]


def switches(session: Session, site: str, dataset: str) -> Sequence[Transfer]:
    """Return the switches of a dataset at a site that have not ended."""
    return session.exec(
        select(Transfer)
        .join(Version, col(Version.id) == col(Transfer.version_id))
        .where(
            Version.dataset_id == dataset,
            Transfer.kind == TransferKind.SWITCH,
            Transfer.target_id == site,
            col(Transfer.state).in_(UNENDED),
        )
        .order_by(col(Transfer.id))
    ).all()


def taken(
    session: Session, site: str, dataset: str, names: Iterable[str]
) -> tuple[str, str, str] | None:
    """Find a file that has one of these names where another dataset has, or is about to.

    Returns its path, and its dataset and version.
    """
    switching = select(Transfer.version_id).where(
        Transfer.kind == TransferKind.SWITCH,
        Transfer.target_id == site,
        col(Transfer.state).in_(UNENDED),
    )
    serving = select(Served.version_id).where(Served.site_id == site)
    versions = select(Version.id).where(
        Version.dataset_id != dataset,
        or_(col(Version.id).in_(serving), col(Version.id).in_(switching)),
    )
    others = session.exec(versions).all()
    asked = sorted(names) if others else []
    for first in range(0, len(asked), _NAMES_AT_ONCE):
        some = asked[first : first + _NAMES_AT_ONCE]
        found = session.exec(
            select(Artifact.path, Version.dataset_id, Version.label)
            .join(Version, col(Version.id) == col(Artifact.version_id))
            .where(
                col(Artifact.version_id).in_(others),
                Artifact.role == "data",
                Artifact.state == ArtifactState.KNOWN,
                col(Artifact.path).in_([*some, *(f"{FOLDER}/{one}" for one in some)]),
            )
            .order_by(col(Artifact.path))
        ).first()
        if found is not None:
            return found
    return None
