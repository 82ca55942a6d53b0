"""What is fetched together, and by which way: pure.

Decisions this module takes:

- Where the list of files does not say in which torrent each lies, their names and sizes tell it:
  of all files and all torrents of the version, else two of one name are taken for each other.
- A file that is a torrent by itself is a lot too, so that its pieces are checked as they come.
  Names may mislead, so it is only where the list says so, or no other file has that size: else
  pieces of another file would convict every honest mirror, and the signed SHA-256 decides alone.
- All other files are cut into lots, each of one torrent at most, so that some can come by HTTP
  while others come from peers, and so that only as many are held in memory.
- HTTP takes from peers what it would bring in half the time that they still need, and what they
  have brought nothing of for as long as it would take, or for ``PATIENCE_SECONDS``.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from fleet.catalogue.client.offer import File, Offer
from fleet.torrent.parsed import ParsedTorrent

LOT_BYTES: Final = 256 * 1024 * 1024
LOT_FILES: Final = 1000
PATIENCE_SECONDS: Final = 10.0
_LEAST_SECONDS: Final = 2.0
"""In which peers are dialled and greeted."""
_WORTH: Final = 2


@dataclass(frozen=True)
class Lot:
    """Files that are fetched together, of one torrent at most.

    Attributes:
        infohash: of the torrent that has them, if that may be asked for; or empty.
        pieces: the hashes of a lone file's pieces, each of ``piece_length`` bytes, if known.
    """

    files: tuple[File, ...]
    infohash: str = ""
    pieces: bytes = b""
    piece_length: int | None = None

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(file.size for file in self.files)


def placed(offer: Offer, torrents: Mapping[str, ParsedTorrent]) -> list[File]:
    """Say in which torrent each file of a version lies, and where in it, as far as that is plain.

    Args:
        offer: all files of it.
        torrents: those that are at hand, by infohash; nothing is told unless all of them are.
    """
    told = any(file.infohash for file in offer.files)
    if told or not torrents.keys() >= (offer.torrents or {}).keys():
        return list(offer.files)
    found: dict[str, list[tuple[str, int]]] = {}
    alike: dict[tuple[str, int], list[File]] = {}
    for file in offer.files:
        alike.setdefault((_last(file.path), file.size), []).append(file)
    for infohash, torrent in torrents.items():
        begins = accumulate((size for _, size in torrent.files), initial=0)
        for (path, size), begin in zip(torrent.files, begins, strict=False):
            fit = [one for one in alike.get((_last(path), size), ()) if _ends(one.path, path)]
            if len(fit) == 1:
                found.setdefault(fit[0].path, []).append((infohash, begin))
    return [_placed(file, found.get(file.path, [])) for file in offer.files]


def certain(offer: Offer, torrents: Mapping[str, ParsedTorrent]) -> dict[str, ParsedTorrent]:
    """Choose the torrents of one file each of which it is certain which one that is."""
    told = Counter(file.infohash for file in offer.files)
    sizes = Counter(file.size for file in offer.files)
    return {
        infohash: torrent
        for infohash, torrent in torrents.items()
        if torrent.single and (told[infohash] or sizes[torrent.size]) == 1
    }


def cut(
    files: Iterable[File], torrents: Mapping[str, ParsedTorrent], swarms: Collection[str]
) -> list[Lot]:
    """Cut files into lots, those that only HTTP can bring first.

    Args:
        files: each once.
        torrents: those of one file whose pieces prove it, by infohash.
        swarms: the infohashes that peers may be asked for.
    """
    groups: dict[str, list[File]] = {"": []}
    for file in files:
        known = file.offset is not None and (file.infohash in torrents or file.infohash in swarms)
        groups.setdefault(file.infohash if known else "", []).append(file)
    lots = [Lot(tuple(run)) for run in _runs(groups.pop(""))]
    for infohash, some in groups.items():
        torrent, asked = torrents.get(infohash), infohash if infohash in swarms else ""
        if torrent is not None and len(some) == 1:
            lots.append(Lot((some[0],), asked, torrent.pieces, torrent.piece_length))
        else:
            ordered = sorted(some, key=lambda file: file.offset or 0)
            lots += [Lot(tuple(run), asked) for run in _runs(ordered)]
    return lots


def takes_over(left: int, peers_rate: float, size: int, http_rate: float, quiet: float) -> bool:
    """Whether HTTP, which has nothing else to do, takes a lot from peers.

    Args:
        left: bytes of it that are not here yet.
        peers_rate: bytes a second that they bring.
        size: of the lot, all of which HTTP would fetch.
        http_rate: bytes a second that HTTP brought before; 0 if it is not known.
        quiet: seconds since they brought anything.
    """
    needed = size / http_rate if http_rate else PATIENCE_SECONDS
    if quiet > min(max(needed, _LEAST_SECONDS), PATIENCE_SECONDS):
        return True
    return bool(http_rate and peers_rate) and left / peers_rate > _WORTH * needed


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _ends(path: str, inside: str) -> bool:
    """Whether ``inside`` a torrent, below a version's folder or not, a file of ``path`` lies."""
    return path == inside or path.endswith(f"/{inside}") or inside.endswith(f"/{path}")


def _placed(file: File, found: Sequence[tuple[str, int]]) -> File:
    if len(found) != 1:
        return file
    infohash, begin = found[0]
    return replace(file, infohash=infohash, offset=begin)


def _runs(files: Iterable[File]) -> Iterable[list[File]]:
    run: list[File] = []
    size = 0
    for file in files:
        if run and (size + file.size > LOT_BYTES or len(run) == LOT_FILES):
            yield run
            run, size = [], 0
        run.append(file)
        size += file.size
    if run:
        yield run
