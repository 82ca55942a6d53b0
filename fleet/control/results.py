"""What a worker says of one file, held against what is known of it."""

from fleet.messages import ItemResult
from fleet.planning.states import ArtifactState
from fleet.store.tables import Artifact
from fleet.torrent.pieces import piece_length


def checked(item: ItemResult, known: Artifact | None) -> ItemResult:
    """Hold a result against what is known; one that contradicts it, or lacks proof, failed."""
    if not item.ok:
        return item
    problem = ""
    if item.sha256 is None or item.size is None:
        problem = "it was reported well without its sha256 and size"
    elif known is not None and known.sha256 not in (None, item.sha256):
        problem = f"sha256 {item.sha256[:16]}… came where {(known.sha256 or '')[:16]}… was known"
    elif known is not None and known.size not in (None, item.size) and known.sha256 is not None:
        problem = f"{item.size:,} bytes came where {known.size:,} were known"
    if not problem:
        return item
    return item.model_copy(update={"ok": False, "reason": problem, "fault": "local"})


def proved(item: ItemResult, known: Artifact | None) -> ItemResult:
    """Hold a file that was sent to a repository against its md5, by which that checks it."""
    if not item.ok or known is None:
        return item
    if item.md5 is None and known.md5 is None:
        problem = "it was sent to a repository and reported without its md5"
    elif item.md5 is not None and known.md5 not in (None, item.md5):
        problem = f"md5 {item.md5} came where {known.md5} was known"
    else:
        return item
    return item.model_copy(update={"ok": False, "reason": problem, "fault": "local"})


def learn(artifact: Artifact, item: ItemResult) -> None:
    """Fix what is known of an artifact, once."""
    artifact.state, artifact.reason = ArtifactState.KNOWN, ""
    artifact.size, artifact.sha256 = item.size, item.sha256
    artifact.md5 = item.md5 or artifact.md5
    artifact.bep52_root = item.bep52_root
    if item.pieces and item.piece_length == piece_length(item.size or 0):
        artifact.piece_length, artifact.pieces = item.piece_length, item.pieces.sha256
