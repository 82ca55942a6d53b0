"""What clients ask of a web seed (BEP 19): which URL for which file, and how one is put to proof.

The rules that libtorrent, aria2, Transmission and WebTorrent have in common:

- A torrent of a lone file: the web seed is that file's URL, asked for as it is written.  To one
  that ends in ``/`` most clients append the torrent's name (WebTorrent does not).
- A torrent of a folder: the web seed is a base.  A ``/`` is added if it has none, then the
  torrent's name and the file's path, percent-encoded.  So the name is that of a directory there.
  For a folder of one file they differ: WebTorrent, and libtorrent if the ``/`` is missing, ask for
  the base itself.
"""

from typing import NamedTuple
from urllib.parse import quote

from fleet.torrent.parsed import ParsedTorrent
from fleet.torrent.pieces import DIGEST_BYTES


class Piece(NamedTuple):
    """A run of bytes that proves a web seed.

    Attributes:
        path: the file it lies in, as ``ParsedTorrent.content`` has it.
        size: of that file, in bytes.
        start: where it begins in that file.
        length: in bytes.
        sha1: its digest, in lowercase hex; None if it is no whole piece.
    """

    path: str
    size: int
    start: int
    length: int
    sha1: str | None


def file_url(seed: str, path: str, *, single: bool) -> str:
    """Name the URL that clients ask ``seed`` for.

    Args:
        seed: an entry of ``url-list``.
        path: a file as ``ParsedTorrent.content`` has it: the torrent's name first.
        single: whether the torrent is a lone file, without a folder around it.
    """
    if single and not seed.endswith("/"):
        return seed
    return f"{seed.removesuffix('/')}/{quote(path, safe='/')}"


def first_url(torrent: ParsedTorrent, seed: str) -> str:
    """Name the URL of the torrent's first file, to show what clients will ask ``seed`` for."""
    first = next(at for at in range(len(torrent.files)) if at not in torrent.padding)
    path = torrent.files[first][0]
    whole = path if torrent.single else f"{torrent.name}/{path}"
    return file_url(seed, whole, single=torrent.single)


def proof(torrent: ParsedTorrent) -> Piece:
    """Choose what a web seed shall be asked for, to see that it serves this torrent.

    It is the last whole piece of the largest file that has one to itself: long enough to meet
    whatever cuts ranges, and far enough to miss if the file there is shorter.  Where every piece
    spans several files it is the largest file's beginning, which has no digest of its own.
    """
    length, total = torrent.piece_length, torrent.size
    largest = ("", 0)
    found: tuple[int, str, int, int] | None = None
    offset = 0
    for at, (path, size) in enumerate(torrent.content):
        if at not in torrent.padding:
            largest = max(largest, (path, size), key=lambda file: file[1])
            number = _last_piece(offset, offset + size, total, length)
            if number is not None and (found is None or size > found[2]):
                found = (number, path, size, offset)
        offset += size
    if found is None:
        return Piece(*largest, 0, min(largest[1], length), None)
    number, path, size, offset = found
    digest = torrent.pieces[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
    start = number * length - offset
    return Piece(path, size, start, min(length, size - start), digest.hex())


def _last_piece(begin: int, end: int, total: int, length: int) -> int | None:
    """Find the last piece within a file, of the ``total`` bytes that are cut into pieces."""
    full = end // length - 1
    # the torrent's last piece may be shorter than the others
    short = (total - 1) // length if end == total else full
    return next((number for number in (full, short) if number * length >= begin), None)
