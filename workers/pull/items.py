"""One item of an order: how it begins, and how it comes to its place.

A file that is already published is read, not fetched.  With a known sha256 it has to match, and
is moved to quarantine and pulled anew if it does not.  While the sha256 is unknown (an ingest)
what lies at the path can only be what an earlier attempt at this same version published, since
the folder belongs to one version of one dataset and nothing is published before its source had
sent all of it: it is hashed and reported, so that an outcome that got lost costs no second pull.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fleet.messages import Item, ItemResult
from workers.digests import Block, Digests, Found, kinds, mismatch, parts_of, pieces_of, read
from workers.pull.download import Download
from workers.pull.extents import GRANULE, MOST_AUTHORS
from workers.pull.faults import Fault, Local, Refused, result
from workers.pull.partial import Partial
from workers.pull.run import Run
from workers.storage.paths import UnsafePathError
from workers.work import well

DURABLE_ALONE = 4 * 1024 * 1024  # smaller files are made durable many at a time


def open_item(run: Run, item: Item) -> Download | ItemResult:
    """Begin an item: its download, or its result if there is nothing to fetch.

    Raises:
        Stopped: the centre wants the attempt to end.
    """
    try:
        return _open(run, item)
    except (Fault, UnsafePathError, OSError) as error:
        return result(item.artifact, [local(item, error)])


def local(item: Item, error: Exception) -> Fault:
    """Tell what an exception is to an item."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, UnsafePathError):
        return Refused(str(error))
    why = error.strerror if isinstance(error, OSError) else None
    return Local(f"this host cannot store {item.path}: {why or error}")


def final_path(run: Run, item: Item) -> Path:
    """Say where an item belongs.

    Raises:
        UnsafePathError: its path would lead elsewhere.
        Refused: it is too large, or another item belongs there.
    """
    final = run.storage.path(run.order.folder, item.path)
    limit = run.order.max_bytes
    if limit and item.size is not None and item.size > limit:
        raise Refused(f"{item.path} has {item.size} bytes, more than the {limit} allowed")
    if run.owners[item.path] is not item:
        raise Refused(f"two items of this order claim the path {item.path}")
    return final


def report(run: Run, item: Item, found: Found, source: str | None) -> ItemResult:
    """Report an item that is in its place; the pieces of a shard's only item are the shard's."""
    if run.order.shard is not None and found.pieces is not None:
        run.pieces = found.pieces
        found = replace(found, piece_length=None, pieces=None)
    return well(item, found, run.blobs, source)


def standing(run: Run, item: Item) -> ItemResult | None:
    """Report an item whose file is in its place and right; None if it has to be brought.

    Raises:
        Fault, UnsafePathError, OSError: it may not or cannot be brought there.
        Stopped: the centre wants the attempt to end.
    """
    final = final_path(run, item)
    found = _in_place(run, item, final)
    if found is None:
        return None
    discard_partial(run, item)
    run.storage.settle([final])  # the attempt that put it there may not have come so far
    return report(run, item, found, None)


def discard_partial(run: Run, item: Item) -> None:
    """Throw away what an earlier attempt has staged of an item that is in its place."""
    staged = run.storage.staging(item.artifact)
    if staged.exists():
        with contextlib.suppress(Fault, OSError), Partial(staged) as partial:
            partial.discard()


def land(run: Run, download: Download, found: Found, settle: Callable[[ItemResult], None]) -> None:
    """Bring a proved file to its place; ``settle`` gets the result once it is there for good."""
    item, partial = download.item, download.partial
    alone = found.size >= DURABLE_ALONE
    source = download.source

    def landed(error: OSError | None) -> None:
        with contextlib.suppress(OSError):  # what stays behind is in nobody's way
            if error is None:
                partial.published()
            elif not alone:  # it may be that its content could not be synced
                partial.disown()
        with contextlib.suppress(OSError):
            partial.close()
        if error is None:
            settle(report(run, item, found, source))
        else:
            settle(result(item.artifact, [local(item, error)]))

    try:
        partial.finish(found.size, durable=alone)
    except OSError as error:
        landed(error)
    else:
        run.landing.add(partial.path, download.final, alone, landed, found.size)


def _open(run: Run, item: Item) -> Download | ItemResult:
    final = final_path(run, item)
    partial = Partial(run.storage.staging(item.artifact))
    try:
        found = _in_place(run, item, final)
        if found is None:
            if len(partial.journal.head.authors) + len(item.sources) > MOST_AUTHORS:
                partial.discard()  # there would be no numbers left for today's sources
            run.have_room((item.size or 0) - len(partial.found) * GRANULE)
            return Download(run, item, partial, final)
        partial.discard()
        run.storage.settle([final])  # the attempt that put it there may not have come so far
    except BaseException:
        partial.close()
        raise
    partial.close()
    return report(run, item, found, None)


def _in_place(run: Run, item: Item, final: Path) -> Found | None:
    """Read the file at its final path, if one is there; if it is not right, move it away."""
    size = run.storage.size(final)
    if size is None:
        return None
    order = run.order
    digests = Digests(kinds(order, item), pieces_of(order, size), parts_of(order))

    def take(block: Block) -> None:
        run.lease.check()
        digests.update(block)

    if item.size in {None, size}:
        with run.storage.open(final) as file:
            read(file.fileno(), take)
        wrong = mismatch(item, found := digests.finish())
        if not wrong:
            return found
    else:
        wrong = f"{size} bytes where {item.size} were expected"
    run.storage.quarantine(final, wrong)
    return None
