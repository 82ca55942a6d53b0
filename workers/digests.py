"""Every hash of a file, in one pass over its bytes.

sha256 is always computed: it is the identity.  md5 (the slowest) only where the order wants it or
where it is all there is to check against.  The BEP 52 root is a Merkle tree over 16 KiB leaves,
padded with zero hashes to a power of two; it is kept as a stack of the finished subtrees, so that
memory grows with the logarithm of the size.
"""

import hashlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

from fleet.messages import Digest, Item, Order
from fleet.torrent.pieces import PieceHasher, piece_length

Block = bytes | bytearray
BLOCK = 1024 * 1024
LEAF = 16 * 1024


@dataclass(frozen=True)
class Found:
    """The digests of ``size`` bytes; None for those nobody asked for."""

    size: int
    sha256: str
    md5: str | None = None
    bep52_root: str | None = None
    piece_length: int | None = None
    pieces: bytes | None = None


class Digests:
    """The running hashes of one file; ``pieces`` is the v1 piece length, None for no pieces."""

    def __init__(self, kinds: Collection[Digest], pieces: int | None = None) -> None:
        self.size = 0
        self.pieces = pieces
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if "md5" in kinds else None
        self._root = Bep52() if "bep52" in kinds else None
        self._pieces = None if pieces is None else PieceHasher(pieces)

    def update(self, block: Block) -> None:
        """Take the next bytes of the file."""
        self.size += len(block)
        self._sha256.update(block)
        for hasher in (self._md5, self._root, self._pieces):
            if hasher is not None:
                hasher.update(block)

    def finish(self) -> Found:
        """Give the digests of all bytes taken; call it once, at the end."""
        return Found(
            size=self.size,
            sha256=self._sha256.hexdigest(),
            md5=self._md5.hexdigest() if self._md5 else None,
            bep52_root=self._root.finish() if self._root else None,
            piece_length=self.pieces,
            pieces=self._pieces.finish() if self._pieces else None,
        )


class Bep52:
    """The running ``pieces root`` of one file (BEP 52)."""

    def __init__(self) -> None:
        self._leaf = hashlib.sha256()
        self._room = LEAF
        self._stack: list[tuple[int, bytes]] = []

    def update(self, block: Block) -> None:
        """Take the next bytes of the file."""
        view = memoryview(block)
        while view:
            taken = view[: self._room]
            self._leaf.update(taken)
            self._room -= len(taken)
            view = view[len(taken) :]
            if not self._room:
                self._close_leaf()

    def finish(self) -> str | None:
        """Give the root as hex; an empty file has none."""
        if self._room < LEAF:
            self._close_leaf()
        if not self._stack:
            return None
        level, node = self._stack.pop()
        padding = bytes(32)
        for _ in range(level):
            padding = _parent(padding, padding)
        while self._stack:
            above, left = self._stack.pop()
            while level < above:
                node, padding, level = _parent(node, padding), _parent(padding, padding), level + 1
            node, padding, level = _parent(left, node), _parent(padding, padding), level + 1
        return node.hex()

    def _close_leaf(self) -> None:
        """Put the full leaf on the stack and join subtrees of equal height."""
        level, node = 0, self._leaf.digest()
        while self._stack and self._stack[-1][0] == level:
            node, level = _parent(self._stack.pop()[1], node), level + 1
        self._stack.append((level, node))
        self._leaf, self._room = hashlib.sha256(), LEAF


def _parent(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(left + right).digest()


def kinds(order: Order, item: Item) -> frozenset[Digest]:
    """Choose the digests of ``item``: the ordered ones, and md5 where only that can prove it."""
    wanted: set[Digest] = {"sha256", *order.digests}
    if item.md5 and not item.sha256:
        wanted.add("md5")
    return frozenset(wanted)


def pieces_of(order: Order, size: int) -> int | None:
    """Choose the piece length of an item of ``size`` bytes; None if it is not cut by itself.

    Cut by themselves are the one item of a shard and, in an ingest, each item of ``alone_from``
    bytes or more.
    """
    if "pieces" not in order.digests:
        return None
    if order.shard is not None:
        return order.piece_length if len(order.items) == 1 else None
    return piece_length(size) if size >= max(order.alone_from, 1) else None


def mismatch(item: Item, found: Found) -> str:
    """How ``found`` contradicts what is known of ``item``; empty when it does not."""
    if item.size is not None and found.size != item.size:
        return f"{found.size} bytes where {item.size} were expected"
    if item.sha256 is not None and found.sha256 != item.sha256:
        return f"sha256 {found.sha256[:16]}… where {item.sha256[:16]}… was expected"
    if item.md5 is not None and found.md5 is not None and found.md5 != item.md5:
        return f"md5 {found.md5} where {item.md5} was expected"
    return ""


def read(
    descriptor: int, take: Callable[[Block], None], *, end: int | None = None, start: int = 0
) -> int:
    """Give an open file's bytes from ``start`` to ``end`` (None: its end) to ``take``, in blocks.

    Returns:
        Where the reading ended: before ``end`` if the file is shorter.
    """
    at = start
    while end is None or at < end:
        block = os.pread(descriptor, BLOCK if end is None else min(BLOCK, end - at), at)
        if not block:
            break
        take(block)
        at += len(block)
    return at
