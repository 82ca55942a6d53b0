"""Mending a torrent where it lies, for a verify that asks over the control socket.

``{"do": "mend", …}`` is asked as a fetch is; ``want`` names the bytes that are doubted, and ``ws``
the web seeds: those of the torrent may be of this very site, whose door gives the bad bytes.  The
answers tell how many pieces do not match, ``mended``, and which bytes may be ``written``, and last
the ``state`` "done".

Rules this module keeps:

- The failed pieces are fetched into a staging folder, by a session of their own.  Each is read
  back from there and its hash compared; only then are its bytes written where they belong.
- Only bytes that are doubted are written: a sound file that shares a failed piece is not touched.
- All other pieces are served meanwhile.  They are not checked again: the verify has read them.
- Whenever it ends, the torrent is seeded on with what is good of it.  Whether its files are right
  is for the verify to say.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from fleet.settings import SiteSettings
from fleet.torrent.parsed import ParsedTorrent
from workers.seeder.apart import Apart
from workers.seeder.carry import EffortError, Supervisor, carry
from workers.seeder.centre import SeedCentre
from workers.seeder.control import Answer, Link
from workers.seeder.fetches import Asked, Efforts, get_torrent, names, read_asked, wanted_pieces
from workers.seeder.keeper import Keeper, NotReadyError
from workers.seeder.pieces import Pieces, within
from workers.seeder.session import SessionError
from workers.storage.posix import PosixStorage
from workers.swarm import dialled, joined

TELL_SECONDS: Final = 1.0

_log = structlog.get_logger()
_NOTHING: Final = {"ok": True, "done": 0, "size": 0, "peers": 0, "payload": 0}


@dataclass(frozen=True, slots=True)
class _Job:
    """One mend.

    Attributes:
        pieces: those of the torrent, where they belong.
        failed: the numbers of those that do not match.
    """

    asked: Asked
    link: Link
    torrent: bytes
    parsed: ParsedTorrent
    pieces: Pieces
    failed: Sequence[int]


class Mender:
    """Mends for one site."""

    def __init__(
        self, settings: SiteSettings, centre: SeedCentre, keeper: Keeper, efforts: Efforts
    ) -> None:
        """Mend what ``keeper`` has seeded."""
        self._settings = settings
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
            pieces = Pieces(parsed, places)
            failed = await _failed(pieces, wanted_pieces(asked.want, parsed), link)
            if link.gone.is_set():
                return
            if not failed:
                await link.tell(_NOTHING | {"state": "done"})
                return
            await asyncio.to_thread(self._keeper.reopen, asked.infohash, torrent, failed)
            done = await self._anew(_Job(asked, link, torrent, parsed, pieces, failed))
            if done is not None:
                await asyncio.to_thread(self._keeper.reopen, asked.infohash, torrent, ())
                _log.info("mended", infohash=asked.infohash, pieces=len(failed))
                await link.tell(done)
        finally:
            # at once, though it may wait for a round of the keeper's
            self._keeper.take_back(asked.infohash)

    async def _anew(self, job: _Job) -> Answer | None:
        """Fetch the failed pieces and write them; None if the client has gone before."""
        storage = PosixStorage(self._settings.store_root)
        room = sum(end - start for start, end in map(job.pieces.span, job.failed))
        if room > storage.free():
            raise EffortError(f"there is no room to stage the {room} bytes of its failed pieces")
        with storage.scratch() as folder:
            done = await self._fetch(job, folder)
            if done is None or not await _write(job, done, folder):
                return None
        return done

    async def _fetch(self, job: _Job, folder: Path) -> Answer | None:
        """Fetch the failed pieces into ``folder``, where nothing is written any more after it."""
        asked, failed = job.asked, set(job.failed)
        lacking = [piece in failed for piece in range(job.pieces.count)]
        apart = await asyncio.to_thread(
            Apart, asked.infohash, job.torrent, folder, names(job.parsed), lacking
        )
        try:
            urls = asked.ws if asked.web_seeds else ()
            supervisor = Supervisor(apart.download, self._settings, urls)
            runs = [
                run for piece in job.failed for run in within(asked.want, job.pieces.span(piece))
            ]
            more = {"mended": len(job.failed), "written": joined(runs)}
            return await carry(apart.download, supervisor, dialled(asked.peers), job.link, **more)
        finally:
            await asyncio.to_thread(apart.close)


async def _failed(pieces: Pieces, doubted: Sequence[bool], link: Link) -> list[int]:
    """Read the doubted pieces, and name those that do not match; stop once the client has gone."""
    failed: list[int] = []
    told = 0.0
    for piece in (number for number, doubt in enumerate(doubted) if doubt):
        if link.gone.is_set():
            break
        told = await _tell(link, _NOTHING, told)
        if await asyncio.to_thread(pieces.read, piece) is None:
            failed.append(piece)
    return failed


async def _write(job: _Job, done: Answer, folder: Path) -> bool:
    """Write what was staged in ``folder``, piece by piece; False if the client has gone before.

    Raises:
        EffortError: a piece that was staged does not match.
    """
    staged = Pieces(job.parsed, [str(folder / name) for _, name in names(job.parsed)])
    told = 0.0
    for piece in job.failed:
        if job.link.gone.is_set():
            return False
        told = await _tell(job.link, done, told)
        data = await asyncio.to_thread(staged.read, piece)
        if data is None:
            raise EffortError(f"piece {piece} was fetched, and is not what was staged")
        await asyncio.to_thread(job.pieces.write, piece, data, job.asked.want)
    return True


async def _tell(link: Link, answer: Answer, told: float) -> float:
    """Tell the client that its disk is busy, if it was told that a while ago; give when it was."""
    now = time.monotonic()
    if now - told <= TELL_SECONDS:
        return told
    await link.tell(answer | {"state": "checking"})
    return now
