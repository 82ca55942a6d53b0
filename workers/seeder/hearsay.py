"""A torrent that is had from its peers, by its infohash alone (BEP 9).

libtorrent checks what they send against the infohash; nothing is downloaded but the ``info``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import libtorrent as lt

from fleet.torrent.parsed import MAX_TORRENT
from workers.seeder.apart import Reach, outward
from workers.seeder.hearing import Place

_SETTINGS: Final[Any] = {"max_metadata_size": MAX_TORRENT}


class Hearsay:
    """The search for one torrent; whoever makes it closes it."""

    def __init__(self, infohash: str, folder: Path, reach: Reach) -> None:
        """Ask those who are within ``reach``; ``folder`` stays as it is."""
        self._session = outward(reach)
        self._session.apply_settings(_SETTINGS)
        self._session.add_extension("ut_metadata")
        params = lt.add_torrent_params()
        params.info_hashes = lt.info_hash_t(lt.sha1_hash(bytes.fromhex(infohash)))
        params.save_path = str(folder)
        params.trackers = list(reach.trackers)
        params.flags = lt.torrent_flags.upload_mode
        self._handle: Any = self._session.add_torrent(params)

    def ask(self, peers: Sequence[Place]) -> bytes:
        """Dial peers, unless they are connected; give the torrent once it came."""
        for peer in peers:
            self._handle.connect_peer(peer, lt.peer_info.tracker)
        found = self._handle.torrent_file()
        if found is None:
            return b""
        return b"d4:info" + bytes(found.info_section()) + b"e"

    def close(self) -> None:
        """End the session, and wait until it has ended."""
        del self._handle
        del self._session
