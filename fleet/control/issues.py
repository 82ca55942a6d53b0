"""Signed states of the catalogue as versions of a dataset: mirrored and seeded like all data.

Rules this module keeps:

- An edition is a version of the dataset that is kept for them: its files come from the centre once,
  are cut, placed, seeded and served as those of any version, by that dataset's own rule.
- Of editions older than the last three no copy is needed any more.
- One that does not get to the sites is given up for the next one.
"""

from datetime import datetime

from sqlalchemy import true, update
from sqlmodel import Session, col, select

from fleet.control import mirror
from fleet.importers import Draft, DraftArtifact
from fleet.planning.press import DATASET, KEPT
from fleet.planning.states import TransferState, VersionState
from fleet.store import holdings, transfers
from fleet.store.tables import Press, Transfer, Version

_TITLE = "The catalogue of this fleet / Le catalogue de cette flotte"


def under_way(session: Session) -> Version | None:
    """Return the edition that is not published yet, if there is one."""
    return session.exec(
        select(Version)
        .where(Version.dataset_id == DATASET, Version.state == VersionState.DRAFT)
        .order_by(col(Version.id))
    ).first()


def begin(session: Session, files: tuple[DraftArtifact, ...], label: str, now: datetime) -> str:
    """Commit an edition of files that the centre keeps; return its label.

    One that did not get to the sites is given up.
    """
    stuck = under_way(session)
    if stuck is not None:
        _give_up(session, stuck.id, now)
    draft = Draft(DATASET, "folder", files, title=_TITLE)
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


def published(session: Session, version: Version, now: datetime) -> None:
    """Let go of the copies of older editions once a newer one is published; the next may come."""
    if version.dataset_id != DATASET or version.sequence is None:
        return
    session.exec(update(Press).values(look_at=now))
    older = (
        Version.dataset_id == DATASET,
        col(Version.sequence) <= version.sequence - KEPT,
        col(Version.unneeded) != true(),
    )
    ids = session.exec(select(Version.id).where(*older)).all()
    if ids:
        session.exec(update(Version).where(col(Version.id).in_(ids)).values(unneeded=True))
        holdings.dirty_shards(session, select(Version.id).where(col(Version.id).in_(ids)))
