"""Signed states of the catalogue as versions of a dataset: mirrored and seeded like all data.

Rules this module keeps:

- An edition is a version of the dataset that is kept for them: its files come from the centre once,
  are cut, placed, seeded and served as those of any version, by that dataset's own rule.
- A version is an edition because the press made it, never because of its dataset's name: nothing
  else is ever let go of here, and none is made beside versions that somebody mirrored.
- Of editions older than the last three no copy is needed any more.
- One that does not get to the sites is given up for the next one, and what they have of it goes.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate

from sqlalchemy import false, true, update
from sqlmodel import Session, col, select

from fleet.control import mirror, replicas
from fleet.control.errors import RefusedError
from fleet.importers import Draft, DraftArtifact
from fleet.planning.press import DATASET, KEPT
from fleet.planning.states import ArtifactState, TransferKind, TransferState, VersionState
from fleet.store import drafting, locking, transfers, versioning
from fleet.store.tables import (
    Artifact,
    Dataset,
    DatasetAlias,
    Press,
    Shard,
    Site,
    Transfer,
    Version,
)
from fleet.torrent.pieces import piece_length

_TITLE = "The catalogue of this fleet / Le catalogue de cette flotte"
_EDITION = col(Version.edition) == true()
_STUCK = "did not get to the sites in time: a newer edition takes its place"


def check_free(session: Session) -> None:
    """Refuse to make editions where their dataset's name is taken.

    Raises:
        RefusedError: it is another dataset's, but for capitals, or an old one of it; or it has
            versions that are no editions.
    """
    alias = session.get(DatasetAlias, DATASET)
    if alias is not None:
        raise RefusedError(
            f"{DATASET!r}, which its editions are kept under, is an old name of the dataset "
            f"{alias.dataset_id!r}; the catalogue is served by this centre alone"
        )
    made = session.get(Dataset, DATASET) is not None
    if not made and (other := versioning.same_but_for_case(session, DATASET)):
        raise RefusedError(
            f"to many disks {DATASET!r}, which its editions are kept under, is the same folder as "
            f"the dataset {other!r}; the catalogue is served by this centre alone"
        )
    others = select(Version.id).where(
        Version.dataset_id == DATASET, col(Version.edition) == false()
    )
    if session.exec(others.limit(1)).first() is not None:
        raise RefusedError(
            f"the dataset {DATASET!r}, which its editions are kept under, has versions that are "
            "none; the catalogue is served by this centre alone"
        )


def under_way(session: Session) -> Version | None:
    """Return the edition that is not published yet, if there is one."""
    return session.exec(
        select(Version)
        .where(Version.dataset_id == DATASET, _EDITION, Version.state == VersionState.DRAFT)
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
    """Withdraw a draft, unless it was published meanwhile, and let go of what sites have of it."""
    unended = (
        select(Transfer)
        .where(Transfer.version_id == version, col(Transfer.state).in_(transfers.UNENDED))
        .order_by(col(Transfer.id))
    )
    session.exec(unended.with_for_update()).all()  # before their version, as all do
    row = locking.lock(session, Version, version)
    if row.state != VersionState.DRAFT:
        return
    # of what was made until then, what somebody holds is left to them: they wait for the version
    for transfer in session.exec(unended.with_for_update(skip_locked=True)).all():
        transfers.withdraw_all(session, transfer.id, _STUCK)
        transfer.state, transfer.ended_at, transfer.reason = TransferState.CANCELLED, now, _STUCK
    row.state, row.reason, row.unneeded, row.look_at = VersionState.WITHDRAWN, _STUCK, True, now
    _let_go(session, version)


def _let_go(session: Session, version: str) -> None:
    """Have all that sites were to bring of a version deleted there, shard by shard, as copies are.

    What was not cut yet is one shard more.  Where nothing came there is nothing to delete.
    """
    claimed = select(Transfer.target_id).where(
        Transfer.version_id == version,
        Transfer.kind == TransferKind.INGEST,
        Transfer.fence > 0,
        col(Transfer.target_id).in_(select(Site.id).where(col(Site.retired) == false())),
    )
    sites = sorted(session.exec(claimed.distinct()).all())
    uncut = session.exec(
        select(Artifact).where(
            Artifact.version_id == version,
            col(Artifact.shard_id).is_(None),
            Artifact.state != ArtifactState.EXCLUDED,
        )
    ).all()
    if sites and uncut:
        _cut(session, version, sorted(uncut, key=lambda one: one.path))
    shards = select(Shard.id).where(Shard.version_id == version).order_by(col(Shard.id))
    for shard in session.exec(shards.with_for_update()).all():
        for site in sites:
            replicas.expect(session, shard, site, _STUCK)
    session.flush()
    locking.dirty_shards(session, select(Version.id).where(Version.id == version))


def _cut(session: Session, version: str, files: Sequence[Artifact]) -> None:
    """Make one shard of files; it has no torrent, and is never copied."""
    sizes = [one.size or 0 for one in files]
    shard = Shard(
        version_id=version,
        position=drafting.next_position(session, version),
        size=sum(sizes),
        files=len(files),
        piece_length=piece_length(sum(sizes)),
    )
    session.add(shard)
    session.flush()
    offsets = accumulate(sizes, initial=0)
    named = zip((one.id for one in files), offsets, strict=False)
    drafting.put_in_shard(session, shard.id, named)


def published(session: Session, version: Version, now: datetime) -> None:
    """Let go of the copies of older editions once a newer one is published; the next may come."""
    if not version.edition or version.sequence is None:
        return
    session.exec(update(Press).values(look_at=now))
    older = (
        Version.dataset_id == version.dataset_id,
        _EDITION,
        col(Version.sequence) <= version.sequence - KEPT,
        col(Version.unneeded) == false(),
    )
    ids = session.exec(select(Version.id).where(*older)).all()
    if ids:
        session.exec(update(Version).where(col(Version.id).in_(ids)).values(unneeded=True))
        locking.dirty_shards(session, select(Version.id).where(col(Version.id).in_(ids)))
