"""What the engine is told of a version's files: items, with their sources in order."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

from fleet.catalogue.client.offer import File, Offer
from fleet.cli.get.lots import Lot
from fleet.cli.pull.ground import SITE
from fleet.messages import Item, Order, Source
from workers.swarm import Swarm

SMALL = 1024 * 1024


def artifact(file: File) -> str:
    """Name a file as the engine stages it: two of the same bytes are staged apart."""
    return sha256(f"{file.sha256} {file.path}".encode()).hexdigest()


def by_mirrors(lot: Lot, offer: Offer) -> Order:
    """Order a lot from all mirrors that should have it.

    Of small files, each of which comes from one mirror, each mirror is the first for as many.
    """
    items = []
    for number, file in enumerate(lot.files):
        sources = [Source(url=url, site=site) for site, url in offer.sources(file)]
        turn = number % len(sources) if sources and file.size <= SMALL else 0
        items.append(_item(file, sources[turn:] + sources[:turn]))
    return _order(items, lot.piece_length)


def by_peers(lot: Lot, swarm: Swarm) -> Order:
    """Order a lot from the peers of its torrent."""
    peers = "".join(f"&x.pe={peer}" for peer in swarm.peers)
    magnet = f"magnet:?xt=urn:btih:{swarm.infohash}{peers}"
    source = Source(kind="torrent", url=magnet)
    return _order([_item(file, [source]) for file in lot.files], None)


def _item(file: File, sources: Iterable[Source]) -> Item:
    return Item(
        artifact=artifact(file),
        path=file.path,
        size=file.size,
        sha256=file.sha256,
        offset=file.offset,
        sources=tuple(sources),
    )


def _order(items: Sequence[Item], piece_length: int | None) -> Order:
    return Order(
        attempt=SITE,
        fence=0,
        task="pull",
        site=SITE,
        lease_seconds=0,
        items=tuple(items),
        piece_length=piece_length,
    )
