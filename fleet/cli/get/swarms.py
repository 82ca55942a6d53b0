"""Whom to ask for a version's torrents: their files, peers and trackers, as far as they are told.

Rules this module keeps:

- A torrent counts by its infohash, which was signed; trackers count as the catalogue has them.
  Peers are whoever the centre names: every piece of theirs is checked.
- All of it is asked for at once, and is waited for ``WAIT_SECONDS`` at most: what does not come is
  done without.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final
from urllib.parse import unquote

from tuf.api.exceptions import DownloadError

from fleet.catalogue.client import Fetcher
from fleet.catalogue.client.offer import Offer, Torrent
from fleet.settings import SiteSettings
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import MAX_TORRENT, TRACKER_SCHEMES, ParsedTorrent, parse
from workers.seeder.lone import Known
from workers.swarm import Swarm, read_magnet

WAIT_SECONDS: Final = 5.0
AT_ONCE: Final = 8
MOST: Final = 256  # torrents that are asked for; files of more come by HTTP alone
_MAGNET_BYTES: Final = 64 * 1024


@dataclass
class Swarms:
    """What is known of each torrent, by infohash.

    Attributes:
        torrents: the files.
        known: likewise, with the trackers, as whoever fetches wants them.
        peers: of those that may be asked for.
    """

    torrents: dict[str, ParsedTorrent] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    peers: dict[str, Swarm] = field(default_factory=dict)


def gather(offer: Offer, infohashes: Iterable[str], settings: SiteSettings) -> Swarms:
    """Find out what can be known of some torrents now."""
    told = offer.torrents or {}
    wanted = list(dict.fromkeys(infohashes))[:MOST]
    todo: SimpleQueue[str] = SimpleQueue()
    for infohash in wanted:
        todo.put(infohash)
    found: dict[str, tuple[bytes, Swarm | None]] = {}

    def ask() -> None:
        try:
            with Fetcher(settings.user_agent, settings.allow_networks) as fetcher:
                while True:
                    infohash = todo.get_nowait()
                    torrent = told.get(infohash, Torrent(infohash))
                    found[infohash] = _asked(torrent, offer.centre, fetcher)
        except Empty:
            pass

    threads = [threading.Thread(target=ask, daemon=True) for _ in wanted[:AT_ONCE]]
    for thread in threads:
        thread.start()
    until = time.monotonic() + WAIT_SECONDS
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))
    return _put_together(wanted, told, dict(found))


def trackers_of(link: str) -> tuple[str, ...]:
    """List the trackers of a magnet link."""
    fields = (part.partition("=") for part in link.partition("?")[2].split("&"))
    found = (unquote(value) for key, _, value in fields if key == "tr")
    return tuple(dict.fromkeys(one for one in found if one.startswith(TRACKER_SCHEMES)))


def _put_together(
    wanted: Iterable[str],
    told: Mapping[str, Torrent],
    found: Mapping[str, tuple[bytes, Swarm | None]],
) -> Swarms:
    swarms = Swarms()
    for infohash in wanted:
        data, swarm = found.get(infohash, (b"", None))
        magnet = told[infohash].magnet if infohash in told else ""
        trackers = trackers_of(magnet)
        own = _read(magnet, infohash)
        peers = (*(swarm.peers if swarm else ()), *(own.peers if own else ()))
        if data:
            swarms.torrents[infohash] = parse(data)
        if peers or trackers:
            swarms.known[infohash] = Known(data, trackers)
            swarms.peers[infohash] = Swarm(infohash, tuple(dict.fromkeys(peers)))
    return swarms


def _asked(torrent: Torrent, centre: str, fetcher: Fetcher) -> tuple[bytes, Swarm | None]:
    """Ask for a torrent's file and its peers."""
    below = f"{centre}/api/v1/torrents/{torrent.infohash}" if centre else ""
    data = _downloaded(torrent.url or (below and f"{below}.torrent"), MAX_TORRENT, fetcher)
    try:
        data = data if data and parse(data).infohash == torrent.infohash else b""
    except MetainfoError:
        data = b""
    link = _downloaded(below and f"{below}.magnet", _MAGNET_BYTES, fetcher)
    return data, _read(link.decode("utf-8", "replace").strip(), torrent.infohash)


def _downloaded(url: str, most: int, fetcher: Fetcher) -> bytes:
    try:
        return fetcher.download_bytes(url, most) if url else b""
    except DownloadError:
        return b""


def _read(link: str, infohash: str) -> Swarm | None:
    """Read a magnet link; None if it is of another torrent, or none."""
    try:
        swarm = read_magnet(link)
    except ValueError:
        return None
    return swarm if swarm.infohash == infohash else None
