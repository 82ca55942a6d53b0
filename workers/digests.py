"""Every hash of a file, in one pass over its bytes.

sha256 is always computed: it is the identity.  md5 (the slowest) only where the order wants it or
where it is all there is to check against.  The BEP 52 root is a Merkle tree over 16 KiB leaves,
padded with zero hashes to a power of two; it is kept as a stack of the finished subtrees, so that
memory grows with the logarithm of the size, and by 32 bytes a piece where the layer is wanted
whose hashes prove a piece each.  The hashers of one file know nothing of each other, so that each
can run in a thread of its own (``workers.pull.lanes``).
"""

import hashlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from fleet.messages import Digest, Item, Order
from fleet.torrent.merkle import LEAF, NODE, has_layer, leaves, level_of, parent, parents
from fleet.torrent.pieces import PieceHasher, md5, piece_length

Block = bytes | bytearray | memoryview
BLOCK = 2 * 1024 * 1024
_BLOCK_LEVEL = (BLOCK // LEAF).bit_length() - 1  # of the subtree over a block's leaves


class Hasher(Protocol):
    """Takes a file's bytes in order."""

    def update(self, data: Block, /) -> None:
        """Take the next bytes; the buffer may be reused after the call."""


@dataclass(frozen=True)
class Found:
    """The digests of ``size`` bytes; None for those nobody asked for.

    ``bep52_layer`` goes with both ``bep52_root`` and ``pieces``: see ``Bep52.layer``.
    """

    size: int
    sha256: str
    md5: str | None = None
    bep52_root: str | None = None
    bep52_layer: bytes | None = None
    piece_length: int | None = None
    pieces: bytes | None = None
    part_length: int | None = None
    parts: bytes | None = None


class Digests:
    """The running hashes of one file.

    Attributes:
        size: how many bytes were taken.
        hashers: the running hashes apart.  Whoever gives the bytes to each of them, instead of to
            ``update``, sets ``size``.
    """

    def __init__(
        self, kinds: Collection[Digest], pieces: int | None = None, parts: int | None = None
    ) -> None:
        """Start; ``pieces`` and ``parts`` are their lengths in bytes, None for none of them."""
        self.size = 0
        self.pieces, self.parts = pieces, parts
        self._sha256 = hashlib.sha256()
        self._md5 = md5() if "md5" in kinds else None
        self._tree = Bep52(pieces if has_layer(pieces) else None) if "bep52" in kinds else None
        self._pieces = None if pieces is None else PieceHasher(pieces)
        self._parts = None if parts is None else PieceHasher(parts, md5)
        chosen = (self._sha256, self._md5, self._tree, self._pieces, self._parts)
        self.hashers: tuple[Hasher, ...] = tuple(one for one in chosen if one is not None)

    def update(self, block: Block) -> None:
        """Take the next bytes of the file."""
        self.size += len(block)
        for hasher in self.hashers:
            hasher.update(block)

    def finish(self) -> Found:
        """Give the digests of all bytes taken; call it once, at the end."""
        return Found(
            size=self.size,
            sha256=self._sha256.hexdigest(),
            md5=self._md5.hexdigest() if self._md5 else None,
            bep52_root=self._tree.finish() if self._tree else None,
            bep52_layer=self._tree.layer if self._tree else None,
            piece_length=self.pieces,
            pieces=self._pieces.finish() if self._pieces else None,
            part_length=self.parts,
            parts=self._parts.finish() if self._parts else None,
        )


def digest(
    block: Block, kinds: Collection[Digest], pieces: int | None = None, parts: int | None = None
) -> Found:
    """Give the digests of a file that is in memory."""
    if pieces is None and parts is None and {"md5", "bep52"}.isdisjoint(kinds):
        return Found(len(block), hashlib.sha256(block).hexdigest())
    digests = Digests(kinds, pieces, parts)
    digests.update(block)
    return digests.finish()


class Bep52:
    """The running ``pieces root`` of one file, and its ``piece layers`` entry (BEP 52)."""

    def __init__(self, length: int | None = None) -> None:
        """Start; ``length`` is the piece length in bytes, None where no layer is wanted.

        Raises:
            ValueError: no layer of the tree has hashes of so many bytes.
        """
        if length is not None and not has_layer(length):
            raise ValueError(f"BEP 52 has no pieces of {length} bytes")
        self._height = None if length is None else level_of(length)
        self._unit = _BLOCK_LEVEL if self._height is None else min(self._height, _BLOCK_LEVEL)
        self._layer = bytearray()
        self._leaf = hashlib.sha256()
        self._room = LEAF
        self._stack: list[tuple[int, bytes]] = []
        self._shares: tuple[_Share, ...] = ()

    @property
    def layer(self) -> bytes | None:
        """The joined 32-byte hashes of the pieces, after ``finish``; None if none were wanted.

        Empty for a file no longer than a piece: its root says it all.
        """
        if self._height is None:
            return None
        return bytes(self._layer) if len(self._layer) > NODE else b""

    def update(self, block: Block) -> None:
        """Take the next bytes of the file."""
        view = memoryview(block)
        if len(view) == BLOCK and self._between_blocks():
            self._join_all(_roots(view, self._unit))
            return
        while view:
            taken = view[: self._room]
            self._leaf.update(taken)
            self._room -= len(taken)
            view = view[len(taken) :]
            if not self._room:
                self._close_leaf()

    def join(self, level: int, node: bytes) -> None:
        """Take the root over the next ``2**level`` leaves, in place of their bytes.

        These begin at a multiple of as many leaves, and are no more than a piece of the layer.
        """
        self._note(level, node)
        while self._stack and self._stack[-1][0] == level:
            node, level = parent(self._stack.pop()[1], node), level + 1
            self._note(level, node)
        self._stack.append((level, node))

    def shares(self, count: int) -> tuple[Hasher, ...]:
        """Give ``count`` hashers that take the file's blocks in turns, in place of ``update``."""
        self._shares = tuple(_Share(self._unit) for _ in range(count))
        return self._shares

    def finish(self) -> str | None:
        """Give the root as hex; an empty file has none."""
        self._gather()
        if self._room < LEAF:
            self._close_leaf()
        if not self._stack:
            return None
        level, node = self._stack.pop()
        padding = bytes(NODE)
        for _ in range(level):
            padding = parent(padding, padding)
        while self._stack:
            right = padding
            if self._stack[-1][0] == level:
                node, right = self._stack.pop()[1], node
            node, padding, level = parent(node, right), parent(padding, padding), level + 1
            self._note(level, node)
        return node.hex()

    def _note(self, level: int, node: bytes) -> None:
        if level == self._height:
            self._layer += node

    def _gather(self) -> None:
        """Join what the shares took, block after block."""
        step = NODE << (_BLOCK_LEVEL - self._unit)
        taken = max((len(share.nodes) for share in self._shares), default=0)
        for at in range(0, taken, step):
            for share in self._shares:
                self._join_all(share.nodes[at : at + step])
        for share in self._shares:
            self.update(share.rest)

    def _join_all(self, nodes: Block) -> None:
        for at in range(0, len(nodes), NODE):
            self.join(self._unit, bytes(nodes[at : at + NODE]))

    def _between_blocks(self) -> bool:
        low = self._stack and self._stack[-1][0] < _BLOCK_LEVEL
        return self._room == LEAF and not low

    def _close_leaf(self) -> None:
        self.join(0, self._leaf.digest())
        self._leaf, self._room = hashlib.sha256(), LEAF


class _Share:
    """Every n-th block of a file, as the roots of the subtrees of ``unit`` levels in it."""

    def __init__(self, unit: int) -> None:
        self.nodes = bytearray()
        self.rest = b""
        self._unit = unit

    def update(self, data: Block, /) -> None:
        """Take a block; only the file's last may be less than whole."""
        if len(data) == BLOCK:
            self.nodes += _roots(data, self._unit)
        else:
            self.rest = bytes(data)


def _roots(block: Block, unit: int) -> bytes:
    """Compute the roots of the subtrees of ``unit`` levels in a whole block, joined."""
    nodes = leaves(memoryview(block))
    for _ in range(unit):
        nodes = parents(nodes)
    return b"".join(nodes)


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


def parts_of(order: Order) -> int | None:
    """Choose the length of the parts whose md5 ``order`` wants; None if it wants none."""
    return (order.part_length or None) if "parts" in order.digests else None


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
