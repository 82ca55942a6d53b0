"""Sealing a shard: fixing its v1 pieces, and with them its one canonical torrent."""

from sqlmodel import Session

from fleet.control.errors import RefusedError
from fleet.messages import BlobRef
from fleet.store import contents, locking
from fleet.store.tables import Blob, Shard, Version
from fleet.torrent.metainfo import Metainfo, MetainfoError
from fleet.torrent.shard import save_folder, shard_metainfo


def seal(session: Session, shard: Shard, pieces: BlobRef | None) -> str:
    """Fix a shard's pieces; return the problem, empty when it is sealed.

    Raises:
        RefusedError: the blob has not been sent yet.
    """
    if pieces is None:
        return "the outcome has no piece hashes"
    blob = session.get(Blob, pieces.sha256)
    if blob is None:
        raise RefusedError(f"send blob {pieces.sha256} before the outcome that names it")
    version = locking.lock(session, Version, shard.version_id)
    files = contents.files_of(session, shard.id)
    try:
        meta = _metainfo(version, shard, files, blob)
    except MetainfoError as error:
        return f"no torrent can be made of it: {error}"
    shard.pieces, shard.infohash, shard.name = pieces.sha256, meta.infohash, meta.name
    shard.folder = save_folder(version.dataset_id, version.label, meta, files[0][0])
    version.dirty = True
    return ""


def metainfo(session: Session, shard: Shard) -> Metainfo:
    """Return the torrent of a shard that is sealed."""
    version = session.get_one(Version, shard.version_id)
    blob = session.get_one(Blob, shard.pieces)
    return _metainfo(version, shard, contents.files_of(session, shard.id), blob)


def _metainfo(version: Version, shard: Shard, files: list[tuple[str, int]], blob: Blob) -> Metainfo:
    return shard_metainfo(version.dataset_id, version.label, files, shard.piece_length, blob.data)
