"""The libtorrent session of a seeder.

Rules this module keeps:

- It seeds and never downloads: torrents are added in upload mode and without their web seeds, so
  that nothing but a pull ever writes below a site's root.
- Nothing is hashed at the start.  A piece is verified when it is first asked for; if it does not
  match, libtorrent checks the whole torrent and goes on with the pieces that do.
- A peer finds a seeder through trackers, magnet links and the catalogue.  DHT, local discovery
  and port mapping are off: many sites are rented slots and loopback demos, where they reach the
  wrong people or nobody.
- It is not shared with a forked process, and no alert outlives the call that popped it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import libtorrent as lt

LISTEN_SECONDS: Final = 5.0

_SETTINGS: Final = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # the centre and the peers were told this port: another one would be found by nobody
    "max_retry_port_bind": 0,
    "listen_system_port_fallback": False,
    # volunteers behind one router share an address
    "allow_multiple_connections_per_ip": True,
    # a seeder is there to upload: its limit is the link, not eight slots
    "unchoke_slots_limit": 100,
    "connections_limit": 400,
    "stop_tracker_timeout": 1,
}
_UPLOAD_ONLY: Final = lt.torrent_flags.seed_mode | lt.torrent_flags.upload_mode
_HELD_BACK: Final = lt.torrent_flags.auto_managed | lt.torrent_flags.paused


class SessionError(Exception):
    """The session cannot listen, or libtorrent refuses a torrent; the message says why."""


@dataclass(frozen=True, slots=True)
class Counters:
    """How one torrent is doing.

    Attributes:
        state: ``corrupt`` when some of its pieces do not match, ``error`` when it had to stop.
        peers: connected peers.
        uploaded: payload bytes sent since it was added.
        error: why it is not seeding, in one line.
    """

    state: Literal["seeding", "checking", "corrupt", "error"]
    peers: int
    uploaded: int
    error: str = ""


class Session:
    """One libtorrent session, and the torrents in it by infohash."""

    def __init__(self, listen: str) -> None:
        """Open a session.

        Args:
            listen: where to listen, as libtorrent's ``listen_interfaces``: ``host:port``, several
                with commas between; port 0 lets the system choose one.

        Raises:
            SessionError: none of the addresses can be listened on.
        """
        self._handles: dict[str, Any] = {}
        status = lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
        pack: Any = {**_SETTINGS, "listen_interfaces": listen, "alert_mask": int(status)}
        self._session = lt.session(pack)
        self.port: int = self._await_port(listen)
        # states are asked for, so nobody would read the alerts
        self._session.apply_settings({"alert_mask": 0})

    def add(
        self,
        infohash: str,
        torrent: bytes,
        folder: Path,
        renamed: Sequence[tuple[int, str]] = (),
    ) -> None:
        """Seed a torrent whose files lie, whole, in ``folder``.

        Args:
            infohash: the name to drop it by.
            torrent: the ``.torrent`` file.
            folder: where its files lie.
            renamed: the numbers of those that do not lie where it says, and where below
                ``folder`` they do.

        Raises:
            SessionError: libtorrent does not take it.
        """
        try:
            params = lt.load_torrent_buffer(torrent)
            params.url_seeds = []
            params.http_seeds = []
            params.save_path = str(folder)
            params.renamed_files = dict(renamed)
            params.flags = (params.flags | _UPLOAD_ONLY) & ~_HELD_BACK
            self._handles[infohash] = self._session.add_torrent(params)
        except RuntimeError as error:
            raise SessionError(f"libtorrent does not take it: {error}") from error

    def drop(self, infohash: str) -> None:
        """Stop seeding a torrent; its files stay."""
        self._session.remove_torrent(self._handles.pop(infohash))

    def counters(self) -> dict[str, Counters]:
        """Ask how every torrent is doing.

        One by one: ``get_torrent_status`` calls its predicate without holding the interpreter's
        lock, which ends the process on Python 3.12.
        """
        return {infohash: _counters(handle.status(0)) for infohash, handle in self._handles.items()}

    def close(self) -> None:
        """End the session; it takes up to a second while trackers are told."""
        self._handles.clear()
        del self._session

    def _await_port(self, listen: str) -> int:
        failure = ""
        deadline = time.monotonic() + LISTEN_SECONDS
        while time.monotonic() < deadline:
            if not self._session.wait_for_alert(200) and failure:
                break
            for alert in self._session.pop_alerts():
                if isinstance(alert, lt.listen_succeeded_alert):
                    return int(alert.port)
                if isinstance(alert, lt.listen_failed_alert):
                    failure = failure or alert.error.message()
        raise SessionError(
            f"cannot listen on {listen!r}: {failure or 'nothing happened'}; "
            "set FLEET_BITTORRENT to a free host:port"
        )


def _counters(status: Any) -> Counters:
    peers, uploaded = int(status.num_peers), int(status.total_payload_upload)
    states = lt.torrent_status.states
    if status.errc.value():
        return Counters("error", peers, uploaded, status.errc.message())
    # in seed mode it has every piece from the moment it is added
    if status.is_seeding or status.seed_mode:
        return Counters("seeding", peers, uploaded)
    if status.state in {states.checking_files, states.checking_resume_data}:
        return Counters("checking", peers, uploaded, "a piece did not match; checking all of them")
    good = f"{status.num_pieces} pieces are good"
    return Counters(
        "corrupt", peers, uploaded, f"the files do not match the torrent ({good}); verify the shard"
    )
