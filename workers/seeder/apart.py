"""A download in a session of its own, apart from the one that serves the same torrent.

Rules this module keeps:

- It is found by nobody: it listens nowhere, dials the peers that it is told of, and asks the web
  seeds and trackers that it is given.
- Where its reach is bounded it connects to no address beyond, whoever named that.
- It uploads no content, so that the site's upload caps need not know of it.
- What it writes is a copy in a folder of its own, and is as good as its sources: libtorrent writes
  blocks before it has checked their piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import libtorrent as lt

from fleet.planning.addresses import Network
from workers.seeder.download import Download
from workers.seeder.hearing import Hearing
from workers.seeder.session import SETTINGS, SessionError, read_params

_SETTINGS: Final[Any] = {
    **SETTINGS,
    "listen_interfaces": "0.0.0.0:0,[::]:0",
    "enable_incoming_tcp": False,
    "enable_incoming_utp": False,
    "enable_dht": False,
    "enable_lsd": False,
    "unchoke_slots_limit": 0,
}
_PRIVATE: Final = (
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "::/3", "2001::/23", "2001:db8::/32"),
    *("2002::/16", "3ffe::/16", "4000::/2", "8000::/1"),
)
"""All that is no public address of a host (IANA's special-purpose registries)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom a session may turn to: trackers, and networks besides the public ones."""

    trackers: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()


def outward(reach: Reach | None) -> Any:
    """Open a session that nobody finds; without a ``reach`` it may dial any address."""
    session = lt.session(_SETTINGS, flags=0)
    if reach is not None:
        bounds = lt.ip_filter()
        for network in map(ip_network, _PRIVATE):
            bounds.add_rule(str(network[0]), str(network[-1]), 1)
        for allowed in reach.networks:
            bounds.add_rule(str(allowed[0]), str(allowed[-1]), 0)
        session.set_ip_filter(bounds)
    return session


class Apart:
    """One download and its session; closed, nothing is written any more."""

    def __init__(
        self,
        infohash: str,
        torrent: bytes,
        folder: Path,
        renamed: Sequence[tuple[int, str]],
        wanted: Sequence[bool],
        reach: Reach | None = None,
    ) -> None:
        """Download the ``wanted`` pieces of a torrent into ``folder``, within ``reach``.

        Raises:
            SessionError: libtorrent does not take it.
        """
        self._session: Any = outward(reach)
        self._session.add_extension("smart_ban")
        self._hearing = Hearing(self._session)
        try:
            params = read_params(torrent, folder, renamed)
            params.trackers = list(reach.trackers) if reach else []
            params.piece_priorities = [4 if one else 0 for one in wanted]
            handle = self._session.add_torrent(params)
        except RuntimeError as error:
            self.close()
            raise SessionError(f"libtorrent does not take it: {error}") from error
        self.download = Download(infohash, handle, self._hearing)

    def close(self) -> None:
        """End the session, and wait until it has ended."""
        self._hearing.close()
        del self._session
