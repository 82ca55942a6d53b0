"""Carrying a download to its end: looking, dialling, supervising web seeds, telling the client.

Rules this module keeps:

- It goes on as long as the client's connection does, and says several times a second how it is.
- A web seed is asked only at addresses that this site may ask (``FLEET_ALLOW_NETWORKS``).  One
  that is silent for half of ``stall_seconds`` has failed: libtorrent asks nobody else for what was
  asked of it, and a pull gives up after all of them.
- What is said to be finished is on disk, where another process can read it.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Any, Final

from fleet.settings import SiteSettings
from workers.pull.faults import Refused
from workers.pull.web.addresses import check_address
from workers.seeder.control import Link
from workers.seeder.dialling import addresses, resolve
from workers.seeder.download import Download, Look
from workers.seeder.hearing import Heard, Place
from workers.seeder.webseeds import WebSeed, choose, web_seeds

LOOK_SECONDS: Final = 0.2
DIAL_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 60.0
MOST_RATE: Final = 2**31 - 1
# what libtorrent says when it was told to let go, or not to ask for more
_OUR_DOING: Final = {"Operation canceled", "torrent finished", "upload to upload connection"}


class EffortError(Exception):
    """What was asked for cannot be done; the message is the reason."""


class Supervisor:
    """The web seeds of one download, and its peers that lied."""

    def __init__(self, download: Download, settings: SiteSettings, urls: Sequence[str]) -> None:
        """Use none of ``urls`` yet."""
        self.seeds = web_seeds(urls)
        self.fault = ""
        self.evidence = ""
        self._download = download
        self._settings = settings
        self._silent_seconds = settings.stall_seconds / 2
        self._before: Look | None = None
        self._places: dict[str, set[Place]] = {}
        self._used: list[WebSeed] = []
        self._came: dict[str, int] = {}
        self._moved: dict[str, float] = {}
        self._redirected: set[str] = set()

    def note(self, look: Look, now: float) -> None:
        """Take in what was seen and heard since the last time."""
        self._count(look, now)
        for seed in list(self._used):
            self._watch(seed, look, now)
        pieces = sorted({one.piece for one in look.heard if one.kind == "piece"})
        which = f"piece {pieces[0]}" if pieces else "a piece"
        proof = f"{which} does not match the torrent"
        for heard in look.heard:
            # at the end libtorrent lets go of whoever has no more to give
            if heard.kind == "liar" or not look.finished:
                self._hear(heard, proof, now)

    async def choose(self, now: float) -> None:
        """Use the web seeds whose turn it is."""
        unknown = [one for one in self._choose(now) if one.url not in self._places]
        await asyncio.gather(*(self._admit(seed, now) for seed in unknown))
        self._used = [one for one in self._choose(now) if one.url in self._places]
        urls = [seed.url for seed in self._used]
        self._came = {url: self._came.get(url, 0) for url in urls}
        self._moved = {url: self._moved.get(url, now) for url in urls}
        await asyncio.to_thread(self._download.use, urls)

    def _choose(self, now: float) -> list[WebSeed]:
        return choose(self.seeds, now, self._places)

    async def _admit(self, seed: WebSeed, now: float) -> None:
        """Look up where a web seed is; one that may not be asked is refused."""
        host, port = seed.place
        places = await addresses(host, port)
        if not places:
            seed.failed(f"{host} has no address, or its name server does not answer", now)
            return
        try:
            for place in places:
                check_address(host, place[0], self._settings.allow_networks)
        except Refused as error:
            seed.refuse(str(error))
        self._places[seed.url] = set(places)

    def _count(self, look: Look, now: float) -> None:
        """Count what came from each web seed.

        A connection that came and went between two looks was not seen: what one web seed and no
        peer can have brought is its own.
        """
        before, self._before = self._before, look
        left = look.payload - (before.payload if before else 0)
        for seed in self._used:
            web = look.web.get(seed.place)
            if web is not None and web.bytes != self._came[seed.url]:
                # the counter begins anew with a connection
                came = max(0, web.bytes - self._came[seed.url]) or web.bytes
                self._came[seed.url] = web.bytes
                self._moved[seed.url] = now
                seed.came(came)
                left -= came
        if left > 0 and len(self._used) == 1 and not look.peers and not (before and before.peers):
            self._used[0].came(left)

    def _watch(self, seed: WebSeed, look: Look, now: float) -> None:
        """See that nothing comes from a web seed that was asked."""
        web = look.web.get(seed.place)
        waits = web.busy if web is not None else seed.url in self._redirected
        if not waits or look.checking or look.finished:
            self._moved[seed.url] = now
        elif now - self._moved[seed.url] > self._silent_seconds:
            why = "redirects, and nothing came" if seed.url in self._redirected else "no byte came"
            self._fail(seed, f"{why} for {self._silent_seconds:g} s", now)

    def _hear(self, heard: Heard, proof: str, now: float) -> None:
        """Lay what was heard on whom it is about."""
        about = [
            seed
            for seed in self._used
            if seed.url == heard.url or heard.place in self._places[seed.url]
        ]
        if heard.kind == "liar" and not about:
            host, port = heard.place
            self.fault = f"the peer {host}:{port} sent wrong bytes: {proof}"
            self.evidence = proof
        for seed in about:
            if heard.kind == "liar":
                self._convict(seed, heard.place, proof, now)
            elif heard.text == "redirecting":
                self._redirected.add(seed.url)
            elif heard.text not in _OUR_DOING:
                self._fail(seed, heard.text, now)

    def _convict(self, seed: WebSeed, place: Place, proof: str, now: float) -> None:
        """Lay wrong bytes on a web seed; what another at its address may have sent proves nothing.

        libtorrent finds out only later who sent which block of a piece.
        """
        came = {
            one.url for one in self.seeds if one.bytes and place in self._places.get(one.url, ())
        }
        if came <= {seed.url}:
            seed.lied(proof, now)
        else:
            seed.doubted(f"it or another web seed at its address sent wrong bytes: {proof}", now)
        self._used.remove(seed)

    def _fail(self, seed: WebSeed, why: str, now: float) -> None:
        seed.failed(why, now)
        self._used.remove(seed)
        self._redirected.discard(seed.url)


async def carry(
    download: Download, supervisor: Supervisor, peers: Sequence[str], link: Link, **more: Any
) -> dict[str, Any] | None:
    """Carry a download on until it is finished; None if the client has gone before.

    Args:
        download: which.
        supervisor: of its web seeds.
        peers: whom to dial, "host:port".
        link: the client, who is told, and may set a ``limit`` in bytes per second or ``paused``.
        more: what the client is told besides.

    Returns:
        What to tell the client last, once it may rely on it.

    Raises:
        EffortError: it cannot go on.
    """
    wishes, connected = (0, False), set[Place]()
    dialling = asyncio.create_task(_dial(download, peers, connected))
    try:
        while not link.gone.is_set():
            if wishes != (wishes := _wishes(link)):
                await asyncio.to_thread(download.limit, wishes[0])
                await asyncio.to_thread(download.pause, wishes[1])
            look, now = await asyncio.to_thread(download.look), time.monotonic()
            connected.clear()
            connected.update(look.peers)
            supervisor.note(look, now)
            if look.error:
                raise EffortError(f"it cannot be stored: {look.error}")
            if look.finished and not look.checking:
                await _flush(download, link)
                return _progress(look, supervisor, state="done", **more)
            await supervisor.choose(now)
            state = "checking" if look.checking else "fetching"
            await link.tell(_progress(look, supervisor, state=state, **more))
            await link.wait(LOOK_SECONDS)
        return None
    finally:
        dialling.cancel()


async def _dial(download: Download, peers: Sequence[str], connected: Collection[Place]) -> None:
    """Dial the peers that are not connected, again and again, until cancelled."""
    while True:
        lost = [place for place in await resolve(peers) if place not in connected]
        await asyncio.to_thread(download.dial, lost)
        await asyncio.sleep(DIAL_SECONDS)


def _wishes(link: Link) -> tuple[int, bool]:
    """Read what the client wants: its limit (0: none), and whether it is paused."""
    limit = link.said.get("limit")
    if not isinstance(limit, int) or not 0 < limit < MOST_RATE:
        limit = 0
    return limit, link.said.get("paused") is True


async def _flush(download: Download, link: Link) -> None:
    """Wait until everything is written."""
    deadline, again_at = time.monotonic() + FLUSH_SECONDS, 0.0
    while (now := time.monotonic()) < deadline:
        if now >= again_at:  # where much is told, something may be lost
            await asyncio.to_thread(download.flush)
            again_at = now + FLUSH_SECONDS / 10
        look = await asyncio.to_thread(download.look)
        if look.error:
            raise EffortError(f"it cannot be stored: {look.error}")
        if any(one.kind == "flushed" for one in look.heard):
            return
        await link.wait(LOOK_SECONDS / 10)
    raise EffortError(f"the disk did not take it within {FLUSH_SECONDS:g} s")


def _progress(look: Look, supervisor: Supervisor, **more: Any) -> dict[str, Any]:
    return {
        "ok": True,
        "done": look.done,
        "size": look.size,
        "peers": sum(look.peers.values()),
        "payload": look.payload,
        "fault": supervisor.fault,
        "evidence": supervisor.evidence,
        "web": [
            {"url": one.url, "bytes": one.bytes, "error": one.error, "evidence": one.evidence}
            for one in supervisor.seeds
        ],
        **more,
    }
