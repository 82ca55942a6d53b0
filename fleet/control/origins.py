"""Files that were imported from a folder of the centre, for the workers that ingest them."""

from pathlib import Path

from fleet.control.errors import NotFoundError
from fleet.importers import CENTRE
from fleet.planning.states import ArtifactState
from fleet.store.database import Store
from fleet.store.tables import Artifact, Transfer, Version


def locate(store: Store, artifact_id: str, site: str) -> Path:
    """Return the file of an artifact that ``site`` is to ingest.

    The path is resolved anew: a folder's content may have changed since it was imported.

    Raises:
        NotFoundError: it is not for this site, or lies outside the folder by now.
    """
    refused = NotFoundError(f"artifact {artifact_id} has no file here for site {site}")
    with store.read() as session:
        artifact = session.get(Artifact, artifact_id)
        transfer = session.get(Transfer, artifact.ingest_id) if artifact else None
        if artifact is None or transfer is None or transfer.executor_id != site:
            raise refused
        root = Path(session.get_one(Version, artifact.version_id).source_root)
    names = [one for one in artifact.origins if one.startswith(CENTRE)]
    if not names or artifact.state == ArtifactState.EXCLUDED:
        raise refused
    path = (root / names[0].removeprefix(CENTRE)).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise refused
    return path
