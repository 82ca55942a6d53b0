"""Fetching for one person: what a site's seeder does for a pull, without a site or a centre.

Rules this module keeps:

- It is asked over a socket of its own, as a seeder is: a pull cannot tell the two apart.
- Nobody finds it: it listens nowhere and uploads no content.  It dials the peers that it is told
  of and those that the trackers name, and none whose address may not be asked.
- A torrent counts only by its infohash: one that nobody gave is asked of the peers (BEP 9).
"""

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fleet.settings import SiteSettings
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import ParsedTorrent, parse
from workers.seeder.apart import Apart, Reach
from workers.seeder.carry import EffortError, Supervisor, carry
from workers.seeder.control import Link, answer, bind, socket_path
from workers.seeder.dialling import resolve
from workers.seeder.fetches import Asked, names, read_asked, wanted_pieces
from workers.seeder.hearsay import Hearsay
from workers.seeder.session import SessionError
from workers.swarm import dialled

TELL_SECONDS: Final = 0.5
READY_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a torrent: the file itself, if somebody gave it, and its trackers."""

    torrent: bytes = b""
    trackers: tuple[str, ...] = ()


class Lone:
    """A seeder that only fetches, in a thread of its own; use it as a context manager.

    Attributes:
        settings: those to pull with.
    """

    def __init__(self, settings: SiteSettings, known: Mapping[str, Known]) -> None:
        """Fetch the torrents that are ``known``, by their infohashes, below the site's root."""
        self._home = Path(tempfile.mkdtemp(prefix="fleet-"))  # a socket's path has to be short
        root = {"home": self._home, "root": settings.store_root}
        self.settings = settings.model_copy(update=root)
        self._known = known
        self._over = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lone", daemon=True)

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        self._ready.wait(READY_SECONDS)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Let go of everything."""
        with contextlib.suppress(RuntimeError):  # it could not begin
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        shutil.rmtree(self._home, ignore_errors=True)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            path = socket_path(self.settings)
            path.parent.mkdir(parents=True)
            listener = bind(path)
        except (OSError, ValueError):
            return  # whoever asks hears that nobody answers
        finally:
            self._ready.set()
        serving = asyncio.create_task(answer(listener, {}, {"fetch": self._talk}))
        await self._over.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    async def _talk(self, link: Link) -> None:
        """Hold the talk of one fetch."""
        try:
            asked = read_asked(link)
            known = self._known.get(asked.infohash, Known())
            reach = Reach(known.trackers, self.settings.allow_networks)
            found = await self._torrent(asked, known, reach, link)
            if found is not None:
                await self._fetch(asked, *found, reach, link)
        except (EffortError, SessionError, OSError) as error:
            await link.tell({"ok": False, "error": str(error)})

    async def _torrent(
        self, asked: Asked, known: Known, reach: Reach, link: Link
    ) -> tuple[bytes, ParsedTorrent] | None:
        """Return the torrent, of whoever has it; None if the client has gone before."""
        torrent = known.torrent or await self._heard(asked, reach, link)
        if not torrent:
            return None
        try:
            parsed = parse(torrent)
        except MetainfoError as error:
            raise EffortError(f"its torrent is of no use: {error}") from error
        if parsed.infohash != asked.infohash:
            raise EffortError(f"the torrent {parsed.infohash} came in its place")
        return torrent, parsed

    async def _heard(self, asked: Asked, reach: Reach, link: Link) -> bytes:
        """Ask the peers for a torrent; empty if the client has gone before."""
        peers = await resolve(dialled(asked.peers))
        hearsay = await asyncio.to_thread(Hearsay, asked.infohash, self._home, reach)
        try:
            while not link.gone.is_set():
                if torrent := await asyncio.to_thread(hearsay.ask, peers):
                    return torrent
                await link.tell({"ok": True, "state": "fetching"})
                await link.wait(TELL_SECONDS)
        finally:
            await asyncio.to_thread(hearsay.close)
        return b""

    async def _fetch(
        self, asked: Asked, torrent: bytes, parsed: ParsedTorrent, reach: Reach, link: Link
    ) -> None:
        folder = f".staging/btih-{asked.infohash}"
        place = self.settings.store_root / folder
        place.mkdir(parents=True, exist_ok=True)
        wanted = wanted_pieces(asked.want, parsed)
        apart = await asyncio.to_thread(
            Apart, asked.infohash, torrent, place, names(parsed), wanted, reach
        )
        try:
            supervisor = Supervisor(apart.download, self.settings, ())
            done = await carry(
                apart.download, supervisor, dialled(asked.peers), link, folder=folder
            )
            if done is not None:
                await link.tell(done)
                await link.gone.wait()
        finally:
            await asyncio.to_thread(apart.close)
