"""Files that the centre keeps until sites have them: manifests, bundles, editions of the catalogue.

Rules this module keeps:

- A file is kept under its digest, once it is whole: of the same bytes there is one, whatever number
  of versions has it and however often it is made.
- It is deleted once every version that has it is published with as many good copies of it as its
  rule wants at least.  From then on the centre is no origin of it any more.
- What is no manifest stays for a day all the same: a version that is to have it may not be
  committed yet.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import BindParameter, Text, bindparam, cast, func
from sqlmodel import Session, col, select

from fleet.control import facts
from fleet.importers import BUNDLE
from fleet.planning.states import ArtifactState, VersionState
from fleet.settings import CentreSettings
from fleet.store import faults
from fleet.store.database import Store
from fleet.store.tables import Artifact, Replica, Version

AT_LEAST = timedelta(days=1)
_MANIFEST = "manifest"


def place(settings: CentreSettings, sha256: str) -> Path:
    """Return where the file with a digest is kept."""
    return settings.home / "bundles" / sha256


def keep(settings: CentreSettings, write: Callable[[BinaryIO], str]) -> None:
    """Keep what ``write`` writes to the file that it is given, under the digest that it returns.

    Raises:
        OSError: it cannot be kept.
    """
    folder = place(settings, "")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    beside = Path(name)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it is open already
            sha256 = write(file)
            file.flush()
            os.fsync(file.fileno())
        with _alone(folder):
            beside.replace(folder / sha256)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def let_go(store: Store, settings: CentreSettings, version: str) -> bool:
    """Delete what is kept for a published version and need not be any more; whether all of it."""
    with store.read() as session:
        now, held = store.now(session), _held(session, version)
        done = [one for one in held if _is_elsewhere(session, one)]
    for sha256 in done:
        before = None if held[sha256] == _MANIFEST else now - AT_LEAST
        if _delete(place(settings, sha256), before):
            with store.write() as session:
                _forget(session, sha256)
            del held[sha256]
    return not held


_KEPT = select(Artifact).where(
    Artifact.version_id == bindparam("version"), cast(col(Artifact.origins), Text).contains(BUNDLE)
)
_SHA256: BindParameter[str] = bindparam("sha256")
_ITS_VERSIONS = (
    select(Artifact, Version)
    .join(Version, col(Version.id) == col(Artifact.version_id))
    .where(Artifact.sha256 == _SHA256)
)
_COUNTING = select(func.count()).where(Replica.shard_id == bindparam("shard"), faults.counts())


def _held(session: Session, version: str) -> dict[str, str]:
    """Map the files of a version that have the centre as an origin, by digest, to their roles."""
    rows = session.exec(_KEPT, params={"version": version}).all()
    return {one.sha256: one.role for one in rows if one.sha256 and _is_kept(one)}


def _is_kept(artifact: Artifact) -> bool:
    return any(origin.startswith(BUNDLE) for origin in artifact.origins)


def _is_elsewhere(session: Session, sha256: str) -> bool:
    """Whether sites have enough of a file, for each version that it is kept for."""
    return all(
        _has_enough(session, artifact, version)
        for artifact, version in session.exec(_ITS_VERSIONS, params={"sha256": sha256}).all()
        if _is_kept(artifact)
    )


def _has_enough(session: Session, artifact: Artifact, version: Version) -> bool:
    if version.state == VersionState.DRAFT:
        return False
    if version.unneeded:
        return True
    if artifact.shard_id is None:
        return artifact.state == ArtifactState.EXCLUDED
    rule = facts.rule_of(session, version.dataset_id)
    least = rule.min_copies if rule is not None else 1
    return session.exec(_COUNTING, params={"shard": artifact.shard_id}).one() >= least


def _forget(session: Session, sha256: str) -> None:
    """Have a file be had from the centre no more."""
    rows = (
        select(Artifact)
        .join(Version, col(Version.id) == col(Artifact.version_id))
        .where(Artifact.sha256 == sha256, Version.state != VersionState.DRAFT)
    )
    for artifact in session.exec(rows).all():  # a draft's was kept anew since
        artifact.origins = [one for one in artifact.origins if not one.startswith(BUNDLE)]


def _delete(path: Path, before: datetime | None) -> bool:
    """Delete a file, unless it was not kept ``before`` that; whether it is gone."""
    try:
        with _alone(path.parent):
            if before is not None and path.stat().st_mtime >= before.timestamp():
                return False
            path.unlink()
    except FileNotFoundError:
        pass  # who deleted it may have been killed before it could note that; or all was lost
    return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only one who puts a file there, or takes one away."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
