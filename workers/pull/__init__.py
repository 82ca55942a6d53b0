"""The transfer engine: an order's items, from their sources to their places, in one pass.

Every byte is read from the network once, goes through all digests and to the disk in blocks of
1 MiB, and is seen by nobody before it is proved: items are staged, checked, synced and renamed.
Memory is bounded by two blocks a stream, whatever the sizes.

One item is pulled by one stream from one source at a time; ``Course`` is where ranges of several
sources could meet, ``Lane`` where a ring buffer could be, ``Partial`` where pieces are kept.
"""

from fleet.messages import ItemResult, Order
from fleet.settings import SiteSettings
from fleet.torrent.pieces import PieceHasher
from workers.digests import Block, read
from workers.lease import Lease
from workers.pull.items import pull_item
from workers.pull.lanes import each, in_thread
from workers.pull.pace import Pace
from workers.pull.run import Run
from workers.pull.web import Web
from workers.shard import in_offset_order, uncut
from workers.storage.posix import PosixStorage
from workers.work import Work

__all__ = ["pull"]


async def pull(
    order: Order, storage: PosixStorage, lease: Lease, *, settings: SiteSettings
) -> Work:
    """Bring an order's items to their places below ``storage``.

    One bad item never stops the others: its result says why.  What is reported as ok is durable.

    Args:
        order: the items and their sources; ``order.budget.streams`` are pulled side by side.
        storage: where they belong.
        lease: asked between chunks; its budget sets the pace.
        settings: this site's.

    Raises:
        Stopped: the lease ended; partial files are left to be resumed.
    """
    async with Web(settings, streams=order.budget.streams) as web:
        run = Run(order, storage, lease, settings, web, Pace(lease))
        try:
            results = await each(
                order.items, order.budget.streams, lambda item: pull_item(run, item), lease
            )
        finally:
            unsettled = await in_thread(_settle, run)
    if unsettled:
        results = [_unsettled(run, result, unsettled) for result in results]
    pieces, reason = run.pieces, ""
    if order.shard and "pieces" in order.digests and all(result.ok for result in results):
        sizes = {result.artifact: result.size or 0 for result in results}
        reason = uncut(order, [sizes[item.artifact] for item in in_offset_order(order.items)])
        if pieces is None and not reason:
            pieces = await in_thread(_cut, run)
    return Work(
        items=tuple(results),
        sources=run.tallies.reports(),
        bytes_fetched=run.tallies.bytes,
        pieces=None if reason else pieces,
        blobs=run.blobs,
        reason=reason,
    )


def _settle(run: Run) -> str:
    """Make all names durable; say what kept us from it."""
    try:
        run.storage.settle(run.published.values())
    except OSError as error:
        return f"this host cannot make its files durable: {error.strerror or error}"
    return ""


def _unsettled(run: Run, result: ItemResult, reason: str) -> ItemResult:
    """Take back that an item is in its place, if its name may not survive a crash."""
    if result.artifact not in run.published:
        return result
    return ItemResult(artifact=result.artifact, ok=False, reason=reason, fault="local")


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
