"""Fetching a shard by BitTorrent, for a pull that asks over the control socket.

``{"do": "fetch", "infohash": …, "peers": ["host:port", …], "want": [[start, end], …]}`` downloads
the pieces with these bytes of the torrent's content; ``limit`` (bytes per second) and ``paused``
may be said at any time, and ``web_seeds`` false leaves the torrent's web seeds alone.  The answers
tell the ``folder`` below the site's root, and last the ``state`` "done"; what was fetched is served
on until the client goes.

Rules this module keeps:

- It is written into ``.staging/btih-<infohash>`` and nowhere else.  Each file is named by where
  its bytes begin in the torrent: no name from outside is used.
- Nothing is kept of a fetch but its files.  The next one checks them against the torrent.
- A talk ends when libtorrent has let go of them: whoever reads them then reads what stays.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleet.messages import Bytes, Sha1
from fleet.settings import SiteSettings
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import ParsedTorrent, parse
from fleet.torrent.pieces import DIGEST_BYTES
from workers.seeder.carry import EffortError, Supervisor, carry
from workers.seeder.centre import CentreAwayError, SeedCentre
from workers.seeder.control import Link
from workers.seeder.desired import RefusedError
from workers.seeder.download import Download
from workers.seeder.keeper import Keeper
from workers.seeder.session import Session, SessionError
from workers.swarm import MOST_PEERS, MOST_SPANS, MOST_WEB_SEEDS, Span, dialled

MOST: Final = 8
LET_GO_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.02

_log = structlog.get_logger()


class Asked(BaseModel):
    """What begins a fetch or a mend; what else the client says are wishes for its course."""

    model_config = ConfigDict(extra="ignore")

    infohash: Sha1
    peers: Annotated[list[str], Field(max_length=MOST_PEERS)] = []
    want: Annotated[list[tuple[Bytes, Bytes]], Field(min_length=1, max_length=MOST_SPANS)]
    ws: Annotated[list[str], Field(max_length=MOST_WEB_SEEDS)] = []
    web_seeds: bool = True


class Efforts:
    """What is being fetched or mended, and never too much of it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._under_way: dict[str, asyncio.Event] = {}  # set once it has ended

    async def begin(self, infohash: str) -> None:
        """Take a place; wait a little for one whose client was killed to let go.

        Raises:
            EffortError: all are taken, or this torrent has one.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LET_GO_SECONDS):
                while infohash in self._under_way:
                    await self._under_way[infohash].wait()
        if infohash in self._under_way:
            raise EffortError("it is being fetched or mended already")
        if len(self._under_way) >= MOST:
            raise EffortError(f"{MOST} torrents are being fetched or mended, and more have to wait")
        self._under_way[infohash] = asyncio.Event()

    def end(self, infohash: str) -> None:
        """Give the place back."""
        self._under_way.pop(infohash).set()


class Fetches:
    """Fetches for one site."""

    def __init__(
        self,
        settings: SiteSettings,
        session: Session,
        centre: SeedCentre,
        keeper: Keeper,
        efforts: Efforts,
    ) -> None:
        """Fetch into the staging folder of the site that ``settings`` describe."""
        self._settings = settings
        self._session = session
        self._centre = centre
        self._keeper = keeper
        self._efforts = efforts

    async def fetch(self, link: Link) -> None:
        """Hold the talk of one fetch."""
        try:
            asked = read_asked(link)
            await self._efforts.begin(asked.infohash)
        except EffortError as error:
            await link.tell({"ok": False, "error": str(error)})
            return
        try:
            await self._fetch(asked, link)
        except (EffortError, SessionError, OSError) as error:
            _log.warning("not fetched", infohash=asked.infohash, reason=str(error))
            await link.tell({"ok": False, "error": str(error)})
        finally:
            self._efforts.end(asked.infohash)

    async def _fetch(self, asked: Asked, link: Link) -> None:
        if await asyncio.to_thread(self._keeper.seeds, asked.infohash):
            raise EffortError("it lies here already, and is being seeded: nothing is to be fetched")
        torrent, parsed = await get_torrent(self._centre, asked.infohash)
        folder = f".staging/btih-{asked.infohash}"
        place = self._settings.store_root / folder
        place.mkdir(parents=True, exist_ok=True)
        wanted = wanted_pieces(asked.want, parsed)
        download = self._session.fetch(asked.infohash, torrent, place, names(parsed), wanted)
        try:
            urls = parsed.web_seeds if asked.web_seeds else ()
            supervisor = Supervisor(download, self._settings, urls)
            done = await carry(download, supervisor, dialled(asked.peers), link, folder=folder)
            if done is not None:
                await link.tell(done)
                _log.info("fetched", infohash=asked.infohash)
                await link.gone.wait()
        finally:
            try:
                await _let_go(download)
            finally:
                self._session.end_fetch(asked.infohash)


async def _let_go(download: Download) -> None:
    """Stop a download, and wait until all that was under way is written."""
    await asyncio.to_thread(download.stop)
    again_at = 0.0
    while True:
        if (now := time.monotonic()) >= again_at:  # where much is told, something may be lost
            await asyncio.to_thread(download.flush)
            again_at = now + FLUSH_SECONDS
        look = await asyncio.to_thread(download.look)
        if any(one.kind == "flushed" for one in look.heard):
            return
        await asyncio.sleep(LOOK_SECONDS)


def read_asked(link: Link) -> Asked:
    """Read how a talk began.

    Raises:
        EffortError: it is malformed.
    """
    try:
        return Asked.model_validate(link.said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EffortError(f"what was asked is malformed: {where}: {first['msg']}") from error


async def get_torrent(centre: SeedCentre, infohash: str) -> tuple[bytes, ParsedTorrent]:
    """Have the centre give a torrent.

    Raises:
        EffortError: it does not, or not this one.
    """
    try:
        torrent = await centre.torrent(infohash)
        parsed = parse(torrent)
    except (CentreAwayError, RefusedError, MetainfoError) as error:
        raise EffortError(f"its torrent cannot be had: {error}") from error
    if parsed.infohash != infohash:
        raise EffortError(f"the centre sent the torrent {parsed.infohash} in its place")
    return torrent, parsed


def names(parsed: ParsedTorrent) -> list[tuple[int, str]]:
    """Name each file by where it begins; empty ones, which begin where another does, apart."""
    begins = accumulate((size for _, size in parsed.files), initial=0)
    return [
        (number, str(begin) if size else f"empty-{number}")
        for number, ((_, size), begin) in enumerate(zip(parsed.files, begins, strict=False))
    ]


def wanted_pieces(spans: Sequence[Span], parsed: ParsedTorrent) -> list[bool]:
    """Say of each piece whether a byte of ``spans`` is in it.

    Raises:
        EffortError: the torrent has no such bytes.
    """
    wanted = [False] * (len(parsed.pieces) // DIGEST_BYTES)
    for start, end in spans:
        if not start < end <= parsed.size:
            raise EffortError(f"it has no bytes {start} to {end}: it is {parsed.size} bytes long")
        first, last = start // parsed.piece_length, (end - 1) // parsed.piece_length
        wanted[first : last + 1] = [True] * (last + 1 - first)
    return wanted
