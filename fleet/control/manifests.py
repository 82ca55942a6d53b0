"""The manifest of a version, from what the store knows of its artifacts, as one more of them.

Rules this module keeps:

- It is written once a version waits for no file and before any is cut, so that it lists exactly
  what the version has; from then on no file that was left out is tried again.
- The centre keeps it until sites have it: it is ingested, placed and seeded like any other file,
  but as a shard by itself, whose pieces are known at once.
- The same version gives the same bytes, and one manifest, wherever the centre was killed.
"""

import hashlib
from contextlib import suppress
from typing import BinaryIO
from urllib.parse import urlsplit

from sqlalchemy import bindparam, select
from sqlmodel import Session, col

from fleet.blueprint import manifest
from fleet.blueprint.manifest import File, Manifest
from fleet.blueprint.refused import BlueprintRefused
from fleet.blueprint.sources import check_url
from fleet.control import blobs, kept
from fleet.control.errors import RefusedError
from fleet.importers import BUNDLE
from fleet.importers.media import media_type
from fleet.importers.paths import collision_key
from fleet.planning.addresses import unfit
from fleet.planning.states import ArtifactState, VersionState
from fleet.settings import CentreSettings
from fleet.store import drafting, locking
from fleet.store.database import Store
from fleet.store.tables import Artifact, Version
from fleet.torrent.pieces import PieceHasher, piece_length

_FILE = (
    *(Artifact.path, Artifact.size, Artifact.sha256, Artifact.role, Artifact.md5),
    *(Artifact.media_type, Artifact.bep52_root, Artifact.origins),
)
ROLE = "manifest"
_HAS_ONE = select(col(Artifact.id)).where(
    col(Artifact.version_id) == bindparam("version"), col(Artifact.role) == ROLE
)


def is_due(session: Session, version: str) -> bool:
    """Whether a draft has no manifest yet, and may still get one."""
    if drafting.next_position(session, version) > 0:
        return False
    return session.execute(_HAS_ONE, {"version": version}).first() is None


def give(store: Store, settings: CentreSettings, version_id: str) -> bool:
    """Give a version that waits for no file its manifest, to be ingested; whether it has one.

    A version of which none can be written goes without, and its notes say so.

    Raises:
        OSError: it cannot be kept.
    """
    with store.read() as session:
        try:
            data = of(session, session.get_one(Version, version_id))
        except RefusedError as error:
            data, refused = b"", str(error)
        path = _free_path(session, version_id)
    if not data:
        with store.write() as session:
            version = locking.lock(session, Version, version_id)
            if refused not in version.notes:
                version.notes = [*version.notes, refused]
        return False
    sha256, length = hashlib.sha256(data).hexdigest(), piece_length(len(data))

    def write(file: BinaryIO) -> str:
        file.write(data)
        return sha256

    kept.keep(settings, write)
    hasher = PieceHasher(length)
    hasher.update(data)
    pieces = hasher.finish()
    blobs.keep(store, hashlib.sha256(pieces).hexdigest(), pieces)
    with store.write() as session:
        version = locking.lock(session, Version, version_id)
        changed = version.state != VersionState.DRAFT or drafting.expected(session, version_id)
        if not changed and is_due(session, version_id):
            session.add(
                Artifact(
                    version_id=version_id,
                    path=path,
                    role=ROLE,
                    media_type=media_type(path),
                    origins=[BUNDLE + sha256],
                    size=len(data),
                    sha256=sha256,
                    piece_length=length,
                    pieces=hashlib.sha256(pieces).hexdigest(),
                )
            )
    return True


def _free_path(session: Session, version: str) -> str:
    """Name the manifest as no file of the version is called, nor a folder."""
    paths = select(col(Artifact.path)).where(col(Artifact.version_id) == version)
    tops = {collision_key(path).partition("/")[0] for path in session.scalars(paths)}
    names = (f"manifest{number}.json" for number in ("", *range(2, len(tops) + 3)))
    return next(name for name in names if name not in tops)


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
    found = []
    for url in origins:
        with suppress(BlueprintRefused):
            check_url(url)
            if not _is_near(urlsplit(url).hostname or ""):
                found.append(url)
    return tuple(found)


def _is_near(host: str) -> bool:
    """Whether a host is another one, or none, to whoever reads of it elsewhere."""
    try:
        return bool(unfit(host, ()))
    except ValueError:  # it is a name
        return host == "localhost" or host.endswith(".localhost")
