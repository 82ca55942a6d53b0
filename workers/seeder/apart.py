"""A download in a session of its own, apart from the one that serves the same torrent.

Rules this module keeps:

- It is found by nobody: it dials the peers and asks the web seeds that it is told of, listens
  nowhere and announces itself to no tracker.
- It uploads no content, so that the site's upload caps need not know of it.
- What it writes is a copy in a folder of its own, and is as good as its sources: libtorrent writes
  blocks before it has checked their piece.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import libtorrent as lt

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


class Apart:
    """One download and its session; closed, nothing is written any more."""

    def __init__(
        self,
        infohash: str,
        torrent: bytes,
        folder: Path,
        renamed: Sequence[tuple[int, str]],
        wanted: Sequence[bool],
    ) -> None:
        """Download the ``wanted`` pieces of a torrent into ``folder``.

        Raises:
            SessionError: libtorrent does not take it.
        """
        self._session: Any = lt.session(_SETTINGS, flags=0)
        self._session.add_extension("smart_ban")
        self._hearing = Hearing(self._session)
        try:
            params = read_params(torrent, folder, renamed)
            params.trackers = []
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
