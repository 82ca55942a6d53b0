"""Two ways at once: HTTP mirrors, and the peers of torrents, each with lots of its own.

Rules this module keeps:

- Each way is the transfer engine, whole; what one could not bring is left to the other.
- HTTP takes lots from the front, peers from the back.  Whichever has nothing left to do takes what
  the other has not begun; HTTP also what peers are slow at (``lots.takes_over``).
- A mirror that sent wrong bytes is asked nothing more, unless files are left that nobody else
  brings: then once more at the end, since every byte is proved whoever sends it.
- What peers brought a part of is thrown away once all of that torrent is here by another way.
"""

import shutil
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from fleet.catalogue.client.offer import File, Offer
from fleet.cli.get.lots import Lot, takes_over
from fleet.cli.get.orders import artifact, by_mirrors, by_peers
from fleet.cli.get.swarms import Swarms
from fleet.cli.pull.hold import Hold
from fleet.messages import ItemResult, Order
from fleet.settings import SiteSettings
from workers.lease import Lease, Stopped
from workers.pull import Watch, pull
from workers.pull.tally import Tallies, Tally
from workers.pull.torrent import fetched_to
from workers.seeder.lone import Lone
from workers.storage.posix import PosixStorage

LOOK_SECONDS = 0.2
_NOBODY = "nobody is known to have it now"


class _Errand(Lease):
    """What peers are asked for: a lot, on a hold that may be taken away by itself."""

    def __init__(self, lot: Lot, whole: Hold) -> None:
        super().__init__(whole.budget)
        self.lot = lot
        self.taken = False
        self._whole = whole
        self._began = self._moved = time.monotonic()
        self._held = 0

    def check(self) -> None:
        """Return if the work may go on.

        Raises:
            Stopped: a signal came, or HTTP brings the lot.
        """
        self._whole.check()
        if self.taken:
            raise Stopped("the mirrors bring it")

    def is_behind(self, held: int, http_rate: float) -> bool:
        """Whether HTTP would bring the lot sooner, of which ``held`` bytes are here."""
        now = time.monotonic()
        if held != self._held:
            self._held, self._moved = held, now
        rate = held / max(now - self._began, LOOK_SECONDS)
        return takes_over(self.lot.size - held, rate, self.lot.size, http_rate, now - self._moved)


@dataclass
class Lanes:
    """Both ways, and what came of them.

    Attributes:
        watch: what HTTP is doing, or peers where there is nothing else, and what is held.
        results: of each file, by path.
    """

    offer: Offer
    storage: PosixStorage
    settings: SiteSettings
    hold: Hold
    swarms: Swarms
    watch: Watch = field(default_factory=lambda: Watch(tallies=Tallies(strict=True)))
    results: dict[str, ItemResult] = field(default_factory=dict)
    _todo: deque[Lot] = field(default_factory=deque)
    _left: deque[Lot] = field(default_factory=deque)  # by HTTP, to peers
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _http_busy: bool = False
    _alive: bool = False  # whether somebody asks peers
    _errand: _Errand | None = None

    def run(self, lots: Sequence[Lot]) -> None:
        """Bring lots to their places; ``results`` tells what became of each file.

        Raises:
            Stopped: a signal came; what came is left to be gone on with.
        """
        files = [file for lot in lots for file in lot.files]
        self.watch.sizes.update({artifact(file): file.size for file in files})
        (self._todo if self.offer.places else self._left).extend(lots)
        if any(lot.infohash for lot in lots):
            self._both()
        elif self.offer.places:
            self._by_http()
        self._once_more(files)
        self._clear(files)
        for file in files:
            none = ItemResult(artifact=artifact(file), ok=False, reason=_NOBODY)
            self.results.setdefault(file.path, none)

    def _both(self) -> None:
        with Lone(self.settings, self.swarms.known) as lone:
            self.settings, self._alive = lone.settings, True
            peers = threading.Thread(target=self._by_peers, name="peers")
            peers.start()
            try:
                self._by_http()
            finally:
                with self._changed:
                    self._alive = False
                    if self._errand is not None:
                        self._errand.taken = True
                    self._changed.notify_all()
                peers.join()
        self.hold.check()

    # By HTTP

    def _by_http(self) -> None:
        while (lot := self._next_for_http()) is not None:
            failed = self._pull(lot, by_mirrors(lot, self.offer), self.hold, self.watch)
            if failed and lot.infohash:
                with self._changed:
                    self._left.append(Lot(tuple(failed), lot.infohash))
                    self._changed.notify_all()

    def _next_for_http(self) -> Lot | None:
        """Wait for a lot that HTTP may bring; None once there will be none."""
        with self._changed:
            self._http_busy = False
            while not self._todo:
                self.hold.check()
                self._changed.notify_all()
                if not self._alive or not (self._errand or self._left):
                    return None
                if self._errand is not None:
                    self._consider(self._errand)
                self._changed.wait(LOOK_SECONDS)
            self._http_busy = True
            self._changed.notify_all()
            return self._todo.popleft()

    def _consider(self, errand: _Errand) -> None:
        """Take a lot from peers who are slow at it, where HTTP was not tried yet."""
        if self._was_tried(errand.lot) or not self.offer.places:
            return
        held = sum(self.watch.held.get(artifact(file), 0) for file in errand.lot.files)
        http = [one for one in self.watch.tallies.hosts.values() if one.site and one.seconds > 0]
        errand.taken = errand.is_behind(held, sum(one.bytes / one.seconds for one in http))

    # By peers

    def _by_peers(self) -> None:
        try:
            while (errand := self._next_for_peers()) is not None:
                self._go(errand)
        except Stopped:
            pass  # whoever asks mirrors hears of it as well
        finally:
            with self._changed:
                self._alive, self._errand = False, None
                self._changed.notify_all()

    def _next_for_peers(self) -> _Errand | None:
        """Wait for a lot that peers may bring; None once there will be none."""
        with self._changed:
            while self._alive:
                self.hold.check()
                lot = self._chosen()
                if lot is not None:
                    self._errand = _Errand(lot, self.hold)
                    return self._errand
                if not self._http_busy and not self._todo:
                    return None
                self._changed.wait(LOOK_SECONDS)
            return None

    def _chosen(self) -> Lot | None:
        """Choose what HTTP could not bring, then what it would come to last."""
        while self._left:
            lot = self._left.popleft()
            if lot.infohash in self.swarms.peers:
                return lot
        for lot in reversed(self._todo if self._http_busy else ()):
            if lot.infohash in self.swarms.peers:
                self._todo.remove(lot)
                return lot
        return None

    def _go(self, errand: _Errand) -> None:
        lot, failed = errand.lot, list(errand.lot.files)
        tried, slow = self._was_tried(lot), False
        watch = Watch(tallies=self.watch.tallies, sizes=self.watch.sizes, held=self.watch.held)
        order = by_peers(lot, self.swarms.peers[lot.infohash])
        try:
            failed = self._pull(lot, order, errand, watch if self.offer.places else self.watch)
        except Stopped:
            self.hold.check()
            slow = True
        finally:
            with self._changed:
                self._errand = None
                if len(failed) == len(lot.files) and not slow:  # nobody has it
                    self.swarms.peers.pop(lot.infohash)
                if failed and not tried and self.offer.places:
                    asked = lot.infohash if slow else ""  # peers again, where mirrors have it not
                    self._todo.append(replace(lot, files=tuple(failed), infohash=asked))
                self._changed.notify_all()

    def _was_tried(self, lot: Lot) -> bool:
        return any(file.path in self.results for file in lot.files)

    # Either way

    def _pull(self, lot: Lot, order: Order, hold: Lease, watch: Watch) -> list[File]:
        """Pull a lot; give the files that could not be had."""
        work = pull(
            order, self.storage, hold, settings=self.settings, known=lot.pieces, watch=watch
        )
        with self._changed:
            for file, result in zip(lot.files, work.items, strict=True):
                before = self.results.get(file.path)
                why = f"{before.reason}; " if before and not result.ok else ""
                self.results[file.path] = result.model_copy(update={"reason": why + result.reason})
            self.watch.items_failed = sum(not one.ok for one in self.results.values())
            return [file for file in lot.files if not self.results[file.path].ok]

    def _once_more(self, files: Iterable[File]) -> None:
        """Ask again for what nobody else brought, of those who sent wrong bytes of other files."""
        liars = [one for one in self.watch.tallies.hosts.values() if one.lies and one.site]
        left = [file for file in files if not self._is_here(file)]
        again = tuple(file for file in left if self._may_be_had(file, liars))
        if again:
            watch = Watch(sizes=self.watch.sizes, held=self.watch.held)
            lot = Lot(again)
            self._pull(lot, by_mirrors(lot, self.offer), self.hold, watch)
            self.watch.tallies.add(watch.tallies)

    def _clear(self, files: Iterable[File]) -> None:
        """Throw away what peers brought of torrents of which all that is wanted is here."""
        every = list(files)
        left = {file.infohash for file in every if not self._is_here(file)}
        for infohash in {file.infohash for file in every} - left - {""}:
            shutil.rmtree(fetched_to(self.storage, infohash), ignore_errors=True)

    def _is_here(self, file: File) -> bool:
        result = self.results.get(file.path)
        return result is not None and result.ok

    def _may_be_had(self, file: File, liars: Sequence[Tally]) -> bool:
        """Whether one of them has a file that it is not known to have lied about."""
        urls = dict(self.offer.sources(file))
        asked = (urls.get(one.site or "", "") for one in liars)
        return any(url and url not in one.lies for url, one in zip(asked, liars, strict=True))
