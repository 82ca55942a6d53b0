"""The transfer engine: an order's items, from their sources to their places, in one pass.

Every byte is read from the network once and written at its place; the digests follow through the
page cache, in threads; and nothing is seen by anybody before it is proved.  Memory is bounded by a
few blocks a stream and a file, whatever the sizes.

Who does what: ``board`` deals out the work, ``asking`` decides what to ask of whom, ``fetch`` does
it, and ``download`` takes what comes; ``holding`` is what there is of one item, ``extents`` knows
which bytes, ``journal`` remembers it, ``lanes`` hashes, ``proof`` judges, ``landing`` publishes.
Thousands of small files take the ``quick`` way; what the site's seeder can fetch by BitTorrent
takes that of ``torrent``.
"""

from fleet.messages import ItemResult, Order
from fleet.settings import SiteSettings
from fleet.torrent.pieces import PieceHasher
from workers.digests import Block, read
from workers.lease import Lease
from workers.pull.board import Board
from workers.pull.landing import Landing
from workers.pull.pace import Pace
from workers.pull.quick import quick
from workers.pull.run import Run
from workers.pull.torrent import ByTorrent
from workers.pull.watch import Watch
from workers.pull.web import Web
from workers.shard import in_offset_order, uncut
from workers.storage.posix import PosixStorage
from workers.work import Work

__all__ = ["Watch", "pull"]


def pull(
    order: Order,
    storage: PosixStorage,
    lease: Lease,
    *,
    settings: SiteSettings,
    known: bytes = b"",
    watch: Watch | None = None,
) -> Work:
    """Bring an order's items to their places below ``storage``.

    One bad item never stops the others: its result says why.  What is reported as ok is durable.

    Args:
        order: the items and their sources; ``order.budget.streams`` answers are read at once.
        storage: where they belong.
        lease: asked before each read; its budget sets the pace.
        settings: this site's.
        known: the v1 piece hashes of the order's shard, 20 bytes each, if it is of one item.
        watch: what to tell of the progress to.

    Raises:
        Stopped: the lease ended; partial files are left to be resumed.
    """
    watch = Watch() if watch is None else watch
    watch.items += len(order.items)
    watch.sizes.update({item.artifact: item.size for item in order.items})
    with Web(settings) as web, Landing(storage) as landing:
        known = known if len(order.items) == 1 else b""
        run = Run(order, storage, lease, settings, known, watch, web, landing, Pace(lease))
        board = Board(run)
        torrent = ByTorrent(run, board.settle)
        board.work(quick(run, torrent.first(order.items), board.settle))
        landing.flush()
        torrent.last(board.results)
    results = [board.results[id(item)] for item in order.items]
    pieces, reason = run.pieces, ""
    if order.shard and "pieces" in order.digests and all(result.ok for result in results):
        reason = _uncut(order, results)
        if pieces is None and not reason:
            pieces = _cut(run)
    return Work(
        items=tuple(results),
        sources=run.tallies.reports(),
        bytes_fetched=run.tallies.bytes,
        pieces=None if reason else pieces,
        blobs=run.blobs,
        reason=reason,
    )


def _uncut(order: Order, results: list[ItemResult]) -> str:
    sizes = {result.artifact: result.size or 0 for result in results}
    return uncut(order, [sizes[item.artifact] for item in in_offset_order(order.items)])


def _cut(run: Run) -> bytes:
    """Cut the pieces of all items end to end, from files that were just written."""
    hasher = PieceHasher(run.order.piece_length or 0)

    def take(block: Block) -> None:
        run.lease.check()
        hasher.update(block)

    for item in in_offset_order(run.order.items):
        path = run.storage.path(run.order.folder, item.path)
        with run.storage.open(path) as file:
            read(file.fileno(), take)
    return hasher.finish()
