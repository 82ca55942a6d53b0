"""Mending a torrent where it lies, for a verify that asks over the control socket.

``{"do": "mend", …}`` is asked as a fetch is; ``want`` names the bytes that are doubted, and ``ws``
the web seeds: those of the torrent may be of this very site, whose door gives the bad bytes.  The
answers tell how many pieces do not match, ``mended``, and which bytes are ``written``, and last the
``state`` "done".

Rules this module keeps:

- Only bytes of pieces that were read and did not match are written, and nothing else below the
  site's root.  Whether they are right then is for the verify to say.
- All other pieces are served meanwhile.  They are not checked again: the verify has read them.
- Whenever it ends, the torrent is seeded on with what is good of it.
"""

import asyncio
import errno
import hashlib
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Final

import structlog

from fleet.settings import SiteSettings
from fleet.torrent.parsed import ParsedTorrent
from fleet.torrent.pieces import DIGEST_BYTES
from workers.seeder.carry import EffortError, Supervisor, carry
from workers.seeder.centre import SeedCentre
from workers.seeder.control import Link
from workers.seeder.fetches import Asked, Efforts, get_torrent, read_asked, wanted_pieces
from workers.seeder.keeper import Keeper, NotReadyError
from workers.seeder.session import Session, SessionError
from workers.swarm import dialled, joined

BLOCK: Final = 1024 * 1024
TELL_SECONDS: Final = 1.0

_log = structlog.get_logger()


class Mender:
    """Mends for one site."""

    def __init__(
        self,
        settings: SiteSettings,
        session: Session,
        centre: SeedCentre,
        keeper: Keeper,
        efforts: Efforts,
    ) -> None:
        """Mend what ``keeper`` has seeded in ``session``."""
        self._settings = settings
        self._session = session
        self._centre = centre
        self._keeper = keeper
        self._efforts = efforts

    async def mend(self, link: Link) -> None:
        """Hold the talk of one mend."""
        try:
            asked = read_asked(link)
            await self._efforts.begin(asked.infohash)
        except EffortError as error:
            await link.tell({"ok": False, "error": str(error)})
            return
        try:
            await self._mend(asked, link)
        except (EffortError, NotReadyError, SessionError, OSError) as error:
            _log.warning("not mended", infohash=asked.infohash, reason=str(error))
            await link.tell({"ok": False, "error": str(error)})
        finally:
            self._efforts.end(asked.infohash)

    async def _mend(self, asked: Asked, link: Link) -> None:
        wanted, places = await asyncio.to_thread(self._keeper.lend, asked.infohash)
        try:
            if wanted.renamed:
                raise EffortError("a torrent that others made is not mended")
            torrent, parsed = await get_torrent(self._centre, asked.infohash)
            doubted = wanted_pieces(asked.want, parsed)
            failed = await _failed(parsed, places, doubted, link)
            if link.gone.is_set():
                return
            if not failed:
                await link.tell(_NOTHING | {"state": "done"})
                return
            await asyncio.to_thread(self._keeper.reopen, asked.infohash, torrent, failed)
            try:
                await self._carry(asked, parsed, failed, link)
            finally:
                self._session.end_mend(asked.infohash)
        finally:
            # at once, though it may wait for a round of the keeper's
            self._keeper.take_back(asked.infohash)

    async def _carry(
        self, asked: Asked, parsed: ParsedTorrent, failed: Sequence[int], link: Link
    ) -> None:
        download = self._session.mend(asked.infohash)
        urls = asked.ws if asked.web_seeds else ()
        supervisor = Supervisor(download, self._settings, urls)
        length, peers = parsed.piece_length, dialled(asked.peers)
        written = joined((at * length, min((at + 1) * length, parsed.size)) for at in failed)
        if await carry(download, supervisor, peers, link, mended=len(failed), written=written):
            _log.info("mended", infohash=asked.infohash, pieces=len(failed))


_NOTHING = {"ok": True, "done": 0, "size": 0, "peers": 0, "payload": 0}


async def _failed(
    parsed: ParsedTorrent, places: Sequence[str], doubted: Sequence[bool], link: Link
) -> list[int]:
    """Read the doubted pieces, and name those that do not match; stop once the client has gone."""
    failed: list[int] = []
    told = 0.0
    begins = list(accumulate((size for _, size in parsed.files), initial=0))
    for piece in (number for number, doubt in enumerate(doubted) if doubt):
        if link.gone.is_set():
            break
        if time.monotonic() - told > TELL_SECONDS:
            told = time.monotonic()
            await link.tell(_NOTHING | {"state": "checking"})
        if not await asyncio.to_thread(_matches, parsed, begins, places, piece):
            failed.append(piece)
    return failed


def _matches(
    parsed: ParsedTorrent, begins: Sequence[int], places: Sequence[str], piece: int
) -> bool:
    """Read one piece from the files it lies in, and compare its hash."""
    at = piece * parsed.piece_length
    end = min(at + parsed.piece_length, parsed.size)
    hasher = hashlib.sha1(usedforsecurity=False)
    file = bisect_right(begins, at) - 1
    while at < end:
        stop = min(end, begins[file + 1])
        if at < stop:
            _read(Path(places[file]), at - begins[file], stop - begins[file], hasher.update)
        at, file = stop, file + 1
    return hasher.digest() == parsed.pieces[piece * DIGEST_BYTES : (piece + 1) * DIGEST_BYTES]


def _read(place: Path, start: int, end: int, take: Callable[[bytes], None]) -> None:
    """Give a part of a file; what the disk cannot read is not given, and so does not match."""
    with place.open("rb", buffering=0) as file:
        while start < end:
            try:
                block = os.pread(file.fileno(), min(BLOCK, end - start), start)
            except OSError as error:
                if error.errno == errno.EIO:
                    return
                raise
            if not block:
                return
            take(block)
            start += len(block)
