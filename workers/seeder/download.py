"""One torrent that is being downloaded.

Everything here may wait for libtorrent's own thread: call it from a thread, not from a loop.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import libtorrent as lt

from workers.seeder.hearing import Heard, Hearing, Place, place_of

_CHECKING: Final = {
    lt.torrent_status.states.checking_files,
    lt.torrent_status.states.checking_resume_data,
}
_ON_THE_WAY: Final = lt.peer_info.connecting | lt.peer_info.handshake


@dataclass(frozen=True, slots=True)
class Web:
    """A connection to a web seed: payload bytes that came by it, and whether more were asked."""

    bytes: int
    busy: bool


@dataclass(frozen=True, slots=True)
class Look:
    """How a download is doing.

    Attributes:
        checking: what was on disk is being checked.
        finished: every wanted piece is here.
        done: wanted bytes that are here; ``size``: of how many.
        peers: BitTorrent peers, and whether each is connected or still being connected to.
        payload: payload bytes that came from all of them and from web seeds.
        web: the connections to web seeds.
        error: why it cannot go on.
        heard: what was told since the last look.
    """

    checking: bool
    finished: bool
    done: int
    size: int
    peers: Mapping[Place, bool]
    payload: int
    web: Mapping[Place, Web]
    error: str
    heard: Sequence[Heard]


class Download:
    """One torrent that is being downloaded."""

    def __init__(self, infohash: str, handle: Any, hearing: Hearing) -> None:
        """Follow ``handle``; whoever made it ends it."""
        self.infohash = infohash
        self._handle = handle
        self._hearing = hearing
        self._used: set[str] = set()
        hearing.begin(infohash)

    def look(self) -> Look:
        """Look how it is doing."""
        # a piece may take minutes: its blocks count as they come
        status = self._handle.status(lt.torrent_handle.query_accurate_download_counters)
        heard = self._hearing.take(self.infohash)
        peers: dict[Place, bool] = {}
        web: dict[Place, Web] = {}
        for peer in self._handle.get_peer_info():
            if peer.connection_type == lt.peer_info.standard_bittorrent:
                peers[place_of(peer.ip)] = not peer.flags & _ON_THE_WAY
                continue
            host = peer.client.decode("utf-8", "replace").strip("[]").lower()
            place = (host, int(peer.ip[1]))
            web[place] = Web(int(peer.total_download), peer.download_queue_length > 0)
        disk = [one.text for one in heard if one.kind == "disk"]
        return Look(
            checking=status.state in _CHECKING,
            finished=bool(status.is_finished),
            done=int(status.total_wanted_done),
            size=int(status.total_wanted),
            peers=peers,
            payload=int(status.total_payload_download),
            web=web,
            error=status.errc.message() if status.errc.value() else "".join(disk[:1]),
            heard=heard,
        )

    def dial(self, peers: Sequence[Place]) -> None:
        """Connect to peers, again if they were lost."""
        for peer in peers:
            # said to come from a tracker, it is dialled again however often it was lost
            self._handle.connect_peer(peer, lt.peer_info.tracker)

    def use(self, urls: Collection[str]) -> None:
        """Use these web seeds and no others."""
        for url in self._used.difference(urls):
            self._handle.remove_url_seed(url)
        for url in sorted(set(urls) - self._used):
            self._handle.add_url_seed(url)
        self._used = set(urls)

    def limit(self, rate: int) -> None:
        """Download so many bytes per second at most; 0: any."""
        self._handle.set_download_limit(rate)

    def pause(self, paused: bool) -> None:
        """Ask for nothing more, or ask again; what is here is served on."""
        if paused:
            self._handle.set_flags(lt.torrent_flags.upload_mode)
        else:
            self._handle.unset_flags(lt.torrent_flags.upload_mode)

    def stop(self) -> None:
        """Leave all peers and web seeds at once, and write nothing more but what is on its way."""
        self._handle.pause()

    def flush(self) -> None:
        """Have everything written; it is told by "flushed"."""
        self._handle.flush_cache()
