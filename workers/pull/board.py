"""Who does what next: a few threads that take jobs from a board until every item has its result.

Rules this module keeps:

- Never more answers are read at once than the budget allows now; what is no reading (opening,
  hashing to the end, syncing, publishing) has threads of its own.
- Bytes that nobody asks for yet come first, then the next item, then helping a slow stream out.
- One item's trouble is its own: every fault ends in its result.  Only ``Stopped`` and our own
  mistakes end the run.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

import structlog

from fleet.messages import Item, ItemResult
from workers.lease import Stopped
from workers.pull.asking import next_fetch, steal
from workers.pull.download import CHECKPOINT, Download
from workers.pull.extents import GRANULE
from workers.pull.faults import Bad, Fault, Local, result
from workers.pull.fetch import Fetch
from workers.pull.items import land, local, open_item
from workers.pull.proof import convict, prove
from workers.pull.run import Run

_log = structlog.get_logger()
CHORES = 2
MOST_OPEN = 8  # beyond as many as there are streams
WATCH_SECONDS = 0.2
LEAVE_SECONDS = 1.0

Job = Callable[[memoryview], memoryview]  # takes its thread's block, gives the one to go on with


class Board:
    """All items of a run, and the threads that work on them."""

    def __init__(self, run: Run) -> None:
        self.results: dict[int, ItemResult] = {}
        self._run = run
        self._todo: deque[Item] = deque()
        self._open: list[Download] = []
        self._busy: set[Download] = set()  # with a chore under way
        self._sealing: set[Download] = set()
        self._landing = False
        self._opening = 0
        self._fetching = 0
        self._note = ""
        self._over = False
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def settle(self, item: Item, settled: ItemResult) -> None:
        """Take an item's result, from any thread; a later one may be better."""
        with self._run.changed:
            before = self.results.get(id(item))
            self.results[id(item)] = settled
            self._run.watch.items_failed += not settled.ok
            self._run.watch.items_failed -= before is not None and not before.ok
            size = settled.size if settled.ok else 0
            self._run.watch.sizes[item.artifact] = self._run.watch.held[item.artifact] = size or 0
            self._run.changed.notify_all()

    def work(self, items: Sequence[Item]) -> None:
        """Return once every item has its result, or waits to be landed.

        Raises:
            Stopped: the centre wants the attempt to end; partial files are left to be resumed.
        """
        self._todo.extend(items)
        try:
            while self._error is None and self._going_on:
                self._run.lease.check()
                self._hire()
                with self._run.changed:
                    self._trim()
                    self._tell()
                    if self._going_on:
                        self._run.changed.wait(WATCH_SECONDS)
        finally:
            self._end()
        if self._error is not None:
            raise self._error

    @property
    def _going_on(self) -> bool:
        return bool(self._todo or self._opening or self._open or self._busy)

    def _hire(self) -> None:
        """Have a thread for each stream that the budget allows, and a few for the rest."""
        while len(self._threads) < self._run.lease.budget.streams + CHORES:
            thread = threading.Thread(target=self._serve, name="pull", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _trim(self) -> None:
        """End the newest answers that a budget has no more room for, if they can be resumed."""
        every = [(one, fetch) for one in self._open for fetch in one.fetches]
        fetches = [(one, fetch) for one, fetch in every if not fetch.is_cut]
        surplus = len(fetches) - self._run.lease.budget.streams
        resumable = [fetch for one, fetch in fetches if one.resumable(fetch.mirror)]
        for fetch in reversed(resumable[-surplus:] if surplus > 0 else []):
            fetch.cut()
        self._trim_shares(every)

    def _trim_shares(self, every: Sequence[tuple[Download, Fetch]]) -> None:
        """End those that have to give back their providers' streams: the newest, if they can."""
        leaving = [fetch for _, fetch in every if fetch.is_cut]
        able = [fetch for one, fetch in every if not fetch.is_cut and one.expendable(fetch)]
        for fetch in [*leaving, *reversed(able)]:
            if fetch.stream is not None and self._run.pace.ends(fetch.stream):
                fetch.cut()

    def _tell(self) -> None:
        """Say why nothing is asked, if that is how it is."""
        idle = self._open and not (self._fetching or self._opening or self._busy)
        mirrors = [mirror for one in self._open for mirror in one.candidates()] if idle else []
        errors = [one.tally.last_error for one in mirrors if one.tally.last_error]
        note = f"waits before it asks again: {errors[0]}" if errors else ""
        note = (self._run.pace.waits if idle else "") or note
        if note != self._note:
            self._note = note
            self._run.say(note)

    def _end(self) -> None:
        with self._run.changed:
            self._over = True
            for fetch in [fetch for one in self._open for fetch in one.fetches]:
                fetch.cut()  # it may be waiting for its turn
            self._run.changed.notify_all()
        self._run.web.cut()
        until = monotonic() + LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))  # one may be connecting to nowhere
        for download in self._open:
            download.give_up()

    def _serve(self) -> None:
        block = memoryview(bytearray(GRANULE))
        try:
            while (job := self._take()) is not None:
                block = job(block)
        except BaseException as error:  # noqa: BLE001 - `work` raises it where it is waited for
            with self._run.changed:
                self._error = self._error or error
                self._run.changed.notify_all()

    def _take(self) -> Job | None:
        """Wait for the next job; None once there will be none."""
        with self._run.changed:
            while not self._over and self._error is None:
                job = self._choose()
                if job is not None:
                    return job
                self._run.changed.wait(WATCH_SECONDS)
        return None

    def _choose(self) -> Job | None:
        if self._run.landing.due and not self._landing:
            self._landing = True
            return self._do_land
        for download in self._open:
            chore = self._chore(download)
            if chore is not None:
                return chore
        streams = self._run.lease.budget.streams
        if self._fetching + self._opening >= streams or self._run.lease.paused:
            return None
        chosen = self._first(next_fetch)
        if chosen is None and self._todo and len(self._open) < streams + MOST_OPEN:
            self._opening += 1
            item = self._todo.popleft()
            return partial(self._do_open, item)
        chosen = chosen or self._first(steal)
        if chosen is None:
            return None
        self._fetching += 1
        return partial(self._do_fetch, *chosen)

    def _first(self, choose: Callable[[Download], Fetch | None]) -> tuple[Download, Fetch] | None:
        pairs = ((one, choose(one)) for one in self._open if one not in self._busy)
        return next(((one, fetch) for one, fetch in pairs if fetch is not None), None)

    def _chore(self, download: Download) -> Job | None:
        """Choose what has to be done about an item besides fetching."""
        if download in self._busy or download in self._sealing:
            return None
        if download.spoilt and not download.fetches:
            return self._job(self._busy, download, download.clear)
        if download.cross is not None and download.cross.done and not download.spoilt:
            return self._job(self._busy, download, lambda: convict(download))
        if download.finished:
            for fetch in download.fetches:
                fetch.cut()
            if any(fetch.claim.busy > fetch.claim.at for fetch in download.fetches):
                return None  # one is still writing; the next will not
            return self._job(self._busy, download, lambda: self._prove(download))
        if download.hopeless:
            faults = [one.out for one in download.mirrors if one.out is not None]
            return self._job(self._busy, download, lambda: self._give_up(download, faults))
        if download.unsealed * GRANULE >= CHECKPOINT and not download.spoilt:
            return self._job(self._sealing, download, download.seal)
        return None

    def _job(self, under: set[Download], download: Download, chore: Callable[[], None]) -> Job:
        """Do a chore while ``under`` says that it is being done."""
        under.add(download)

        def work(block: memoryview) -> memoryview:
            try:
                self._guard(download, chore)
            finally:
                with self._run.changed:
                    under.discard(download)
                    self._run.changed.notify_all()
            return block

        return work

    def _do_land(self, block: memoryview) -> memoryview:
        """Land what waits: the disk may take seconds, in which streams have to be ended in time."""
        try:
            self._run.landing.flush()
        finally:
            with self._run.changed:
                self._landing = False
        return block

    def _do_open(self, item: Item, block: memoryview) -> memoryview:
        opened: Download | ItemResult | None = None
        try:
            opened = open_item(self._run, item)
        finally:
            with self._run.changed:
                self._opening -= 1
                if isinstance(opened, Download):
                    self._open.append(opened)
                elif opened is not None:
                    self.settle(item, opened)
                self._run.changed.notify_all()
        return block

    def _do_fetch(self, download: Download, fetch: Fetch, block: memoryview) -> memoryview:
        fault: Fault | None = None
        try:
            fetch.run(block)
        except (Fault, OSError) as error:
            fault = local(download.item, error)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - one host's oddity ends nothing but itself
            _log.exception("failed", host=fetch.mirror.tally.host, path=download.item.path)
            fault = Bad(f"{fetch.mirror.tally.host}: {type(error).__name__} while it was read")
        finally:
            with self._run.changed:
                self._fetching -= 1
                fetch.keeper.leave(fetch, fault)
                download.left(fetch)
        if isinstance(fault, Local) and not fetch.is_cut:
            self._give_up(download, [fault])
        return fetch.block

    def _prove(self, download: Download) -> None:
        found = prove(download)
        if found is not None:
            self._leave(download)
            land(self._run, download, found, lambda result: self.settle(download.item, result))

    def _give_up(self, download: Download, faults: Sequence[Fault]) -> None:
        """End an item that cannot be had; what is held of it stays, to be resumed."""
        if self._leave(download):
            download.give_up()
            self.settle(download.item, result(download.item.artifact, list(faults)))

    def _guard(self, download: Download, chore: Callable[[], None]) -> None:
        """Do a chore; what this host cannot do ends the item."""
        try:
            chore()
        except (Fault, OSError) as error:
            self._give_up(download, [local(download.item, error)])

    def _leave(self, download: Download) -> bool:
        """Take an item off the board; False if it was off already."""
        with self._run.changed:
            if download not in self._open:
                return False
            self._open.remove(download)
            return True
