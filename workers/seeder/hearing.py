"""What libtorrent tells of a session, heard by one reader.

Rules this module keeps:

- Alerts are read under one lock and copied at once: none outlives the next reading.
- They are asked for only while a download listens: a session with thousands of seeds has others
  that nobody wants to hear.
- What a server said is passed on as it came, and need not be text: that costs no other alert.
"""

import contextlib
import threading
import time
from collections.abc import Callable
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
_MOST_HEARD: Final = 1000
STATS_SECONDS: Final = 5.0
_WAIT_MILLISECONDS: Final = 50


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
        self._sent = 0
        self._answers = 0  # of those who asked what was sent
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
            self._read()
            heard, self._heard[infohash] = self._heard[infohash], []
            return heard

    def forget(self, infohash: str) -> None:
        """Listen no longer."""
        with self._lock:
            self._heard.pop(infohash, None)
            if not self._heard:
                self._session.apply_settings({"alert_mask": 0})
                self._read()

    def sent(self) -> int:
        """Ask how many bytes the session has sent: payload, protocol and headers of packets.

        While libtorrent is too busy to tell, it is what it told last.
        """
        with self._lock:
            asked = self._answers
            self._session.post_session_stats()
        deadline = time.monotonic() + STATS_SECONDS
        while time.monotonic() < deadline:
            with self._lock:
                self._session.wait_for_alert(_WAIT_MILLISECONDS)
                self._read()
                if self._answers > asked:
                    break
        return self._sent

    def _read(self) -> None:
        """Copy all that was told."""
        for alert in self._session.pop_alerts():
            if isinstance(alert, lt.session_stats_alert):
                values = alert.values
                self._sent = int(values["net.sent_bytes"] + values["net.sent_ip_overhead_bytes"])
                self._answers += 1
            elif (told := _told(alert)) is not None:
                # one that was removed has no infohash any more
                with contextlib.suppress(RuntimeError):
                    listening = self._heard.get(str(alert.handle.info_hashes().v1))
                    if listening is not None and len(listening) < _MOST_HEARD:
                        listening.append(told)

    def close(self) -> None:
        """Let go of the session."""
        del self._session


def _told(alert: Any) -> Heard | None:
    """Copy what is of interest; nothing of an alert outlives the next reading."""
    if isinstance(alert, lt.url_seed_alert):
        error = _text(alert.error_message) or alert.error.message()
        return Heard("web seed", error, url=_text(alert.server_url))
    if isinstance(alert, lt.peer_ban_alert):
        return Heard("liar", "it sent wrong bytes", place=place_of(alert.ip))
    if isinstance(alert, lt.peer_disconnected_alert | lt.peer_error_alert):
        return Heard("left", alert.error.message(), place=place_of(alert.ip))
    if isinstance(alert, lt.hash_failed_alert):
        return Heard("piece", "it does not match", piece=int(alert.piece_index))
    if isinstance(alert, lt.file_error_alert):
        return Heard("disk", alert.error.message())
    if isinstance(alert, lt.cache_flushed_alert):
        return Heard("flushed", "")
    return None


def _text(say: Callable[[], str]) -> str:
    """Copy what may hold the words of a server; what is no UTF-8 is shown by its numbers."""
    try:
        return str(say())
    except UnicodeDecodeError as error:
        return error.object.decode("utf-8", "backslashreplace")


def place_of(endpoint: Any) -> Place:
    """Copy an address and its port."""
    return str(endpoint[0]), int(endpoint[1])
