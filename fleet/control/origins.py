"""Files that lie at the centre, in a folder or kept there, for the workers that ingest them."""

from pathlib import Path

from sqlalchemy import or_
from sqlmodel import Session, col, select

from fleet.control import kept
from fleet.control.errors import NotFoundError
from fleet.importers import BUNDLE, CENTRE
from fleet.planning.states import ArtifactState
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Artifact, Transfer, Version
from fleet.store.transfers import LIVE


def locate(store: Store, settings: CentreSettings, artifact_id: str, site: str) -> Path:
    """Return the file of an artifact that ``site`` is to ingest.

    The path is resolved anew: a folder's content may have changed since it was imported.

    Raises:
        NotFoundError: this site is not at work on it, or it lies outside the folder by now.
    """
    refused = NotFoundError(f"artifact {artifact_id} has no file here for site {site}")
    with store.read() as session:
        artifact = session.get(Artifact, artifact_id)
        if artifact is None or not _wanted(session, artifact, site):
            raise refused
        root = Path(session.get_one(Version, artifact.version_id).source_root)
    names = [one for one in artifact.origins if one.startswith(CENTRE)]
    if not names or artifact.state == ArtifactState.EXCLUDED:
        raise refused
    if names[0].startswith(BUNDLE):
        path = kept.place(settings, names[0].removeprefix(BUNDLE))
        root = path.parent
    else:
        path = (root / names[0].removeprefix(CENTRE)).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise refused
    return path


def _wanted(session: Session, artifact: Artifact, site: str) -> bool:
    """Whether a site is at work on the transfer that brings an artifact, or a copy of it."""
    return (
        session.exec(
            select(Transfer.id).where(
                Transfer.executor_id == site,
                col(Transfer.state).in_(LIVE),
                or_(
                    col(Transfer.id) == artifact.ingest_id,
                    col(Transfer.shard_id) == artifact.shard_id,
                ),
            )
        ).first()
        is not None
    )
