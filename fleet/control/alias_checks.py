"""Whether a torrent that others made is of our bytes: every piece is held against them.

Rules this module keeps:

- Where its layout is the shard's own, the shard's piece hashes tell at once.  Else a site that
  holds the shard reads it once more: an ordinary verify that cuts its pieces as the torrent does.
- Of a hybrid the v2 root of every file is held against the bytes as well, so a site reads them.
- What nobody can read yet stays unchecked, and is looked at when the shard next arrives somewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control.errors import RefusedError
from fleet.messages import Outcome
from fleet.planning.states import AliasState, ReplicaState, TransferKind
from fleet.store import contents, holdings, locking, transfers, versioning
from fleet.store.tables import Blob, Replica, Shard, Site, TorrentAlias, Transfer, Version
from fleet.torrent.adoption import Move, OwnFile, own_files, wrong_piece
from fleet.torrent.hybrid import v2_roots, wrong_root
from fleet.torrent.parsed import ParsedTorrent, parse


@dataclass(frozen=True)
class Layout:
    """How an alias lays a shard's files out: the offset of each by its place, and the pieces."""

    offsets: Mapping[str, int]
    size: int
    piece_length: int
    hybrid: bool


def check(session: Session, row: TorrentAlias, now: datetime) -> None:
    """Judge an unchecked alias by its shard's pieces, or have a site read the bytes."""
    shard = session.get_one(Shard, row.shard_id)
    torrent = torrent_of(session, row)
    wrong = compare(session, shard, torrent, own_files(torrent), move_of(row))
    if wrong is not None:
        _conclude(session, row, wrong, "its pieces are the shard's own", now)
        return
    running = session.get(Transfer, row.transfer_id) if row.transfer_id else None
    if running is not None and running.state in transfers.UNENDED:
        return
    site = _reader(session, shard.id)
    if site is None:
        row.reason = "no site that could read them holds its bytes verified"
        return
    transfer = Transfer(
        kind=TransferKind.VERIFY,
        version_id=shard.version_id,
        shard_id=shard.id,
        target_id=site,
        executor_id=site,
        size=shard.size,
        reason=f"checks the torrent {row.infohash}, which others made of it",
        created_at=now,
    )
    session.add(transfer)
    row.transfer_id, row.reason = transfer.id, f"its pieces are to be read at {site}"


_UNCHECKED = select(TorrentAlias.infohash).where(
    TorrentAlias.shard_id == bindparam("shard"), TorrentAlias.state == AliasState.UNCHECKED
)
_CHECKED_BY = select(TorrentAlias).where(
    TorrentAlias.transfer_id == bindparam("transfer"), TorrentAlias.state == AliasState.UNCHECKED
)


def arrived(session: Session, shard: str, now: datetime) -> None:
    """Check the aliases of a shard that waited for somebody to hold it."""
    waiting = session.exec(_UNCHECKED, params={"shard": shard}).all()
    for infohash in waiting:
        row = locking.lock(session, TorrentAlias, infohash)
        if row.state == AliasState.UNCHECKED:
            check(session, row, now)


def layout_for(session: Session, transfer: str) -> Layout | None:
    """Return the layout that a verify is to cut pieces of; None if it checks no alias."""
    row = _checked_by(session, transfer)
    if row is None:
        return None
    torrent = torrent_of(session, row)
    files = own_files(torrent)
    return Layout(
        offsets={move_of(row).place(file.path): file.offset for file in files},
        size=torrent.size,
        piece_length=torrent.piece_length,
        hybrid=bool(v2_roots(torrent, files)),
    )


def judge(session: Session, transfer: str, outcome: Outcome, now: datetime) -> str:
    """Hold what a site read, every file of it well, against the alias that its verify checks.

    Returns:
        Why it could not be judged; empty if it was, or if the verify checks none.

    Raises:
        RefusedError: the blob with the pieces has not been sent yet.
    """
    row = _checked_by(session, transfer)
    if row is None:
        return ""
    if outcome.pieces is None:
        return outcome.reason or f"the outcome lacks the pieces of the torrent {row.infohash}"
    blob = session.get(Blob, outcome.pieces.sha256)
    if blob is None:
        raise RefusedError(f"send blob {outcome.pieces.sha256} before the outcome that names it")
    torrent = torrent_of(session, row)
    files = own_files(torrent)
    wrong = wrong_piece(torrent, files, blob.data)
    if roots := v2_roots(torrent, files):
        reported = _roots(session, row, outcome)
        ours = {path: reported.get(move_of(row).place(path), "") for path in roots}
        wrong = wrong or wrong_root(roots, ours)
    _conclude(session, row, wrong, f"every piece was read at {outcome.site}", now)
    return ""


def compare(
    session: Session,
    shard: Shard,
    torrent: ParsedTorrent,
    files: Sequence[OwnFile],
    move: Move,
) -> str | None:
    """Say what is wrong with a torrent's pieces by the shard's own; None where they cannot tell."""
    blob = session.get(Blob, shard.pieces)
    folder = versioning.folder(session.get_one(Version, shard.version_id))
    order = [f"{folder}/{path}" for path, _ in contents.files_of(session, shard.id)]
    alike = (torrent.piece_length, torrent.size) == (shard.piece_length, shard.size)
    if (
        blob is None
        or not alike
        or [move.place(file.path) for file in files] != order
        or v2_roots(torrent, files)
    ):
        return None
    return wrong_piece(torrent, files, blob.data)


def move_of(row: TorrentAlias) -> Move:
    """Return where an alias's files lie below a site's root."""
    return Move(row.theirs, row.ours)


def move_in(alias: TorrentAlias, shard: Shard) -> Move:
    """Say where an alias's files lie in a shard that has the torrent of the alias's own.

    Only a lone file has the same torrent in several versions: a bundle's names its version.
    """
    if shard.files == 1:
        return Move(alias.theirs, f"{shard.folder}/{shard.name}")
    return move_of(alias)


def torrent_of(session: Session, row: TorrentAlias) -> ParsedTorrent:
    """Return an alias's torrent, which was sound when it was taken up."""
    return parse(data_of(session, row))


def data_of(session: Session, row: TorrentAlias) -> bytes:
    """Return an alias's ``.torrent`` file as it came."""
    return session.get_one(Blob, row.torrent).data


def _conclude(session: Session, row: TorrentAlias, wrong: str, right: str, now: datetime) -> None:
    """Verify or refuse an alias, and have whoever holds its bytes seed it."""
    row.state = AliasState.REFUSED if wrong else AliasState.VERIFIED
    row.reason, row.checked_at = wrong or right, now
    for one in () if wrong else holdings.replicas(session, row.shard_id):
        if one.state == ReplicaState.AVAILABLE:
            transfers.nudge(session, one.site_id, now)


def _reader(session: Session, shard: str) -> str | None:
    """Choose a node that holds a shard verified, one that answers if any does."""
    return session.exec(
        select(Site.id)
        .join(Replica, col(Replica.site_id) == col(Site.id))
        .where(
            Replica.shard_id == shard,
            Replica.state == ReplicaState.AVAILABLE,
            Site.kind == "node",
            col(Site.retired).is_(False),
        )
        .order_by(col(Site.silent), col(Site.id))
    ).first()


def _checked_by(session: Session, transfer: str) -> TorrentAlias | None:
    return session.exec(_CHECKED_BY, params={"transfer": transfer}).first()


def _roots(session: Session, row: TorrentAlias, outcome: Outcome) -> dict[str, str]:
    """Map the places of a shard's files to the BEP 52 roots that a site reported."""
    shard = session.get_one(Shard, row.shard_id)
    folder = versioning.folder(session.get_one(Version, shard.version_id))
    paths = {one.id: one.path for one in contents.artifacts_of(session, shard.id)}
    return {
        f"{folder}/{paths[item.artifact]}": item.bep52_root or ""
        for item in outcome.items
        if item.artifact in paths
    }
