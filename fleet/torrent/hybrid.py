"""The v2 half of a hybrid torrent (BEP 52): what it says of the files that the v1 half has, too.

A peer that knows v2 believes only the v2 half, so it has to be right as well: of the same files,
with every piece layer there and grown to its file's root.
"""

from collections.abc import Mapping, Sequence

from fleet.torrent.adoption import OwnFile
from fleet.torrent.bencode import Bencoded, decode
from fleet.torrent.merkle import NODE, root_of
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import MAX_TORRENT, ParsedTorrent
from fleet.torrent.pieces import piece_count


def v2_roots(torrent: ParsedTorrent, files: Sequence[OwnFile]) -> dict[str, str]:
    """Read the BEP 52 roots of a hybrid's files that are not empty, in hex, by path.

    They are empty for a torrent that has no v2 half.

    Raises:
        MetainfoError: the two halves are not of the same files.
    """
    info = decode(torrent.info, max_bytes=MAX_TORRENT)
    tree = info.get(b"file tree") if isinstance(info, dict) else None
    if tree is None:
        return {}
    found: dict[str, tuple[int, str]] = {}
    _walk(tree, "" if torrent.single else f"{torrent.name}/", found)
    if {path: size for path, (size, _) in found.items()} != {
        file.path: file.size for file in files
    }:
        raise MetainfoError(f"the v1 and the v2 half of {torrent.name!r} are not of the same files")
    return {path: root for path, (size, root) in found.items() if size}


def wrong_root(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """Name the first file whose BEP 52 root is not that of the bytes; empty if all agree.

    Args:
        theirs: what ``v2_roots`` gave.
        ours: the roots of the bytes that are held, by the same paths.
    """
    for path, root in theirs.items():
        found = ours.get(path) or "none"
        if root != found:
            return f"the v2 root of {path!r} is {root[:16]}… where our bytes give {found[:16]}…"
    return ""


def check_layers(data: bytes, torrent: ParsedTorrent, files: Sequence[OwnFile]) -> None:
    """Check the v2 half of a torrent, if it has one.

    Args:
        data: the ``.torrent`` file; the layers are outside ``info``.
        torrent: what it holds.
        files: its own files.

    Raises:
        MetainfoError: the halves are not of the same files, or a piece layer is missing or wrong.
    """
    roots = v2_roots(torrent, files)
    outer = decode(data, max_bytes=MAX_TORRENT)
    found = outer.get(b"piece layers") if isinstance(outer, dict) else None
    layers = found if isinstance(found, dict) else {}
    for file in files if roots else ():
        if file.size <= torrent.piece_length:
            continue
        root = bytes.fromhex(roots[file.path])
        layer = layers.get(root)
        count = piece_count(file.size, torrent.piece_length)
        if not isinstance(layer, bytes) or len(layer) != count * NODE:
            raise MetainfoError(
                f"the piece layer of {file.path!r} is missing from this hybrid torrent, and "
                "clients that know v2 cannot do without; find the whole file"
            )
        if root_of(layer, torrent.piece_length) != root:
            raise MetainfoError(f"the piece layer of {file.path!r} does not lead to its v2 root")


def _walk(tree: Bencoded, above: str, found: dict[str, tuple[int, str]]) -> None:
    """Collect the sizes and roots of a ``file tree``."""
    for name, node in tree.items() if isinstance(tree, dict) else ():
        leaf = node.get(b"") if isinstance(node, dict) else None
        path = f"{above}{name.decode('utf-8', 'replace')}"
        if isinstance(leaf, dict):
            size, root = leaf.get(b"length"), leaf.get(b"pieces root", b"")
            if isinstance(size, int) and isinstance(root, bytes):
                found[path] = (size, root.hex())
        else:
            _walk(node, f"{path}/", found)
