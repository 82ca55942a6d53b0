"""Torrents that others made of a shard's bytes: how they are taken up.

Rules this module keeps:

- A torrent is taken up only where its files are exactly one shard's; otherwise the refusal names a
  file that is not held.
- It is kept as it came, and is an alias once it was checked (``alias_checks``).
- A shard's own torrent is no alias.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from fleet.control.alias_checks import check, compare
from fleet.control.errors import RefusedError
from fleet.control.fits import Fit, fitting
from fleet.planning.states import AliasState
from fleet.store.database import Store
from fleet.store.tables import Blob, Shard, TorrentAlias, Version
from fleet.torrent.adoption import OwnFile, own_files
from fleet.torrent.hybrid import check_layers
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import ParsedTorrent, parse


@dataclass(frozen=True)
class Adopted:
    """What became of one torrent; ``state`` is an alias's, or ``canonical`` for a shard's own."""

    infohash: str
    name: str
    dataset: str
    version: str
    shard: str
    state: str
    reason: str


def adopt(store: Store, data: bytes, within: str = "") -> Adopted:
    """Take up a torrent as an alias of the shard whose files it holds; again, it changes nothing.

    One that was refused is judged anew.

    Args:
        store: the store.
        data: the ``.torrent`` file.
        within: the id of a version or a dataset to look in; empty: everywhere.  A lone file may
            have another name there.

    Raises:
        RefusedError: it is no sound torrent, no shard is of its files, or several could be.
        NotFoundError: ``within`` is neither a version nor a dataset.
    """
    try:
        torrent = parse(data)
        files = own_files(torrent)
        check_layers(data, torrent, files)
    except MetainfoError as error:
        raise RefusedError(str(error)) from error
    with store.write() as session:
        own = session.exec(
            select(Shard).where(Shard.infohash == torrent.infohash).order_by(col(Shard.id).desc())
        ).first()
        if own is not None:
            return _adopted(session, own, torrent, "canonical", "it is the shard's own torrent")
        row = session.get(TorrentAlias, torrent.infohash, with_for_update=True)
        now = store.now(session)
        if row is None or row.state == AliasState.REFUSED:
            fit = _choose(session, torrent, files, fitting(session, files, within))
            row = session.merge(
                TorrentAlias(
                    infohash=torrent.infohash,
                    shard_id=fit.shard.id,
                    torrent=_keep(session, data, now),
                    name=torrent.name,
                    size=torrent.size,
                    theirs=fit.move.theirs,
                    ours=fit.move.ours,
                    created_at=row.created_at if row else now,
                )
            )
            session.flush()
        if row.state == AliasState.UNCHECKED:
            check(session, row, now)
        shard = session.get_one(Shard, row.shard_id)
        return _adopted(session, shard, torrent, row.state, row.reason)


def aliases_of(session: Session, version: str) -> dict[str, list[TorrentAlias]]:
    """Map the shards of a version, by id, to their aliases in the order they were taken up."""
    rows = session.exec(
        select(TorrentAlias)
        .join(Shard, col(Shard.id) == col(TorrentAlias.shard_id))
        .where(Shard.version_id == version)
        .order_by(col(TorrentAlias.created_at), col(TorrentAlias.infohash))
    ).all()
    found: dict[str, list[TorrentAlias]] = {}
    for row in rows:
        found.setdefault(row.shard_id, []).append(row)
    return found


def _choose(
    session: Session, torrent: ParsedTorrent, files: Sequence[OwnFile], fits: Sequence[Fit]
) -> Fit:
    """Choose among the shards that a torrent's files fit: one whose pieces agree, if any do."""
    judged = [(fit, compare(session, fit.shard, torrent, files, fit.move)) for fit in fits]
    agreeing = [fit for fit, wrong in judged if wrong == ""]
    untold = [fit for fit, wrong in judged if wrong is None]
    if not agreeing and len(untold) > 1:
        labels = ", ".join(_label(session, fit.shard) for fit in untold)
        raise RefusedError(
            f"{torrent.name!r} has the names and sizes of several shards ({labels}): say which "
            "version it is of"
        )
    return (agreeing or untold or fits)[0]


def _keep(session: Session, data: bytes, now: datetime) -> str:
    """Keep a blob in this unit of work; return its digest."""
    name = hashlib.sha256(data).hexdigest()
    if session.get(Blob, name) is None:
        session.add(Blob(sha256=name, data=data, created_at=now))
    return name


def _adopted(
    session: Session, shard: Shard, torrent: ParsedTorrent, state: str, reason: str
) -> Adopted:
    version = session.get_one(Version, shard.version_id)
    return Adopted(
        infohash=torrent.infohash,
        name=torrent.name,
        dataset=version.dataset_id,
        version=version.label,
        shard=shard.id,
        state=state,
        reason=reason,
    )


def _label(session: Session, shard: Shard) -> str:
    version = session.get_one(Version, shard.version_id)
    return f"{version.dataset_id} {version.label}, version {version.id}"
