"""An order for a site that has no worker: pulled to here, written to there, and let go of.

Rules this module keeps:

- What is staged is no replica: nobody is offered it.  It is bounded by ``scratch_bytes``, what is
  kept beside a file included, and one batch is pulled while the one before is written.
- What is there already with the same bytes is not pulled again, so that an order that was broken
  off goes on where it was.
- A pull that is broken off leaves its partial files in the folder of its shard, for the next; what
  nobody came for in a day is swept.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fleet.messages import Item, ItemResult, Order, SourceReport
from fleet.places import RecordsPlace
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull import pull
from workers.pull.extents import GRANULE
from workers.storage.contract import Content, Storage, StorageError
from workers.storage.paths import contained
from workers.storage.posix import PosixStorage, locked, sweep
from workers.work import Work

KEPT_SECONDS: Final = 24 * 3600.0
PART: Final = 16 * 1024 * 1024
_BATCHES: Final = 2  # one is pulled, one written
_FILES: Final = 5000  # in one batch
_BLOCK: Final = 4096  # what a disk gives at a time


def stage(order: Order, storage: Storage, lease: Lease, settings: SiteSettings) -> Work:
    """Have every item of ``order`` at its path in ``storage``.

    Raises:
        Stopped: the lease ended; what is there stays, and so does what was pulled.
    """
    most = settings.scratch_bytes // settings.bulk_slots // _BATCHES
    with _lent(settings.state / "staged", _name(order), settings.scratch_bytes) as root:
        staging = _Staging(order, storage, lease, settings, PosixStorage(root), most)
        wanted = [item for item in order.items if not staging.is_there(item)]
        with ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            for batch in staging.batches(wanted):
                large = sum(_needed(item) for item in batch) > most  # needs all that is lent
                if writing is not None and large:
                    writing.result()
                pulled = staging.pull(batch)
                if writing is not None:
                    writing.result()
                writing = writer.submit(staging.write, batch, pulled)
                if large:
                    writing.result()
            if writing is not None:
                writing.result()
    results = tuple(staging.results[item.artifact] for item in order.items)
    return Work(results, tuple(staging.sources), staging.fetched)


def room(size: int) -> int:
    """Say how many bytes of a disk a file takes while it comes.

    Beside it lie its head, which is replaced by another, and the map of its granules (see
    ``workers.pull.journal``).
    """
    heads, maps = 2, -(-size // (GRANULE * _BLOCK))
    return _BLOCK * (-(-size // _BLOCK) + heads + maps)


def _name(order: Order) -> str:
    """Name what is staged, alike for each attempt at it: a shard, or all of a record."""
    if order.grant is None:
        return f"{order.shard or order.attempt}-{order.site}"
    place = order.grant.place
    whole = place.record if isinstance(place, RecordsPlace) else order.attempt
    return f"{order.shard or whole}-{order.grant.site}"


@dataclass
class _Staging:
    """One order under way; ``most`` is how many bytes of it are pulled at once."""

    order: Order
    storage: Storage
    lease: Lease
    settings: SiteSettings
    scratch: PosixStorage
    most: int
    results: dict[str, ItemResult] = field(default_factory=dict)
    sources: list[SourceReport] = field(default_factory=list)
    fetched: int = 0

    def is_there(self, item: Item) -> bool:
        """Whether the storage says that it has an item whole, by the best digest that it knows."""
        self.lease.check()
        try:
            found = self.storage.stat(self._path(item))
        except StorageError:
            return False  # the write will say so
        if found is None or item.sha256 is None or item.size not in (None, found.size):
            return False
        if found.sha256 != item.sha256 and (found.sha256 or not found.md5 or found.md5 != item.md5):
            return False
        self.lease.advance(found.size)
        self.results[item.artifact] = ItemResult(
            artifact=item.artifact, ok=True, size=found.size, sha256=item.sha256, md5=item.md5
        )
        return True

    def batches(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Share items out so that each batch fits; one that never would is refused."""
        batch, size = list[Item](), 0
        for item in items:
            needed = _needed(item)
            if needed > _BATCHES * self.most:
                self._fail(
                    item,
                    f"{item.path} needs {needed:,} bytes of scratch, and {self.settings.site} "
                    f"lends {_BATCHES * self.most:,} at once: raise FLEET_SCRATCH_BYTES there",
                )
                continue
            if batch and (size + needed > self.most or len(batch) == _FILES):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += needed
        if batch:
            yield batch

    def pull(self, batch: Sequence[Item]) -> Work:
        """Bring items to the scratch folder, with the md5s that they are written by."""
        by_md5 = self.storage.capabilities.check == "md5"
        update = {
            "items": tuple(map(_over_http, batch)),
            "shard": None,
            "digests": ("sha256", "md5" if by_md5 else "parts"),
            "part_length": PART,
        }
        order = self.order.model_copy(update=update)
        work = pull(order, self.scratch, self.lease, settings=self.settings)
        self.sources += work.sources
        self.fetched += work.bytes_fetched
        for result in work.items:
            if not result.ok:
                self.scratch.discard(result.artifact)
        return work

    def write(self, batch: Sequence[Item], pulled: Work) -> None:
        """Write what was pulled, several files at once, and let go of it."""
        work = list(zip(batch, pulled.items, strict=True))
        at_once = max(self.lease.budget.streams, self.storage.capabilities.at_once)
        with ThreadPoolExecutor(at_once) as writers:
            jobs = [
                writers.submit(self._write, item, result, pulled.blobs)
                for item, result in work
                if result.ok
            ]
            try:
                for job in jobs:
                    job.result()
            finally:
                writers.shutdown(cancel_futures=True)
        self.results.update((item.artifact, result) for item, result in work if not result.ok)

    def _write(self, item: Item, result: ItemResult, blobs: Mapping[str, bytes]) -> None:
        """Write one item; every failure but the lease's end becomes its result."""
        staged = self.scratch.path(self.order.folder, item.path)
        content = Content(
            staged,
            result.size or 0,
            result.sha256 or "",
            item.md5 or result.md5,
            blobs.get(result.parts.sha256) if result.parts else None,
            result.part_length or 0,
        )
        self.lease.check()
        try:
            self.storage.write(self._path(item), content, _Uncounted(self.lease))
        except StorageError as error:
            self._fail(item, str(error), final=error.final)
        else:
            plain = {"pieces": None, "layer": None, "parts": None, "part_length": None}
            self.results[item.artifact] = result.model_copy(update=plain)
        self.scratch.remove(staged)

    def _fail(self, item: Item, reason: str, *, final: bool = False) -> None:
        self.results[item.artifact] = ItemResult(
            artifact=item.artifact, ok=False, reason=reason, final=final, fault="local"
        )

    def _path(self, item: Item) -> str:
        return f"{self.order.folder}/{item.path}" if self.order.folder else item.path


def _needed(item: Item) -> int:
    return room(item.size or 0)


def _over_http(item: Item) -> Item:
    """Leave torrents out: the seeder fetches them into the site's own store, and not to here."""
    sources = tuple(one for one in item.sources if one.kind == "http")
    return item.model_copy(update={"sources": sources})


class _Uncounted(Lease):
    """The same lease for what is written: its bytes were counted when they were pulled."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.bytes_done = 0

    def __getattr__(self, name: str) -> Any:
        """Give what may change, the budget above all, as it is now."""
        return getattr(self._lease, name)

    @property
    def paused(self) -> bool:
        """Whether to wait."""
        return self._lease.paused

    def check(self) -> None:
        """Return if the work may go on."""
        self._lease.check()

    def check_live(self) -> None:
        """Return if nobody else can have been given the work."""
        self._lease.check_live()


@contextlib.contextmanager
def _lent(home: Path, name: str, most: int) -> Iterator[Path]:
    """Lend the folder of a shard to one attempt; let go of what others left there.

    That is what nobody came for in a day, and the oldest of all that is more than ``most`` bytes.
    """
    folder = contained(home, name)
    folder.mkdir(parents=True, exist_ok=True)
    own = locked(folder)
    if own is None:
        raise OSError(f"another attempt is staging {name} just now")
    try:
        _tidy(home, folder, most)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)  # left as it is where the attempt broke off
    finally:
        os.close(own)


def _tidy(home: Path, own: Path, most: int) -> None:
    left = 0
    for other in sorted(home.iterdir(), key=_age):
        if other == own or not other.is_dir():
            continue
        left += sum(one.stat().st_size for one in other.rglob("*") if one.is_file())
        if left > most or _age(other) > KEPT_SECONDS:
            sweep(other)


def _age(folder: Path) -> float:
    """Say for how many seconds nothing was changed in a folder; one that is gone is new."""
    with contextlib.suppress(FileNotFoundError):
        return time.time() - folder.stat().st_mtime
    return 0.0
