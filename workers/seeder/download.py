"""One torrent that is being downloaded, and what libtorrent tells of it.

Rules this module keeps:

- Alerts are read by one reader, copied at once, and only while a download listens: a session with
  thousands of seeds has others that nobody wants to hear.
- Everything here may wait for libtorrent's own thread: call it from a thread, not from a loop.
"""

import contextlib
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import libtorrent as lt

Place = tuple[str, int]

_kinds = lt.alert.category_t
_MASK: Final = int(
    _kinds.error_notification
    | _kinds.status_notification
    | _kinds.storage_notification
    | _kinds.peer_notification
    | _kinds.connect_notification
)
_CHECKING: Final = {
    lt.torrent_status.states.checking_files,
    lt.torrent_status.states.checking_resume_data,
}
_ON_THE_WAY: Final = lt.peer_info.connecting | lt.peer_info.handshake
_MOST_HEARD: Final = 1000


class Heard(NamedTuple):
    """One thing that was told of a download.

    ``kind`` says what: a web seed (``url``) failed, a connection to ``place`` ended, who is at
    ``place`` sent wrong bytes, a ``piece`` did not match, the disk failed, all is written.
    """

    kind: Literal["web seed", "left", "liar", "piece", "disk", "flushed"]
    text: str
    url: str = ""
    place: Place = ("", 0)
    piece: int = -1


class Hearing:
    """The session's one reader of alerts; safe to use from several threads."""

    def __init__(self, session: Any) -> None:
        """Hear nothing of ``session`` yet."""
        self._session = session
        self._heard: dict[str, list[Heard]] = {}
        self._lock = threading.Lock()
        session.apply_settings({"alert_mask": 0})

    def begin(self, infohash: str) -> None:
        """Listen to what is told of a torrent."""
        with self._lock:
            self._heard[infohash] = []
            self._session.apply_settings({"alert_mask": _MASK})

    def take(self, infohash: str) -> list[Heard]:
        """Give what was told of a torrent since the last time."""
        with self._lock:
            for alert in self._session.pop_alerts():
                told = _told(alert)
                if told is None:
                    continue
                # one that was removed has no infohash any more
                with contextlib.suppress(RuntimeError):
                    listening = self._heard.get(str(alert.handle.info_hashes().v1))
                    if listening is not None and len(listening) < _MOST_HEARD:
                        listening.append(told)
            heard, self._heard[infohash] = self._heard[infohash], []
            return heard

    def forget(self, infohash: str) -> None:
        """Listen no longer."""
        with self._lock:
            self._heard.pop(infohash, None)
            if not self._heard:
                self._session.apply_settings({"alert_mask": 0})
                self._session.pop_alerts()

    def close(self) -> None:
        """Let go of the session."""
        del self._session


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
        status, heard = self._handle.status(0), self._hearing.take(self.infohash)
        peers: dict[Place, bool] = {}
        web: dict[Place, Web] = {}
        for peer in self._handle.get_peer_info():
            if peer.connection_type == lt.peer_info.standard_bittorrent:
                peers[_place(peer.ip)] = not peer.flags & _ON_THE_WAY
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

    def flush(self) -> None:
        """Have everything written; it is told by "flushed"."""
        self._handle.flush_cache()


def _told(alert: Any) -> Heard | None:
    """Copy what is of interest; nothing of an alert outlives the next reading."""
    if isinstance(alert, lt.url_seed_alert):
        error = alert.error_message() or alert.error.message()
        return Heard("web seed", error, url=alert.server_url())
    if isinstance(alert, lt.peer_ban_alert):
        return Heard("liar", "it sent wrong bytes", place=_place(alert.ip))
    if isinstance(alert, lt.peer_disconnected_alert | lt.peer_error_alert):
        return Heard("left", alert.error.message(), place=_place(alert.ip))
    if isinstance(alert, lt.hash_failed_alert):
        return Heard("piece", "it does not match", piece=int(alert.piece_index))
    if isinstance(alert, lt.file_error_alert):
        return Heard("disk", alert.error.message())
    if isinstance(alert, lt.cache_flushed_alert):
        return Heard("flushed", "")
    return None


def _place(endpoint: Any) -> Place:
    return str(endpoint[0]), int(endpoint[1])
