"""The libtorrent session of a seeder.

Rules this module keeps:

- What is seeded is added in upload mode and without its web seeds: nothing is written below a
  site's root, but what is fetched into its staging folder.
- Nothing is hashed at the start.  A piece is verified when it is first asked for; if it does not
  match, libtorrent checks the whole torrent and goes on with the pieces that do.
- A peer finds a seeder through trackers, magnet links, the catalogue and the other peers.  The DHT
  and local discovery are off unless the site's settings want them: many sites are rented slots and
  loopback demos, where they reach the wrong people or nobody.  Port mapping is always off.
- Whoever wants encryption has it, with RC4 or of the handshake alone, and nobody has to.
- The upload limit holds for every peer, those of the same network too, which libtorrent would
  exempt.  While nothing may be uploaded no peer is unchoked, and none is allowed pieces without.
- It is not shared with a forked process, and no alert outlives the call that popped it.
"""

import contextlib
import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import libtorrent as lt

from workers.seeder.download import Download
from workers.seeder.hearing import Hearing

LISTEN_SECONDS: Final = 5.0
UNCHOKED: Final = 100
CHOKE_SECONDS: Final = 15
"""Pause between two looks at who is unchoked."""
MESSAGES: Final = 16 * 1024
"""Bytes per second for messages while nothing may be uploaded."""

SETTINGS: Final = {
    "in_enc_policy": int(lt.enc_policy.pe_enabled),
    "out_enc_policy": int(lt.enc_policy.pe_enabled),
    "allowed_enc_level": int(lt.enc_level.pe_both),
    "enable_upnp": False,
    "enable_natpmp": False,
    # the centre and the peers were told this port: another one would be found by nobody
    "max_retry_port_bind": 0,
    "listen_system_port_fallback": False,
    # volunteers behind one router share an address
    "allow_multiple_connections_per_ip": True,
    # a seeder is there to upload: its limit is the link, not eight slots
    "unchoke_slots_limit": UNCHOKED,
    "unchoke_interval": CHOKE_SECONDS,
    "allowed_fast_set_size": 0,
    "connections_limit": 400,
    "stop_tracker_timeout": 1,
    # who is dialled over uTP brings little: 7 MiB/s where TCP brings 158 (300 MiB over loopback)
    "enable_outgoing_utp": False,
    # who was lost is dialled again soon, by us as well (see ``dialling``)
    "min_reconnect_time": 5,
    # one bad file is no reason to shun a server: ``webseeds`` says whom to leave alone
    "ban_web_seeds": False,
}
_HELD_BACK: Final = lt.torrent_flags.auto_managed | lt.torrent_flags.paused
_MOST_RATE: Final = 2**31 - 1
_MOST_PEERS: Final = 255


class SessionError(Exception):
    """The session cannot listen, or libtorrent refuses a torrent; the message says why."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """How peers may find each other, besides trackers and magnet links.

    Attributes:
        dht: through the DHT.
        dht_nodes: ``host:port`` of nodes that lead into it; none: libtorrent's own.
        pex: through the peers they have in common.
        lsd: by multicast in their own network.
    """

    dht: bool = False
    dht_nodes: tuple[str, ...] = ()
    pex: bool = True
    lsd: bool = False

    def settings(self) -> dict[str, Any]:
        """Say it as libtorrent's settings."""
        nodes = {"dht_bootstrap_nodes": ",".join(self.dht_nodes)} if self.dht_nodes else {}
        return {"enable_dht": self.dht, "enable_lsd": self.lsd, **nodes}


@dataclass(frozen=True, slots=True)
class Counters:
    """How one torrent is doing.

    Attributes:
        state: ``corrupt`` when some of its pieces do not match, ``error`` when it had to stop.
        peers: connected peers.
        complete: those of them that have all of it.
        uploaded: payload bytes sent since it was added.
        error: why it is not seeding, in one line.
    """

    state: Literal["seeding", "checking", "corrupt", "error"]
    peers: int
    complete: int
    uploaded: int
    error: str = ""


class Session:
    """One libtorrent session, and the torrents in it by infohash."""

    def __init__(self, listen: str, discovery: Discovery) -> None:
        """Open a session.

        Args:
            listen: where to listen, as libtorrent's ``listen_interfaces``: ``host:port``, several
                with commas between; port 0 lets the system choose one.
            discovery: how peers may find it.

        Raises:
            SessionError: none of the addresses can be listened on.
        """
        self._handles: dict[str, Any] = {}
        self._fetched: dict[str, Any] = {}
        self._unchoked_at = -math.inf
        status = lt.alert.category_t.status_notification | lt.alert.category_t.error_notification
        pack: Any = {
            **SETTINGS,
            **discovery.settings(),
            "listen_interfaces": listen,
            "alert_mask": int(status),
        }
        # a torrent's own flag against PEX leaves the offer of it standing
        self._session = lt.session(pack, flags=0)
        for plugin in ("ut_metadata", "smart_ban", *(("ut_pex",) if discovery.pex else ())):
            self._session.add_extension(plugin)
        self._limit_everybody()
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
            lacking: the pieces that are known to be bad, and are not served; all others are taken
                for good.

        Raises:
            SessionError: libtorrent does not take it, or it is being fetched.
        """
        if infohash in self._fetched:
            raise SessionError("it is being fetched")
        try:
            params = read_params(torrent, folder, renamed)
            params.flags |= lt.torrent_flags.upload_mode
            if lacking:
                count = params.ti.num_pieces()
                params.have_pieces = [piece not in lacking for piece in range(count)]
                params.flags |= lt.torrent_flags.no_verify_files
            else:
                params.flags |= lt.torrent_flags.seed_mode
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
            params = read_params(torrent, folder, renamed)
            params.piece_priorities = [4 if one else 0 for one in wanted]
            self._fetched[infohash] = handle = self._session.add_torrent(params)
        except RuntimeError as error:
            raise SessionError(f"libtorrent does not take it: {error}") from error
        return Download(infohash, handle, self._hearing)

    def end_fetch(self, infohash: str) -> None:
        """Stop downloading a torrent; its files stay."""
        self._hearing.forget(infohash)
        self._session.remove_torrent(self._fetched.pop(infohash))

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

    def copies(self, infohash: str) -> int:
        """Count the complete copies of a torrent among its connected peers.

        That is how often its rarest piece is there, in all of them together; libtorrent does not
        count it for a torrent that it has whole.
        """
        peers = self._handles[infohash].get_peer_info()[:_MOST_PEERS]
        return _rarest([bytes(peer.pieces) for peer in peers])

    def limit(self, pace: int | None) -> None:
        """Upload at most ``pace`` bytes per second from now on; None is no limit.

        With 0, no content is sent: peers that were unchoked starve until they are choked, and then
        only messages go, slowly, so that its own downloads go on.  While it fetches, they go from
        the start, and with them what little content there is room for.
        """
        now = time.monotonic()
        if pace != 0:
            self._unchoked_at = now
        # libtorrent means no limit by 0
        rate = 0 if pace is None or pace >= _MOST_RATE else pace
        if pace == 0:
            starve = now - self._unchoked_at < 2 * CHOKE_SECONDS and not self._fetched
            rate = 1 if starve else MESSAGES
        slots = 0 if pace == 0 else UNCHOKED
        self._session.apply_settings({"upload_rate_limit": rate, "unchoke_slots_limit": slots})

    def sent(self) -> int:
        """Count the bytes sent since it was opened: payload, protocol and headers of packets.

        While libtorrent is too busy to tell, it is what it told last.
        """
        return self._hearing.sent()

    def close(self) -> None:
        """End the session; it takes up to a second while trackers are told."""
        self._handles.clear()
        self._fetched.clear()
        self._hearing.close()
        del self._session

    def _limit_everybody(self) -> None:
        everybody = lt.ip_filter()
        limited = 1 << lt.session.global_peer_class_id
        everybody.add_rule("0.0.0.0", "255.255.255.255", limited)  # noqa: S104 - whom, not where
        everybody.add_rule("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", limited)
        self._session.set_peer_class_filter(everybody)

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


def read_params(torrent: bytes, folder: Path, renamed: Sequence[tuple[int, str]]) -> Any:
    """Read a torrent as libtorrent is to add it: running, and without its web seeds.

    Raises:
        RuntimeError: libtorrent cannot read it.
    """
    params = lt.load_torrent_buffer(torrent)
    params.url_seeds = []
    params.http_seeds = []
    params.save_path = str(folder)
    params.renamed_files = dict(renamed)
    params.flags &= ~_HELD_BACK
    return params


def _counters(status: Any) -> Counters:
    counts = (int(status.num_peers), int(status.num_seeds), int(status.total_payload_upload))
    states = lt.torrent_status.states
    if status.errc.value():
        return Counters("error", *counts, status.errc.message())
    # in seed mode it has every piece from the moment it is added
    if status.is_seeding or status.seed_mode:
        return Counters("seeding", *counts)
    if status.state in {states.checking_files, states.checking_resume_data}:
        return Counters("checking", *counts, "a piece did not match; checking all of them")
    good = f"{status.num_pieces} pieces are good"
    return Counters(
        "corrupt", *counts, f"the files do not match the torrent ({good}); verify the shard"
    )


def _rarest(fields: Sequence[bytes]) -> int:
    """Count how often the rarest piece is there, where each field has a 1 for each piece it has.

    Fields of one length are added up as numbers of base 256: for thousands of pieces that takes
    Python no loop.  At most 255 fields can be told apart.
    """
    length = max(map(len, fields), default=0)
    total = sum(int.from_bytes(field) for field in fields if len(field) == length)
    return min(total.to_bytes(length), default=0)
