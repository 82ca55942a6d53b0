"""BEP 52 layers: the hashes that prove each piece of a large artifact, up to its root.

Rules this module keeps:

- A layer is kept only if it has a hash for every piece and grows to the root that came with it.
- One that is refused costs the artifact nothing else.
"""

from sqlmodel import Session

from fleet.messages import ItemResult
from fleet.store.tables import Artifact, Blob
from fleet.torrent.merkle import NODE, layer_fault
from fleet.torrent.pieces import piece_length


def fault(session: Session, item: ItemResult) -> str:
    """Say why the layer that came with an artifact is refused; empty if it is sound, or if none."""
    if item.layer is None:
        return ""
    blob = session.get(Blob, item.layer.sha256)
    if blob is None:
        return "its blob was not sent before the outcome that names it"
    if item.size is None or item.pieces is None or item.bep52_root is None:
        return "it came without the size, the pieces and the root that it goes with"
    length = piece_length(item.size)
    if item.piece_length != length:
        return f"its pieces have {item.piece_length} bytes where {length} were asked for"
    return layer_fault(blob.data, item.size, length, bytes.fromhex(item.bep52_root))


def piece(session: Session, artifact: Artifact, number: int) -> str:
    """Return the hash of a whole piece of an artifact that has a layer, in hex."""
    layer = session.get_one(Blob, artifact.layer).data
    return layer[number * NODE : (number + 1) * NODE].hex()
