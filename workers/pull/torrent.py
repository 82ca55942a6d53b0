"""Items by BitTorrent: the site's seeder fetches them, and they are proved and landed as any.

Decisions this module takes:

- Where an item's torrent is ranked before its HTTP sources, the swarm is asked first, and HTTP for
  what it did not bring; else it is asked for what HTTP did not bring.
- The torrent proves pieces, not artifacts: only an item whose sha256 is known is fetched so, and
  each is read once and lands only if that is right.
- What is in its place and right is not fetched again.
- Whatever goes wrong is a reason beside those of the HTTP sources, and ends nothing but itself: of
  a fetch that was not finished, the files that are whole land.  They are read once the seeder has
  let go of them, since it may write what is not proved yet until then.
- What a fetch left behind waits for the next attempt, but takes no room from what HTTP shall bring,
  and is thrown away once nobody has taken it up again for ``ABANDONED_SECONDS``.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time

from fleet.messages import Item, ItemResult
from workers.digests import Block, Digests, Found, kinds, mismatch, parts_of, pieces_of, read
from workers.pull.counts import SwarmCounts, waits_for
from workers.pull.faults import Bad, Fault, Local, plain
from workers.pull.items import (
    DURABLE_ALONE,
    discard_partial,
    final_path,
    local,
    report,
    standing,
)
from workers.pull.run import Run
from workers.seeder.effort import Effort, Progress, SeederError
from workers.storage.paths import UnsafePathError
from workers.storage.posix import FILE_MODE, PosixStorage
from workers.swarm import Swarm, comes_first, has_torrent, spans_of, swarm_of

ABANDONED_SECONDS = 7 * 24 * 3600
Settle = Callable[[Item, ItemResult], None]
_FOLDER = "btih-"


@dataclass(frozen=True)
class _Proved:
    """A staged file that is right."""

    item: Item
    staged: Path
    found: Found


class ByTorrent:
    """The part of a pull that goes through the site's seeder."""

    def __init__(self, run: Run, settle: Settle) -> None:
        """Prepare to ask for what the order's items may be had by torrent."""
        self._run = run
        self._settle = settle
        self._reasons: dict[int, str] = {}
        self._swarm: Swarm | None = None
        self._fault = ""
        try:
            self._swarm = swarm_of(run.order.items)
        except ValueError as error:
            self._fault = str(error)

    def first(self, items: Sequence[Item]) -> list[Item]:
        """Bring the items whose torrent is ranked first; give those that are left to HTTP.

        Raises:
            Stopped: the lease ended; what was fetched is kept for the next attempt.
        """
        settled = self._bring([item for item in items if comes_first(item)])
        left = [item for item in items if id(item) not in settled]
        needed = sum(item.size or 0 for item in left)
        if self._swarm and needed > self._run.storage.free():
            shutil.rmtree(self._folder(self._swarm), ignore_errors=True)
        return left

    def last(self, results: Mapping[int, ItemResult]) -> None:
        """Bring what HTTP did not, and tell of each item that failed why the swarm did not help.

        Raises:
            Stopped: the lease ended.
        """
        failed = [item for item in self._run.order.items if not results[id(item)].ok]
        left = [item for item in failed if results[id(item)].fault in {"source", "refused"}]
        self._bring([item for item in left if id(item) not in self._reasons])
        for item in failed:
            result, why = results[id(item)], self._reasons.get(id(item))
            if why and not result.ok:
                told = f"{result.reason}; by torrent: {why}"
                self._settle(item, result.model_copy(update={"reason": told}))
        if self._swarm and all(result.ok for result in results.values()):
            shutil.rmtree(self._folder(self._swarm), ignore_errors=True)
        sweep(self._run.storage.staging_folder(), time())

    def _bring(self, items: Sequence[Item]) -> set[int]:
        """Bring items to their places; give the ids of those that are settled."""
        settled: set[int] = set()

        def settle(item: Item, result: ItemResult) -> None:
            if result.ok:
                settled.add(id(item))
                self._settle(item, result)
            else:
                self._reasons[id(item)] = result.reason

        wanted = [item for item in items if has_torrent(item) and not self._stands(item, settle)]
        if wanted:
            for proved in self._fetched(wanted):
                self._land(proved, settle)
            self._run.landing.flush()
        return settled

    def _stands(self, item: Item, settle: Settle) -> bool:
        """Settle an item that is in its place; True as well if the swarm cannot help it."""
        try:
            if item.sha256 is None or item.size is None or item.offset is None:
                raise Bad("its sha256, size or place in the shard is not known")
            result = standing(self._run, item)
        except (Fault, UnsafePathError, OSError) as error:
            self._reasons[id(item)] = str(local(item, error))
            return True
        if result is not None:
            settle(item, result)
        return result is not None

    def _fetched(self, items: Sequence[Item]) -> list[_Proved]:
        """Have the seeder fetch items; give those that are right."""
        if self._swarm is None:
            self._reasons |= {id(item): self._fault for item in items}
            return []
        self._fault = ""
        try:
            return self._fetch(self._swarm, items)
        except (SeederError, Local, OSError) as error:
            self._fault = plain(str(error))
            return []
        finally:
            self._reasons |= {id(item): self._fault for item in items if self._fault}
            self._run.say("")

    def _fetch(self, swarm: Swarm, items: Sequence[Item]) -> list[_Proved]:
        folder = self._folder(swarm)
        run, want = self._run, spans_of(items)
        if not want:
            return self._proved(items, folder)
        run.have_room(sum(end - start for start, end in want) - _held(folder))
        counts = SwarmCounts(run.tallies, run.lease, swarm, run.order.items[0].sources)

        def told(progress: Progress) -> None:
            self._run.say(waits_for(progress, swarm))
            counts.take(progress)
            self._show(items, progress)

        with Effort(run.settings, run.lease, "fetch", swarm, want) as effort:
            try:
                with counts.under_way():
                    effort.run(told)
            except SeederError as error:
                self._fault = plain(str(error))
            else:
                return self._proved(items, folder)
        if not effort.ended:
            self._fault += "; its seeder did not let go of what it fetched"
            return []
        return self._proved([item for item in items if _looks_whole(item, folder)], folder)

    def _show(self, items: Sequence[Item], progress: Progress) -> None:
        """Tell whoever watches how far it is: pieces come in any order, so of each a like part."""
        part = min(progress.done / progress.size, 1.0) if progress.size else 0.0
        self._run.watch.held.update({item.artifact: int((item.size or 0) * part) for item in items})

    def _proved(self, items: Sequence[Item], folder: Path) -> list[_Proved]:
        """Read what was fetched; what is not the artifact goes, unless more of it may come."""
        proved: list[_Proved] = []
        for item in items:
            staged = folder / str(item.offset)
            try:
                if not item.size:
                    staged = _empty(folder, len(proved))
                found = self._read(item, staged)
            except OSError as error:
                self._reasons[id(item)] = str(local(item, error))
                continue
            wrong = mismatch(item, found)
            if not wrong:
                proved.append(_Proved(item, staged, found))
            elif not self._fault:
                staged.unlink()
                self._reasons[id(item)] = f"what the torrent holds in its place is not it: {wrong}"
        return proved

    def _read(self, item: Item, staged: Path) -> Found:
        order = self._run.order
        digests = Digests(kinds(order, item), pieces_of(order, item.size or 0), parts_of(order))

        def take(block: Block) -> None:
            self._run.lease.check()
            digests.update(block)

        with self._run.storage.open(staged) as file:
            read(file.fileno(), take)
        return digests.finish()

    def _land(self, proved: _Proved, settle: Settle) -> None:
        run, item, staged = self._run, proved.item, proved.staged
        name = self._swarm.name if self._swarm else None
        alone = proved.found.size >= DURABLE_ALONE

        def landed(error: OSError | None) -> None:
            if error is not None:
                # what may not be on the disk is not believed again
                staged.unlink(missing_ok=True)
                self._reasons[id(item)] = str(local(item, error))
                return
            discard_partial(run, item)
            settle(item, report(run, item, proved.found, name))

        try:
            _make_ready(staged, durable=alone)
            final = final_path(run, item)
        except (Fault, UnsafePathError, OSError) as error:
            self._reasons[id(item)] = str(local(item, error))
        else:
            run.landing.add(staged, final, alone, landed, proved.found.size)

    def _folder(self, swarm: Swarm) -> Path:
        """Say where the seeder fetches to."""
        return fetched_to(self._run.storage, swarm.infohash)


def fetched_to(storage: PosixStorage, infohash: str) -> Path:
    """Say where a seeder puts what it fetches of a torrent."""
    return storage.staging_folder() / f"{_FOLDER}{infohash}"


def sweep(staging: Path, now: float) -> None:
    """Throw away what fetches have left behind and nobody took up again."""
    for folder in staging.glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError):  # somebody else has just thrown it away
            touched = max(one.stat().st_mtime for one in (folder, *folder.iterdir()))
            if now - touched > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _looks_whole(item: Item, folder: Path) -> bool:
    """Whether all of an item may be staged: a fetch that was not finished leaves holes."""
    if not item.size:
        return True
    try:
        about = (folder / str(item.offset)).stat()
    except OSError:
        return False
    return about.st_size == item.size and about.st_blocks * 512 >= item.size


def _empty(folder: Path, number: int) -> Path:
    """Stage a file without a byte, which no torrent brings."""
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f"empty-{number}"
    staged.write_bytes(b"")
    return staged


def _held(folder: Path) -> int:
    """Measure what was fetched before, in bytes of the disk."""
    if not folder.is_dir():
        return 0
    return sum(file.stat().st_blocks * 512 for file in folder.iterdir())


def _make_ready(staged: Path, *, durable: bool) -> None:
    """Set a staged file's mode; sync it if that shall not wait for its batch."""
    descriptor = os.open(staged, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, FILE_MODE)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
