"""`fleet torrent create`: the canonical torrent of a file or folder on this machine.

Rules this module keeps:

- What ``info`` holds follows from the names, sizes and bytes alone.  Files come in the order of
  their paths, compared as shards' are: code point by code point, with ``/`` between the names.
- As in an imported folder, names that begin with a dot are left out, with a note.  Links and
  special files are refused: a torrent cannot say what they are.
- A folder with one file alone gives the torrent of that file, as a shard of one file does.
- All that can be refused is refused before anything is hashed, and nothing is overwritten.
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet.cli.files import write
from fleet.cli.text import clean, size
from fleet.cli.torrent.reading import reading
from fleet.control.errors import FleetError
from fleet.torrent.metainfo import Metainfo, MetainfoError, magnet, torrent_bytes
from fleet.torrent.parsed import MAX_TORRENT
from fleet.torrent.pieces import DIGEST_BYTES, piece_count, piece_length
from workers.hashing import hash_pieces
from workers.regions import Part

USAGE = 2
_WEB = ("http", "https")
_TRACKERS = ("http", "https", "udp")


@dataclass(frozen=True)
class Links:
    """What a torrent says besides its ``info``."""

    web_seeds: tuple[str, ...] = ()
    trackers: tuple[str, ...] = ()
    comment: str = ""

    def wrong(self) -> str:
        """Say which of the links is none; empty if all are good."""
        for option, links, schemes in (
            ("--web-seed", self.web_seeds, _WEB),
            ("--tracker", self.trackers, _TRACKERS),
        ):
            for link in links:
                if not _is_link(link, schemes):
                    return f"{option} {clean(link[:100])!r}: give a URL of {', '.join(schemes)}"
        return ""


@dataclass(frozen=True)
class Listing:
    """What a torrent is to hold.

    Attributes:
        root: the folder that ``paths`` are below.
        name: the torrent's name: the file's, or the folder's.
        paths: where each file lies below ``root``, in the torrent's order.
        files: each file's path in the torrent, and its size in bytes.
        hidden: names below ``root`` that were left out.
    """

    root: Path
    name: str
    paths: tuple[str, ...]
    files: tuple[tuple[str, int], ...]
    hidden: tuple[str, ...] = ()


def main(path: Path, out: Path | None, links: Links, *, as_json: bool) -> int:
    """Make a torrent, and give the exit code.

    Raises:
        FleetError: it cannot be made, or not be written.
        Exit: Ctrl-C ended it.
    """
    if wrong := links.wrong():
        sys.stderr.write(f"fleet: {wrong} (fleet torrent create --help)\n")
        return USAGE
    listing = listed(path)
    place = _place(path, out or Path(f"{listing.name}.torrent"))
    try:
        draft = drafted(listing)
    except MetainfoError as error:
        raise FleetError(f"no torrent can be made of {clean(str(path))}: {error}") from error
    if len(_bytes(draft, links)) > MAX_TORRENT:
        raise FleetError(
            f"the torrent of {clean(str(path))} would be longer than {size(MAX_TORRENT)}, the most "
            "that is read of any; make several, of its folders"
        )
    meta = replace(draft, pieces=_hashed(listing, draft, quiet=as_json))
    write(place, _bytes(meta, links))
    _tell(meta, links, place, listing, as_json=as_json)
    return 0


def listed(path: Path) -> Listing:
    """List what the torrent of ``path`` is to hold.

    Raises:
        FleetError: there is something in it that no torrent can hold, or it cannot be read.
    """
    shown = clean(str(path))
    try:
        if path.is_symlink():
            raise FleetError(f"{shown} is a symbolic link; give what it leads to")
        real = path.resolve(strict=True)
        if real.is_file():
            files = ((real.name, real.stat().st_size),)
            return Listing(real.parent, real.name, (real.name,), files)
        if not real.is_dir():
            raise FleetError(f"{shown} is neither a file nor a folder")
        hidden: list[str] = []
        found = sorted(_walk(real, hidden))
    except OSError as error:
        where = clean(str(error.filename or path))
        raise FleetError(f"{where} cannot be read: {error.strerror}") from error
    paths = tuple(name for name, _ in found)
    if len(found) == 1:
        name = paths[0].rpartition("/")[2]
        return Listing(real, name, paths, ((name, found[0][1]),), tuple(sorted(hidden)))
    return Listing(real, real.name, paths, tuple(found), tuple(sorted(hidden)))


def drafted(listing: Listing) -> Metainfo:
    """Give the torrent as far as it is known before anything is hashed: its pieces are zeros.

    Raises:
        MetainfoError: no torrent can be made of these names and sizes.
    """
    total = sum(length for _, length in listing.files)
    length = piece_length(total)
    pieces = bytes(piece_count(total, length) * DIGEST_BYTES)
    return Metainfo(listing.name, listing.files, length, pieces)


def _walk(root: Path, hidden: list[str]) -> Iterator[tuple[str, int]]:
    """Find the files below ``root``, in no order; put names that are left out in ``hidden``."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            inside = list(entries)
        for entry in inside:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                hidden.append(path)
            elif entry.is_symlink():
                raise FleetError(
                    f"{clean(path)} is a symbolic link; remove it, or put a file there"
                )
            elif entry.is_dir(follow_symlinks=False):
                pending.append(path)
            elif entry.is_file(follow_symlinks=False):
                yield path, entry.stat(follow_symlinks=False).st_size
            else:
                raise FleetError(f"{clean(path)} is neither a file nor a folder; remove it")


def _place(path: Path, out: Path) -> Path:
    """Say where the torrent is written, if it may be."""
    shown = clean(str(out))
    if os.path.lexists(out):
        raise FleetError(f"{shown} exists; give another --out, or remove it")
    folder = out.parent.resolve()
    if not folder.is_dir():
        raise FleetError(f"{shown} has no folder to lie in; make it first")
    if folder.is_relative_to(path.resolve()):
        raise FleetError(f"{shown} would lie in the folder that it is made of; give another --out")
    return out


def _hashed(listing: Listing, draft: Metainfo, *, quiet: bool) -> bytes:
    pairs = zip(listing.paths, listing.files, strict=True)
    parts = [Part(path, length) for path, (_, length) in pairs]
    with reading(listing.name, draft.size, quiet=quiet) as progress:
        return hash_pieces(listing.root, parts, draft.piece_length, progress=progress)


def _bytes(meta: Metainfo, links: Links) -> bytes:
    return torrent_bytes(
        meta, web_seeds=links.web_seeds, trackers=links.trackers, comment=links.comment
    )


def _tell(meta: Metainfo, links: Links, place: Path, listing: Listing, *, as_json: bool) -> None:
    link = magnet(meta, web_seeds=links.web_seeds, trackers=links.trackers)
    count = piece_count(meta.size, meta.piece_length)
    if as_json:
        told: dict[str, Any] = {
            "torrent": str(place),
            "name": meta.name,
            "infohash": meta.infohash,
            "magnet": link,
            "size": meta.size,
            "files": len(meta.files),
            "piece_length": meta.piece_length,
            "pieces": count,
            "left_out": list(listing.hidden),
        }
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
        return
    files = "1 file" if meta.single else f"{len(meta.files):,} files"
    pieces = f"{count:,} pieces of {meta.piece_length // 1024:,} KiB"
    sys.stdout.write(
        f"{clean(str(place))}  {size(meta.size)} in {files}, {pieces}\n"
        f"  infohash {meta.infohash}\n"
        f"  magnet   {link}\n"
    )
    if listing.hidden:
        names = ", ".join(clean(name) for name in listing.hidden[:5])
        more = ", …" if len(listing.hidden) > 5 else ""
        sys.stderr.write(f"note: left out {len(listing.hidden):,} hidden: {names}{more}\n")


def _is_link(link: str, schemes: tuple[str, ...]) -> bool:
    """Whether a link is one that clients take: of these schemes, with a host, without blanks."""
    try:
        parts = urlsplit(link)
        host = parts.hostname
    except ValueError:
        return False
    return parts.scheme in schemes and bool(host) and link.isprintable() and " " not in link
