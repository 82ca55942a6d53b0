"""One item of an order: already here, pulled from one of its sources, or a reason why not.

A file that is already published is read, not fetched.  With a known sha256 it has to match, and
is moved to quarantine and pulled anew if it does not.  While the sha256 is unknown (an ingest)
what lies at the path can only be what an earlier attempt at this same version published, since
the folder belongs to one version of one dataset and nothing is published before its source had
sent all of it: it is hashed and reported, so that an outcome that got lost costs no second pull.
"""

from dataclasses import replace
from pathlib import Path

from fleet.messages import Item, ItemResult, Source
from workers.digests import Block, Digests, Found, kinds, mismatch, pieces_of, read
from workers.pull.course import Course
from workers.pull.faults import Fault, Local, Refused, result
from workers.pull.lanes import in_thread
from workers.pull.partial import Partial
from workers.pull.run import Run
from workers.storage.paths import UnsafePathError
from workers.work import well


async def pull_item(run: Run, item: Item) -> ItemResult:
    """Bring one item to its place, or say why that failed; only ``Stopped`` is raised."""
    try:
        return await _pull(run, item)
    except UnsafePathError as error:
        fault: Fault = Refused(str(error))
    except OSError as error:
        fault = Local(f"this host cannot store {item.path}: {error.strerror or error}")
    except Fault as error:
        fault = error
    return result(item.artifact, [fault])


async def _pull(run: Run, item: Item) -> ItemResult:
    final = run.storage.path(run.order.folder, item.path)
    limit = run.order.max_bytes
    if limit and item.size is not None and item.size > limit:
        raise Refused(f"{item.path} has {item.size} bytes, more than the {limit} allowed")
    if run.owners.setdefault(final, item) is not item:
        raise Refused(f"two items of this order claim the path {item.path}")

    def digests(size: int | None) -> Digests:
        pieces = None if size is None else pieces_of(run.order, size)
        return Digests(kinds(run.order, item), pieces)

    with Partial(run.storage.staging(item.artifact), digests) as partial:
        size = run.storage.size(final)
        found = None if size is None else await in_thread(_in_place, run, item, final, size)
        if found is not None:
            await in_thread(partial.discard)
            return _well(run, item, found, None)
        if partial.kept:
            await in_thread(partial.resume, run.lease.check)
        faults: list[Fault] = []
        for source in item.sources:
            if source.kind != "http":
                continue
            try:
                found = await Course(run, item, source, partial).go()
            except Local:
                raise
            except Fault as fault:
                faults.append(fault)
                continue
            await in_thread(partial.publish, run.storage, final)
            run.published[item.artifact] = final
            return _well(run, item, found, source)
    return result(item.artifact, faults)


def _in_place(run: Run, item: Item, final: Path, size: int) -> Found | None:
    """Read the file at its final path; if it is not right, move it away and return None."""
    digests = Digests(kinds(run.order, item), pieces_of(run.order, size))

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


def _well(run: Run, item: Item, found: Found, source: Source | None) -> ItemResult:
    """Report an item that is in its place; the pieces of a shard's only item are the shard's."""
    if run.order.shard is not None and found.pieces is not None:
        run.pieces = found.pieces
        found = replace(found, piece_length=None, pieces=None)
    return well(item, found, run.blobs, None if source is None else source.url)
