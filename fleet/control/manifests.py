"""The manifest of a version, from what the store knows of its artifacts."""

from contextlib import suppress

from sqlalchemy import select
from sqlmodel import Session, col

from fleet.blueprint import manifest
from fleet.blueprint.manifest import File, Manifest
from fleet.blueprint.refused import BlueprintRefused
from fleet.blueprint.sources import check_url
from fleet.control.errors import RefusedError
from fleet.planning.states import ArtifactState
from fleet.store.tables import Artifact, Version

_FILE = (
    *(Artifact.path, Artifact.size, Artifact.sha256, Artifact.role, Artifact.md5),
    *(Artifact.media_type, Artifact.bep52_root, Artifact.origins),
)


def of(session: Session, version: Version) -> bytes:
    """Write the manifest of what is known of a version's files; of a published one, all of it.

    Raises:
        RefusedError: it has more files than a manifest may list.
    """
    rows = session.execute(
        select(*map(col, _FILE)).where(
            col(Artifact.version_id) == version.id,
            col(Artifact.state) == ArtifactState.KNOWN,
            col(Artifact.role) != "manifest",
        )
    )
    retrieved = version.licence_retrieved_at
    try:
        return manifest.write(
            Manifest(
                dataset=version.dataset_id,
                version=version.label,
                files=tuple(_file(*row) for row in rows),
                licence=version.licence,
                retrieved=retrieved and retrieved.date(),
            )
        )
    except BlueprintRefused as error:
        raise RefusedError(f"no manifest of {version.id}: {error}") from error


def _file(
    path: str,
    size: int,
    sha256: str,
    role: str,
    md5: str | None,
    media_type: str | None,
    bep52_root: str | None,
    origins: list[str],
) -> File:
    return File(path, size, sha256, role, md5, media_type, bep52_root, _public(origins))


def _public(origins: list[str]) -> tuple[str, ...]:
    """Keep the origins that anybody may know, and use: no file of the centre, and no secret."""
    kept = []
    for url in origins:
        with suppress(BlueprintRefused):
            check_url(url)
            kept.append(url)
    return tuple(kept)
