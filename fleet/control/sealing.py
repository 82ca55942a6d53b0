"""Sealing a shard: fixing its v1 pieces, and with them its one canonical torrent."""

from sqlmodel import Session

from fleet.control.errors import RefusedError
from fleet.messages import BlobRef
from fleet.store import holdings
from fleet.store.tables import Artifact, Blob, Shard, Version
from fleet.torrent.metainfo import Metainfo
from fleet.torrent.shard import shard_metainfo


def seal(session: Session, shard: Shard, pieces: BlobRef | None) -> str:
    """Fix a shard's pieces; return the problem, empty when it is sealed.

    Raises:
        RefusedError: the blob has not been sent yet.
    """
    if pieces is None:
        return "the outcome has no piece hashes"
    if session.get(Blob, pieces.sha256) is None:
        raise RefusedError(f"send blob {pieces.sha256} before the outcome that names it")
    wanted = -(-shard.size // shard.piece_length) * 20
    if pieces.size != wanted:
        return f"piece hashes of {pieces.size} bytes came, {wanted} were expected"
    shard.pieces = pieces.sha256
    shard.infohash = metainfo(session, shard).infohash
    holdings.lock(session, Version, shard.version_id).dirty = True
    return ""


def metainfo(session: Session, shard: Shard, artifacts: list[Artifact] | None = None) -> Metainfo:
    """Return the torrent of a shard whose pieces are known."""
    version = session.get_one(Version, shard.version_id)
    blob = session.get_one(Blob, shard.pieces)
    files = [
        (artifact.path, artifact.size or 0)
        for artifact in artifacts or holdings.artifacts_of(session, shard.id)
    ]
    return shard_metainfo(version.dataset_id, version.label, files, shard.piece_length, blob.data)
