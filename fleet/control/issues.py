"""Signed states of the catalogue as versions of a dataset: mirrored and seeded like all data.

Rules this module keeps:

- An edition is a version of the dataset that is kept for them: its files come from the centre once,
  are cut, placed, seeded and served as those of any version, by that dataset's own rule.
- The centre keeps its files from before it is committed, since the catalogue goes on changing.
- Of editions older than the last three no copy is needed any more.
- One that does not get to the sites is given up for the next one.
"""

import hashlib
import shutil
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import true, update
from sqlmodel import Session, col, select

from fleet.catalogue.signing import copies
from fleet.control import kept, mirror
from fleet.importers import BUNDLE, Draft, DraftArtifact
from fleet.importers.media import media_type
from fleet.planning.press import DATASET, KEPT
from fleet.planning.states import TransferState, VersionState
from fleet.settings import CentreSettings
from fleet.store import holdings, transfers
from fleet.store.tables import Transfer, Version

_TITLE = "The catalogue of this fleet / Le catalogue de cette flotte"
_METADATA = "metadata/"


def under_way(session: Session) -> Version | None:
    """Return the edition that is not published yet, if there is one."""
    return session.exec(
        select(Version)
        .where(Version.dataset_id == DATASET, Version.state == VersionState.DRAFT)
        .order_by(col(Version.id))
    ).first()


def prepare(settings: CentreSettings) -> tuple[Draft, str, str]:
    """Keep the files of the state that is signed; return its draft, label and mark.

    Raises:
        SigningError: nothing is signed.
        OSError: they cannot be kept.
    """
    with copies.copied(settings.catalogue) as copy:
        files = tuple(_file(settings, name, copy.files[name]) for name in sorted(copy.files))
        return Draft(DATASET, "folder", files, title=_TITLE), str(copy.state), copy.mark


def _file(settings: CentreSettings, name: str, path: Path) -> DraftArtifact:
    with path.open("rb") as file:
        sha256, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()

    def write(place: BinaryIO) -> str:
        with path.open("rb") as file:
            shutil.copyfileobj(file, place)
        return sha256

    kept.keep(settings, write)
    return DraftArtifact(
        path=name,
        sources=(BUNDLE + sha256,),
        size=size,
        sha256=sha256,
        media_type=media_type(name),
        role="metadata" if name.startswith(_METADATA) else "data",
    )


def begin(session: Session, draft: Draft, label: str, now: datetime) -> str:
    """Commit an edition, in place of one that did not get there; return its label."""
    stuck = under_way(session)
    if stuck is not None:
        _give_up(session, stuck.id, now)
    return mirror.enter(session, draft, DATASET, label, now).label


def _give_up(session: Session, version: str, now: datetime) -> None:
    reason = "did not get to the sites in time: a newer edition takes its place"
    unended = (
        select(Transfer)
        .where(Transfer.version_id == version, col(Transfer.state).in_(transfers.UNENDED))
        .order_by(col(Transfer.id))
        .with_for_update()
    )
    for transfer in session.exec(unended).all():
        transfers.withdraw_all(session, transfer.id, reason)
        transfer.state, transfer.ended_at, transfer.reason = TransferState.CANCELLED, now, reason
    row = holdings.lock(session, Version, version)
    row.state, row.reason, row.unneeded, row.look_at = VersionState.WITHDRAWN, reason, True, now


def published(session: Session, version: Version) -> None:
    """Let go of the copies of older editions, once a newer one is published."""
    if version.dataset_id != DATASET or version.sequence is None:
        return
    older = (
        Version.dataset_id == DATASET,
        col(Version.sequence) <= version.sequence - KEPT,
        col(Version.unneeded) != true(),
    )
    ids = session.exec(select(Version.id).where(*older)).all()
    if ids:
        session.exec(update(Version).where(col(Version.id).in_(ids)).values(unneeded=True))
        holdings.dirty_shards(session, select(Version.id).where(col(Version.id).in_(ids)))
