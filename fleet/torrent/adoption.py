"""A torrent that others made, held against files that lie at a site.  Pure.

Rules this module keeps:

- A torrent fits a set of files only if its own, padding left out (BEP 47), are exactly these: as
  many, each of its size, and with the same paths once the folders that all have in common are
  taken off on either side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import basename, commonpath, dirname
from urllib.parse import quote

from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import ParsedTorrent
from fleet.torrent.pieces import DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file of a torrent that is no padding.

    Attributes:
        index: its number among all files, padding counted, from 0.
        path: where a client saves it: the torrent's name first.
        size: in bytes.
        offset: where it begins in the stream that is cut into pieces, in bytes.
    """

    index: int
    path: str
    size: int
    offset: int


def own_files(torrent: ParsedTorrent) -> tuple[OwnFile, ...]:
    """List the files of a torrent without its padding, in its order.

    Raises:
        MetainfoError: there are none, or more padding between two than aligning them takes.
    """
    files: list[OwnFile] = []
    at = padded = 0
    for index, (path, size) in enumerate(torrent.content):
        if index in torrent.padding:
            padded += size
            if padded >= torrent.piece_length:
                raise MetainfoError(
                    f"{path!r} makes {padded} bytes of padding, more than a piece of "
                    f"{torrent.piece_length} bytes can need"
                )
        else:
            files.append(OwnFile(index, path, size, at))
            padded = 0
        at += size
    return tuple(files)


@dataclass(frozen=True, slots=True)
class Move:
    """Where a torrent's files lie at a site: what its paths begin with, and what stands there.

    Attributes:
        theirs: the folder that all its files lie in by its own word; of a lone file its path.
        ours: the folder, below the site's root, that they lie in alike; of a lone file its path.
    """

    theirs: str
    ours: str

    def place(self, path: str) -> str:
        """Say where the file at ``path``, by the torrent's word, lies below the root."""
        return self.ours + path.removeprefix(self.theirs)


def move_of(files: Sequence[OwnFile], held: Sequence[tuple[str, int]]) -> Move | None:
    """Find where a torrent's files lie; None unless it is exactly what is held.

    Args:
        files: the torrent's own files, one at least.
        held: the paths and sizes of a shard's files below a site's root, each in some folder.
    """
    if len(files) != len(held):
        return None
    theirs = [(file.path, file.size) for file in files]
    if len(held) == 1:
        move = Move(theirs[0][0], held[0][0])
        alike = basename(move.theirs) == basename(move.ours)
    else:
        move, alike = Move(_shared(theirs), _shared(held)), True
    same = {(move.place(path), size) for path, size in theirs} == set(held)
    return move if same and alike else None


def web_seed_url(
    read_url: str, torrent: ParsedTorrent, files: Sequence[OwnFile], move: Move
) -> str | None:
    """Name the web seed that a site is for a torrent (BEP 19); None where it can be none.

    A lone file's is its full address, whatever it is called there.  Clients ask a folder's base
    for ``name/path``, so the folder of its files has to be called so at the site as well.

    Args:
        read_url: where the site's root is read.
        torrent: the torrent.
        files: its own files.
        move: where they lie below the root.
    """
    root = read_url.rstrip("/")
    if torrent.single:
        return f"{root}/{quote(move.ours)}"
    path, place = files[0].path, move.place(files[0].path)
    if not f"/{place}".endswith(f"/{path}"):
        return None
    return f"{root}/{quote(place.removesuffix(path))}"


def wrong_piece(torrent: ParsedTorrent, files: Sequence[OwnFile], pieces: bytes) -> str:
    """Name the first piece whose hash is not that of the bytes; empty if all agree.

    Args:
        torrent: the torrent.
        files: its own files.
        pieces: the hashes that its pieces have by the bytes that are held, joined.
    """
    if pieces == torrent.pieces:
        return ""
    theirs, ours = _split(torrent.pieces), _split(pieces)
    if len(theirs) != len(ours):
        return f"it has {len(theirs)} pieces where our bytes make {len(ours)}"
    wrong = [at for at, pair in enumerate(zip(theirs, ours, strict=True)) if pair[0] != pair[1]]
    first = wrong[0]
    start = first * torrent.piece_length
    end = min(start + torrent.piece_length, torrent.size)
    file = next(
        (file for file in files if file.offset < end and file.offset + file.size > start), files[0]
    )
    return (
        f"piece {first} of {len(theirs)} (bytes {start} to {end - 1}, in {file.path!r}) has "
        f"sha1 {theirs[first].hex()[:16]}… where our bytes give {ours[first].hex()[:16]}…; "
        f"{len(wrong)} in all differ"
    )


def _shared(files: Sequence[tuple[str, int]]) -> str:
    """Name the folder that all these lie in, as deep as can be."""
    return commonpath([dirname(path) for path, _ in files])


def _split(pieces: bytes) -> list[bytes]:
    return [pieces[at : at + DIGEST_BYTES] for at in range(0, len(pieces), DIGEST_BYTES)]
