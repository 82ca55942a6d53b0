"""The canonical torrent (BEP 3): what is hashed, and what may change around it.

Rules this module keeps:

- A canonical infohash follows from the name, the files' paths and sizes, the piece length and
  the pieces alone.  There is nothing else in ``info``: no md5sum, source, private flag or
  attributes.
- Web seeds, trackers and comments are outside ``info`` and may change at any time.
- Content is laid end to end without padding, in the order given, which never changes.
- A torrent holds only names that every client keeps as they are (see ``paths``).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote

from fleet.torrent.bencode import Bencoded, encode
from fleet.torrent.paths import clash, name_fault, path_fault
from fleet.torrent.pieces import DIGEST_BYTES, piece_count

MIN_PIECE: Final = 16 * 1024
MAX_PIECE: Final = 128 * 1024 * 1024
MAX_SIZE: Final = 1 << 50
CREATED_BY: Final = b"Data Fleet"

Files = tuple[tuple[str, int], ...]


class MetainfoError(ValueError):
    """No client, or not every client, would accept such a torrent; the message says why."""


@dataclass(frozen=True, slots=True)
class Metainfo:
    """What a canonical v1 torrent is made of.

    Attributes:
        name: the file's name, or the folder's that holds the files.
        files: path below the folder, and size in bytes, in the order they are laid out.  A lone
            file has no folder: its path is ``name``, and the torrent has no ``files`` key.
        piece_length: in bytes; a power of two.
        pieces: the 20-byte SHA-1 of each piece, joined.

    Raises:
        MetainfoError: the parts do not fit together, or not every client would accept them.
    """

    name: str
    files: Files
    piece_length: int
    pieces: bytes

    def __post_init__(self) -> None:
        check_names(self.name, [path for path, _ in self.files])
        check_pieces(self.name, self.files, self.piece_length, self.pieces)
        if self.single and self.files[0][0] != self.name:
            raise MetainfoError(
                f"a torrent of the lone file {self.files[0][0]!r} carries that file's name, "
                f"not {self.name!r}"
            )

    @property
    def single(self) -> bool:
        """Whether it is a lone file, without a folder around it."""
        return len(self.files) == 1

    @property
    def size(self) -> int:
        """The content's size in bytes."""
        return sum(size for _, size in self.files)

    @property
    def fields(self) -> dict[bytes, Bencoded]:
        """The ``info`` dictionary."""
        info: dict[bytes, Bencoded] = {
            b"name": self.name.encode(),
            b"piece length": self.piece_length,
            b"pieces": self.pieces,
        }
        if self.single:
            info[b"length"] = self.size
        else:
            info[b"files"] = [
                {b"length": size, b"path": [part.encode() for part in path.split("/")]}
                for path, size in self.files
            ]
        return info

    @property
    def info(self) -> bytes:
        """The ``info`` dictionary, bencoded."""
        return encode(self.fields)

    @property
    def infohash(self) -> str:
        """The v1 infohash, in lowercase hex."""
        return sha1(self.info)


def torrent_bytes(
    meta: Metainfo,
    *,
    web_seeds: Sequence[str] = (),
    trackers: Sequence[str] = (),
    comment: str = "",
) -> bytes:
    """Write the ``.torrent`` file; it holds no date, so the same input gives the same bytes.

    Each tracker is a tier of its own (BEP 12); web seeds are a list (BEP 19).
    """
    outer: dict[bytes, Bencoded] = {b"created by": CREATED_BY, b"info": meta.fields}
    if trackers:
        outer[b"announce"] = trackers[0].encode()
    if len(trackers) > 1:
        outer[b"announce-list"] = [[tracker.encode()] for tracker in trackers]
    if web_seeds:
        outer[b"url-list"] = [seed.encode() for seed in web_seeds]
    if comment:
        outer[b"comment"] = comment.encode()
    return encode(outer)


class Linked(Protocol):
    """What a magnet link tells of a torrent, whoever made it."""

    @property
    def name(self) -> str:
        """The file's name, or the folder's."""

    @property
    def size(self) -> int:
        """The content's size in bytes."""

    @property
    def infohash(self) -> str:
        """The v1 infohash, in lowercase hex."""


def magnet(
    meta: Linked,
    *,
    web_seeds: Sequence[str] = (),
    trackers: Sequence[str] = (),
    peers: Sequence[tuple[str, int]] = (),
) -> str:
    """Write the magnet link (BEP 9); without a peer or a tracker it resolves for nobody.

    Args:
        meta: what it links to.
        web_seeds: a client may use them once a peer has given it the ``info``.
        trackers: announce URLs.
        peers: address and port of peers that have the ``info``.
    """
    fields = [("dn", meta.name), ("xl", str(meta.size))]
    fields += [("tr", tracker) for tracker in trackers]
    fields += [("ws", seed) for seed in web_seeds]
    tail = "".join(f"&{key}={quote(value, safe='')}" for key, value in fields)
    # libtorrent does not unquote peers
    for host, port in peers:
        tail += f"&x.pe=[{host}]:{port}" if ":" in host else f"&x.pe={host}:{port}"
    return f"magnet:?xt=urn:btih:{meta.infohash}{tail}"


def sha1(info: bytes) -> str:
    """Hash an ``info`` dictionary: its infohash, in lowercase hex."""
    # SHA-1 is what the v1 format prescribes; trust rests on the artifacts' SHA-256
    return hashlib.sha1(info, usedforsecurity=False).hexdigest()


def check_names(name: str, paths: Sequence[str]) -> None:
    """Raise a ``MetainfoError`` unless every client keeps all these names as they are."""
    if fault := name_fault(name):
        raise MetainfoError(f"the torrent's name: {fault}")
    for path in paths:
        if fault := path_fault(path):
            raise MetainfoError(f"a file of {name!r}: {fault}")
    if fault := clash(paths):
        raise MetainfoError(f"the files of {name!r}: {fault}")


def check_pieces(name: str, files: Files, piece_length: int, pieces: bytes) -> None:
    """Raise a ``MetainfoError`` unless the sizes and the pieces are sound and fit together."""
    if not MIN_PIECE <= piece_length <= MAX_PIECE or piece_length & (piece_length - 1):
        raise MetainfoError(
            f"{name!r} has pieces of {piece_length} bytes; a piece is a power of two from "
            f"{MIN_PIECE} to {MAX_PIECE}"
        )
    for path, size in files:
        if not 0 <= size <= MAX_SIZE:
            raise MetainfoError(f"{path!r} of {name!r} cannot have {size} bytes")
    total = sum(size for _, size in files)
    if not 0 < total <= MAX_SIZE:
        raise MetainfoError(f"{name!r} has {total} bytes, which no client takes as a torrent")
    expected = piece_count(total, piece_length) * DIGEST_BYTES
    if len(pieces) != expected:
        raise MetainfoError(
            f"{name!r} wants {expected} bytes of piece hashes for its {total} bytes, "
            f"not {len(pieces)}"
        )
