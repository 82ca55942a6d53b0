"""The hash tree of BEP 52: SHA-256 over leaves of 16 KiB, pair by pair up to one root.  Pure.

A level counts from the leaves, which are level 0; a node of it covers ``2**level`` leaves.
"""

import hashlib
from typing import Final

from fleet.torrent.pieces import piece_count

LEAF: Final = 16 * 1024
NODE: Final = 32
"""Bytes of a hash in the tree."""


def has_layer(length: int | None) -> bool:
    """Whether BEP 52 knows pieces of ``length`` bytes: a power of two, of a leaf or more."""
    return length is not None and length >= LEAF and not length & (length - 1)


def level_of(length: int) -> int:
    """Say at which level a node covers a piece of ``length`` bytes."""
    return (length // LEAF).bit_length() - 1


def leaves(block: memoryview) -> list[bytes]:
    """Hash each leaf of a block that begins with one; the last may be short."""
    sha256 = hashlib.sha256
    return [sha256(block[at : at + LEAF]).digest() for at in range(0, len(block), LEAF)]


def subtrees(first: int, nodes: list[bytes], most: int) -> list[tuple[int, bytes]]:
    """Join a run of leaves to the largest subtrees that are whole in it.

    Args:
        first: where the run begins in its file, in leaves.
        nodes: the leaves' hashes.
        most: the highest level to join to.

    Returns:
        The level and the root of each subtree, in the order of the file.
    """
    head: list[tuple[int, bytes]] = []
    tail: list[tuple[int, bytes]] = []
    for level in range(most):
        if first & 1 and nodes:
            head.append((level, nodes[0]))
            nodes, first = nodes[1:], first + 1
        if len(nodes) & 1:
            tail.append((level, nodes[-1]))
            nodes = nodes[:-1]
        nodes, first = parents(nodes), first >> 1
    return [*head, *((most, node) for node in nodes), *reversed(tail)]


def parents(nodes: list[bytes]) -> list[bytes]:
    """Hash an even number of nodes pair by pair."""
    joined, sha256 = b"".join(nodes), hashlib.sha256
    return [sha256(joined[at : at + 2 * NODE]).digest() for at in range(0, len(joined), 2 * NODE)]


def parent(left: bytes, right: bytes) -> bytes:
    """Hash two nodes to the one above."""
    return hashlib.sha256(left + right).digest()


def root_of(layer: bytes, length: int) -> bytes:
    """Grow the root of a tree from the layer of its pieces; what is beyond the file is zeros.

    Args:
        layer: the joined hashes of the pieces, one at least.
        length: of a piece, in bytes.
    """
    padding = bytes(NODE)
    for _ in range(level_of(length)):
        padding = parent(padding, padding)
    while len(layer) > NODE:
        if len(layer) % (2 * NODE):
            layer += padding
        pairs = range(0, len(layer), 2 * NODE)
        layer = b"".join(hashlib.sha256(layer[at : at + 2 * NODE]).digest() for at in pairs)
        padding = parent(padding, padding)
    return layer


def layer_fault(layer: bytes, size: int, length: int, root: bytes) -> str:
    """Say what is wrong with the layer of a file's pieces; empty if it is sound.

    Args:
        layer: the joined hashes of the pieces.
        size: of the file, in bytes.
        length: of a piece, in bytes.
        root: of the file's tree.
    """
    if not has_layer(length):
        return f"BEP 52 has no pieces of {length} bytes"
    count = piece_count(size, length)
    if count < 2:
        return f"a file of {size} bytes is no longer than a piece and has none"
    if len(layer) != count * NODE:
        return f"it has {len(layer)} bytes where {count} pieces want {count * NODE}"
    if root_of(layer, length) != root:
        return f"it does not lead to the root {root.hex()[:16]}…"
    return ""
