"""The libtorrent session of a seeder.

Rules this module keeps:

- What is seeded is added in upload mode and without its web seeds: nothing is written below a
  site's root, but what is fetched into its staging folder, and the bytes of the failed pieces of
  a torrent that is being mended.
- Nothing is hashed at the start.  A piece is verified when it is first asked for; if it does not
  match, libtorrent checks the whole torrent and goes on with the pieces that do.
- A peer finds a seeder through trackers, magnet links and the catalogue.  DHT, local discovery
  and port mapping are off: many sites are rented slots and loopback demos, where they reach the
  wrong people or nobody.
- It is not shared with a forked process, and no alert outlives the call that popped it.
"""

import contextlib
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import libtorrent as lt

from workers.seeder.download import Download, Hearing

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
    # who is dialled over uTP brings little: 7 MiB/s where TCP brings 158 (300 MiB over loopback)
    "enable_outgoing_utp": False,
    # who was lost is dialled again soon, by us as well (see ``dialling``)
    "min_reconnect_time": 5,
    # one bad file is no reason to shun a server: ``webseeds`` says whom to leave alone
    "ban_web_seeds": False,
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
        self._fetched: dict[str, Any] = {}
        status = lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
        pack: Any = {**_SETTINGS, "listen_interfaces": listen, "alert_mask": int(status)}
        self._session = lt.session(pack)
        self.port: int = self._await_port(listen)
        self._hearing = Hearing(self._session)

    def add(
        self,
        infohash: str,
        torrent: bytes,
        folder: Path,
        renamed: Sequence[tuple[int, str]] = (),
        lacking: Collection[int] = (),
    ) -> None:
        """Seed a torrent whose files lie in ``folder``.

        Args:
            infohash: the name to drop it by.
            torrent: the ``.torrent`` file.
            folder: where its files lie.
            renamed: the numbers of those that do not lie where it says, and where below
                ``folder`` they do.
            lacking: the pieces that are known to be bad, and are not in upload mode but fetched;
                all others are taken for good.

        Raises:
            SessionError: libtorrent does not take it, or it is being fetched.
        """
        if infohash in self._fetched:
            raise SessionError("it is being fetched")
        try:
            params = _params(torrent, folder, renamed)
            if lacking:
                count = params.ti.num_pieces()
                params.have_pieces = [piece not in lacking for piece in range(count)]
                params.flags |= lt.torrent_flags.no_verify_files
            else:
                params.flags |= _UPLOAD_ONLY
            self._handles[infohash] = self._session.add_torrent(params)
        except RuntimeError as error:
            raise SessionError(f"libtorrent does not take it: {error}") from error

    def seeds(self, infohash: str) -> bool:
        """Whether a torrent is being seeded."""
        return infohash in self._handles

    def fetch(
        self,
        infohash: str,
        torrent: bytes,
        folder: Path,
        renamed: Sequence[tuple[int, str]],
        wanted: Sequence[bool],
    ) -> Download:
        """Download the ``wanted`` pieces of a torrent into ``folder``; what is there is checked.

        Raises:
            SessionError: libtorrent does not take it, or has it already.
        """
        if infohash in self._fetched or infohash in self._handles:
            raise SessionError("it is in this session already")
        try:
            params = _params(torrent, folder, renamed)
            params.piece_priorities = [4 if one else 0 for one in wanted]
            self._fetched[infohash] = handle = self._session.add_torrent(params)
        except RuntimeError as error:
            raise SessionError(f"libtorrent does not take it: {error}") from error
        return Download(infohash, handle, self._hearing)

    def end_fetch(self, infohash: str) -> None:
        """Stop downloading a torrent; its files stay."""
        self._hearing.forget(infohash)
        self._session.remove_torrent(self._fetched.pop(infohash))

    def mend(self, infohash: str) -> Download:
        """Follow the download of what a torrent was added as lacking."""
        return Download(infohash, self._handles[infohash], self._hearing)

    def end_mend(self, infohash: str) -> None:
        """Let a torrent that was mended, or not, seed what is good of it."""
        self._hearing.forget(infohash)
        handle = self._handles[infohash]
        handle.set_flags(lt.torrent_flags.upload_mode)
        for url in handle.url_seeds():
            handle.remove_url_seed(url)

    def dial(self, infohash: str, peers: Sequence[tuple[str, int]]) -> None:
        """Connect to peers of a torrent that is being seeded, unless it has some."""
        handle = self._handles.get(infohash)
        with contextlib.suppress(RuntimeError):  # it may be dropped meanwhile
            if handle is not None and not handle.status(0).num_peers:
                for peer in peers:
                    handle.connect_peer(peer, lt.peer_info.tracker)

    def drop(self, infohash: str) -> None:
        """Stop seeding a torrent; its files stay."""
        self._session.remove_torrent(self._handles.pop(infohash))

    def counters(self) -> dict[str, Counters]:
        """Ask how every torrent is doing.

        One by one: ``get_torrent_status`` calls its predicate without holding the interpreter's
        lock, which ends the process on Python 3.12.
        """
        return {infohash: _counters(handle.status(0)) for infohash, handle in self._handles.items()}

    def counters_of(self, infohash: str) -> Counters:
        """Ask how one torrent is doing."""
        return _counters(self._handles[infohash].status(0))

    def close(self) -> None:
        """End the session; it takes up to a second while trackers are told."""
        self._handles.clear()
        self._fetched.clear()
        self._hearing.close()
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


def _params(torrent: bytes, folder: Path, renamed: Sequence[tuple[int, str]]) -> Any:
    params = lt.load_torrent_buffer(torrent)
    params.url_seeds = []
    params.http_seeds = []
    params.save_path = str(folder)
    params.renamed_files = dict(renamed)
    params.flags &= ~_HELD_BACK
    return params


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
