"""The swarm that an order names: a shard's infohash, and the peers to dial.  Pure.

Rules this module keeps:

- A magnet link is read for its v1 infohash, its peers (``x.pe``) and its web seeds (``ws``) alone.
- A peer that cannot be dialled is left out; one bad address hides no other.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from fleet.messages import Item
from workers.work import Work

MOST_PEERS = 64
MOST_SPANS = 1000
MOST_WEB_SEEDS = 8
MAX_WEB_SEED = 1024
Span = tuple[int, int]  # from the first byte to the one after the last
_NAMED = "btih:"
_HASH = re.compile(r"urn:btih:([0-9a-fA-F]{40})")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\]")


@dataclass(frozen=True, slots=True)
class Swarm:
    """Who has a shard, as far as it is known."""

    infohash: str
    peers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How reports name it, in place of a host."""
        return f"{_NAMED}{self.infohash[:12]}"


def read_magnet(link: str) -> Swarm:
    """Read a magnet link.

    Raises:
        ValueError: it is none, or has no v1 infohash.
    """
    scheme, _, query = link.partition("?")
    fields = [part.partition("=") for part in query.split("&")]
    hashes = [_HASH.fullmatch(unquote(value)) for key, _, value in fields if key == "xt"]
    found = next((match for match in hashes if match), None)
    if scheme != "magnet:" or found is None:
        raise ValueError(f"{link[:80]!r} is no magnet link with a v1 infohash (xt=urn:btih:…)")
    peers = (unquote(value) for key, _, value in fields if key == "x.pe")
    seeds = dict.fromkeys(unquote(value) for key, _, value in fields if key == "ws")
    fit = [seed for seed in seeds if len(seed) <= MAX_WEB_SEED]
    return Swarm(found[1].lower(), dialled(peers), tuple(fit[:MOST_WEB_SEEDS]))


def dialled(peers: Iterable[str]) -> tuple[str, ...]:
    """Keep each peer that can be dialled, once, and not more than ``MOST_PEERS``."""
    fit = (peer for peer in peers if address(peer) is not None)
    return tuple(dict.fromkeys(fit))[:MOST_PEERS]


def address(peer: str) -> tuple[str, int] | None:
    """Split "host:port", whose host is a name, an IPv4 or an [IPv6] address; None if it is none."""
    host, _, port = peer.rpartition(":")
    six = _IPV6.fullmatch(host)
    if not six and not _HOST.fullmatch(host):
        return None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        return None
    return (six[1] if six else host), int(port)


def swarm_of(items: Sequence[Item]) -> Swarm | None:
    """Find the swarm of an order's items, which all name the same one.

    Raises:
        ValueError: what should name it does not.
    """
    links = (one.url for item in items for one in item.sources if one.kind == "torrent")
    link = next(links, None)
    return None if link is None else read_magnet(link)


def comes_first(item: Item) -> bool:
    """Whether an item's torrent is ranked before every HTTP source that it has."""
    return bool(item.sources) and item.sources[0].kind == "torrent"


def came_by_torrent(work: Work) -> bool:
    """Whether any item of a finished pull came from a swarm."""
    return any(result.ok and (result.source or "").startswith(_NAMED) for result in work.items)


def has_torrent(item: Item) -> bool:
    """Whether it may be had from the shard's swarm."""
    return any(source.kind == "torrent" for source in item.sources)


def spans_of(items: Iterable[Item]) -> list[Span]:
    """Give the runs of a shard's bytes that items lie in, whose places in it are known."""
    return joined((one.offset or 0, (one.offset or 0) + (one.size or 0)) for one in items)


def joined(runs: Iterable[Span]) -> list[Span]:
    """Join runs of bytes that touch; where over ``MOST_SPANS`` are left, one holds them all."""
    spans: list[Span] = []
    for start, end in sorted(runs):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        elif start < end:
            spans.append((start, end))
    return spans if len(spans) <= MOST_SPANS else [(spans[0][0], spans[-1][1])]
