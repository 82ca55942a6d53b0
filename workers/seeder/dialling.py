"""Whom to dial, and when.

A site without an inbound port is found by nobody: it dials those that can be dialled.

Rules this module keeps:

- A torrent is dialled for at once when its peers are new, and then, while it has none connected,
  once in ``AGAIN_SECONDS``; at most ``AT_ONCE`` torrents in a round.
- A name that does not resolve is nobody's trouble but its own: names are looked up by few threads
  that do nothing else, for ``LOOKUP_SECONDS``, and not at once again.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Final

from fleet.messages import Seed
from workers.seeder.hearing import Place
from workers.seeder.session import Session
from workers.swarm import address, dialled

ROUND_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 20.0
AT_ONCE: Final = 50
LOOKUP_SECONDS: Final = 4.0
FAILED_SECONDS: Final = 10.0
"""For how long a name that did not resolve is taken to have no address."""

# a dead resolver keeps a thread for many seconds, and the loop's own are for the door and the disk
_threads: Final = ThreadPoolExecutor(2, thread_name_prefix="names")
_failed: Final[dict[str, float]] = {}


class Rounds:
    """When each torrent was last dialled for: pure."""

    def __init__(self) -> None:
        """Begin with nobody dialled."""
        self._dialled: dict[str, tuple[tuple[str, ...], float]] = {}

    def next(self, peers: Mapping[str, tuple[str, ...]], now: float) -> list[str]:
        """Choose the torrents to dial for now, those that waited longest first.

        Args:
            peers: whom to dial, by infohash; no entry where there is nobody.
            now: in seconds.
        """
        self._dialled = {
            infohash: before
            for infohash, before in self._dialled.items()
            if peers.get(infohash) == before[0]
        }
        due = [(self._due(infohash), infohash) for infohash in peers]
        chosen = [infohash for at, infohash in sorted(due) if at <= now][:AT_ONCE]
        self._dialled |= {infohash: (peers[infohash], now) for infohash in chosen}
        return chosen

    def _due(self, infohash: str) -> float:
        before = self._dialled.get(infohash)
        return before[1] + AGAIN_SECONDS if before else float("-inf")


async def dial_seeds(session: Session, desired: Callable[[], Mapping[str, Seed]]) -> None:
    """Dial the peers of what is seeded, until cancelled."""
    rounds = Rounds()
    while True:
        seeds = desired()
        peers = {
            infohash: seed.peers
            for infohash, seed in seeds.items()
            if seed.peers and session.seeds(infohash)
        }
        found: dict[tuple[str, ...], list[Place]] = {}  # most have the same peers
        for infohash in rounds.next(peers, time.monotonic()):
            who = peers[infohash]
            if who not in found:
                found[who] = await resolve(dialled(who))
            await asyncio.to_thread(session.dial, infohash, found[who])
        await asyncio.sleep(ROUND_SECONDS)


async def resolve(peers: Iterable[str]) -> list[Place]:
    """Look up the addresses of peers; those that have none are left out."""
    hosts = [found for found in map(address, peers) if found is not None]
    answers = await asyncio.gather(*(addresses(*host) for host in hosts))
    return list(dict.fromkeys(place for places in answers for place in places))


async def addresses(host: str, port: int) -> list[Place]:
    """Look up the addresses of a host; none if it has none, or they are not found in time."""
    with contextlib.suppress(ValueError):
        return [(str(ip_address(host)), port)]
    now, begun = time.monotonic(), threading.Event()
    for name in [name for name, until in _failed.items() if until <= now]:
        del _failed[name]
    if host in _failed:
        return []

    def look() -> list[Place]:
        begun.set()
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(str(where[0]), int(where[1])) for *_, where in found]

    looking = asyncio.get_running_loop().run_in_executor(_threads, look)
    try:
        return await asyncio.wait_for(looking, LOOKUP_SECONDS)
    except (OSError, UnicodeError):
        if begun.is_set():  # who only waited for a thread has not failed
            _failed[host] = time.monotonic() + FAILED_SECONDS
        return []
