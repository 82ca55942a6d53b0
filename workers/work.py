"""What a piece of work came to, before it is told to the centre.

The engine returns ``Work``; whoever claimed the attempt turns it into an Outcome and uploads the
blobs.  Nothing here decides or does anything.
"""

import hashlib
from dataclasses import dataclass, field

from fleet.messages import BlobRef, Item, ItemResult, SourceReport
from workers.digests import Found


@dataclass(frozen=True)
class Work:
    """The results of one order.

    Attributes:
        items: one result for each item, in the order's order.
        sources: how each host behaved.
        bytes_fetched: body bytes received over the network, repeated ones included.
        pieces: the shard's v1 piece hashes end to end (20 bytes each); None when they were not
            ordered, or when an item is missing.
        blobs: bulky bytes by their sha256, as the items' ``BlobRef`` names them.
        reason: why ``pieces`` could not be made of items that are all well.
    """

    items: tuple[ItemResult, ...] = ()
    sources: tuple[SourceReport, ...] = ()
    bytes_fetched: int = 0
    pieces: bytes | None = None
    blobs: dict[str, bytes] = field(default_factory=dict)
    reason: str = ""

    @property
    def pieces_ref(self) -> BlobRef | None:
        """The name that the shard's pieces travel under."""
        return None if self.pieces is None else blob_ref(self.pieces)

    @property
    def all_blobs(self) -> dict[str, bytes]:
        """Every blob to upload: the items' and the shard's."""
        ref = self.pieces_ref
        if ref is None or self.pieces is None:
            return self.blobs
        return {**self.blobs, ref.sha256: self.pieces}


def blob_ref(blob: bytes) -> BlobRef:
    """Name ``blob`` by its digest."""
    return BlobRef(sha256=hashlib.sha256(blob).hexdigest(), size=len(blob))


def well(
    item: Item, found: Found, blobs: dict[str, bytes], source: str | None = None
) -> ItemResult:
    """Report an item that is in its place and right; its bulky digests go into ``blobs``."""

    def beside(blob: bytes | None) -> BlobRef | None:
        if blob is None:
            return None
        ref = blob_ref(blob)
        blobs[ref.sha256] = blob
        return ref

    return ItemResult(
        artifact=item.artifact,
        ok=True,
        size=found.size,
        sha256=found.sha256,
        md5=found.md5,
        bep52_root=found.bep52_root,
        piece_length=found.piece_length,
        pieces=beside(found.pieces),
        layer=beside(found.bep52_layer or None),
        part_length=found.part_length,
        parts=beside(found.parts),
        source=source,
    )
