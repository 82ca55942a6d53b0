"""Which web seeds of a download to use now: pure.

libtorrent gives a web seed up for ever at its first error, and asks one that lies for ever.  So
what is in use is decided here.

Decisions this module takes:

- One that failed rests, longer each time; what it asked for (``Retry-After``) is not told.  One
  that fails ``TRIES`` times in a row without a byte is left alone for the rest of the download.
- One that sent wrong bytes twice is left alone for good: once may be what went wrong on the way.
- At most ``AT_ONCE`` are in use, as many as libtorrent connects to: those with the fewest lies and
  failures first, so that who comes back takes no better one's place, then the first listed; and
  only one of each host and port, and of each address, so that what is heard of that can be laid
  on it.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

MOST = 16
AT_ONCE = 3
TRIES = 4
LIES = 2
FIRST_WAIT = 1.0
LONGEST_WAIT = 300.0
MAX_URL = 1024
MAX_TEXT = 200

_dice = random.SystemRandom()
_PORTS = {"http": 80, "https": 443}


@dataclass
class WebSeed:
    """One web seed.

    Attributes:
        url: its address.
        place: its host and port.
        bytes: payload bytes that it sent.
        gained: how many of them since it last failed.
        strikes: failures in a row without a byte.
        lies: how often it sent wrong bytes.
        ready_at: when it may be used again.
        out: it is left alone for the rest of the download.
        error: how it failed last.
        evidence: the proof that it sent wrong bytes.
    """

    url: str
    place: tuple[str, int]
    bytes: int = 0
    gained: int = 0
    strikes: int = 0
    lies: int = 0
    ready_at: float = 0.0
    out: bool = False
    error: str = ""
    evidence: str = ""

    def came(self, count: int) -> None:
        """Count payload bytes."""
        self.bytes += count
        self.gained += count

    def failed(self, error: str, now: float) -> None:
        """Let it rest after a failure, or leave it alone."""
        self.error = error[:MAX_TEXT]
        self.strikes = 1 if self.gained else self.strikes + 1
        self.gained = 0
        self.out = self.out or self.strikes >= TRIES
        self._rest(self.strikes, now)

    def lied(self, evidence: str, now: float) -> None:
        """Let it rest after wrong bytes, or leave it alone; they count for nothing."""
        self.doubted(f"it sent wrong bytes: {evidence}", now)
        self.evidence = evidence[:MAX_TEXT]

    def doubted(self, error: str, now: float) -> None:
        """Let it rest, or leave it alone, for wrong bytes that may be another's: no evidence."""
        self.error = error[:MAX_TEXT]
        self.gained = 0
        self.lies += 1
        self.out = self.out or self.lies >= LIES
        self._rest(self.lies, now)

    def refuse(self, error: str) -> None:
        """Never use it."""
        self.error, self.out = error[:MAX_TEXT], True

    def _rest(self, times: int, now: float) -> None:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (times - 1))
        self.ready_at = now + wait * _dice.uniform(0.5, 1.0)


def web_seeds(urls: Sequence[str]) -> list[WebSeed]:
    """Make the web seeds of a torrent; what is no HTTP address is left out."""
    found: dict[str, WebSeed] = {}
    for url in urls:
        place = _place(url)
        if place is not None and len(found) < MOST:
            found.setdefault(url, WebSeed(url, place))
    return list(found.values())


def choose(
    seeds: Sequence[WebSeed], now: float, at: Mapping[str, Collection[tuple[str, int]]]
) -> list[WebSeed]:
    """Choose which of them to use now.

    Args:
        seeds: all of them.
        now: in seconds.
        at: addresses and ports by URL, as far as they are known.
    """
    chosen: list[WebSeed] = []
    taken: set[tuple[str, int]] = set()
    for seed in sorted(seeds, key=lambda one: (one.lies, one.strikes)):
        where = {seed.place, *at.get(seed.url, ())}
        ready = not seed.out and seed.ready_at <= now
        if ready and len(chosen) < AT_ONCE and taken.isdisjoint(where):
            chosen.append(seed)
            taken |= where
    return chosen


def _place(url: str) -> tuple[str, int] | None:
    if len(url) > MAX_URL or not url.isprintable():
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (host, port) if host and port and parts.scheme in _PORTS else None
