"""Downloading one torrent from named peers, and proving it on disk.

Rules this module keeps:

- Nobody but the named peers is asked: no web seeds, trackers, DHT, peer exchange or incoming
  connections.
- A download counts only after every piece has been read back from disk and matches.
"""

import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import libtorrent as lt

from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import ParsedTorrent, parse
from fleet.torrent.pieces import PieceHasher

_SETTINGS: Final[Any] = {
    "listen_interfaces": "0.0.0.0:0,[::]:0",
    "enable_incoming_tcp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    # peers are connected to on a tick, and there is nothing else to wait for
    "tick_interval": 100,
    "alert_mask": int(lt.alert.category_t.status_notification),
}
_ALONE: Final = (
    lt.torrent_flags.disable_dht | lt.torrent_flags.disable_lsd | lt.torrent_flags.disable_pex
)
_HELD_BACK: Final = lt.torrent_flags.auto_managed | lt.torrent_flags.paused
_LOOK_MILLISECONDS: Final = 100
_READ: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a download came to.

    Attributes:
        ok: whether all of it is on disk and was verified there.
        bytes_from_peers: payload bytes that BitTorrent peers sent.
        bytes_from_web_seeds: payload bytes that web servers sent, as libtorrent counted them.
        seconds: from the first connection to the last verified byte.
        reason: why it failed; empty if it did not.
    """

    ok: bool
    bytes_from_peers: int
    bytes_from_web_seeds: int
    seconds: float
    reason: str = ""


def fetch(
    torrent: bytes, folder: Path, peers: Sequence[tuple[str, int]], *, timeout: float
) -> FetchReport:
    """Download a torrent into ``folder`` from ``peers`` alone.

    What is there already is checked and kept, so a download that failed can be taken up again.

    Args:
        torrent: the ``.torrent`` file.
        folder: where to save; it is made if it is not there.
        peers: host and port of each peer.
        timeout: seconds after which to give up.
    """
    started = time.monotonic()
    from_peers, from_web = 0, 0
    try:
        parsed = parse(torrent)
        folder.mkdir(parents=True, exist_ok=True)
        reason, from_peers, from_web = _download(torrent, folder, peers, started + timeout)
        reason = reason or differs(parsed, folder)
    except (MetainfoError, OSError, RuntimeError) as error:
        reason = str(error)
    return FetchReport(
        ok=not reason,
        bytes_from_peers=from_peers,
        bytes_from_web_seeds=from_web,
        seconds=time.monotonic() - started,
        reason=reason,
    )


def _download(
    torrent: bytes, folder: Path, peers: Sequence[tuple[str, int]], deadline: float
) -> tuple[str, int, int]:
    """Download; return why that failed, and the payload bytes from peers and from web seeds.

    Raises:
        OSError: a peer's name has no address.
        RuntimeError: libtorrent does not take the torrent.
    """
    session = lt.session(_SETTINGS)
    params = lt.load_torrent_buffer(torrent)
    params.url_seeds = []
    params.http_seeds = []
    params.trackers = []
    params.peers = [
        (str(found[4][0]), port)
        for host, port in peers
        for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    ]
    params.save_path = str(folder)
    params.flags = (params.flags | _ALONE) & ~_HELD_BACK
    handle = session.add_torrent(params)
    web: dict[Any, int] = {}
    while True:
        session.wait_for_alert(_LOOK_MILLISECONDS)
        session.pop_alerts()
        for peer in handle.get_peer_info():
            if peer.connection_type != lt.peer_info.standard_bittorrent:
                web[peer.ip] = peer.total_download
        status = handle.status()
        reason = _fault(status, deadline)
        if status.is_seeding or reason:
            # the session ends with this call; only then is everything on disk
            from_web = sum(web.values())
            return reason, status.total_payload_download - from_web, from_web


def _fault(status: Any, deadline: float) -> str:
    if status.errc.value():
        return str(status.errc.message())
    if time.monotonic() > deadline and not status.is_seeding:
        return (
            f"gave up with {status.total_wanted_done} of {status.total_wanted} bytes "
            f"and {status.num_peers} peers connected"
        )
    return ""


def differs(parsed: ParsedTorrent, folder: Path) -> str:
    """Read a torrent's content back from ``folder``; say what is wrong with it, if anything.

    Raises:
        OSError: a file cannot be read.
    """
    hasher = PieceHasher(parsed.piece_length)
    buffer = bytearray(_READ)
    view = memoryview(buffer)
    for index, (path, _) in enumerate(parsed.content):
        if index in parsed.padding:
            return f"{path!r} is padding, which no torrent of the fleet has"
        with (folder / path).open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                hasher.update(view[:count])
    return "" if hasher.finish() == parsed.pieces else "what is on disk does not match the torrent"
