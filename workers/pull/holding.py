"""What is held of one item, who may be asked for the rest, and who is being asked.

All state is read and changed while ``run.changed`` is held; methods that are to be called without
it say so.
"""

from fleet.messages import Item
from workers.digests import kinds, parts_of, pieces_of
from workers.pull.answers import Part, Wanted
from workers.pull.extents import GRANULE, Claim, Extents, granules
from workers.pull.faults import Fault
from workers.pull.fetch import Fetch, Keeper
from workers.pull.journal import Author
from workers.pull.lanes import Lanes
from workers.pull.mirror import Mirror, in_use, mirrors_of
from workers.pull.partial import Partial
from workers.pull.pieces import fit, unit
from workers.pull.run import Run


class Holding:
    """The state of one item.

    Attributes:
        proven: a sha256 will decide whether the bytes are right.
        fetches: the answers that are asked for or read.
        reached: how many bytes the digests may have read.
        only: whom alone to ask, for all of it in one answer.
        opened: there was a good answer.
        spoilt: all that is held is to be thrown away.
        unsealed: granules that a power cut would take.
        forgotten: how often granules were taken back.
        inherited: the granules that are held as an earlier attempt left them.
    """

    def __init__(self, run: Run, item: Item, partial: Partial) -> None:
        self.run = run
        self.item = item
        self.partial = partial
        self.proven = item.sha256 is not None
        self.mirrors = mirrors_of(item, run.tallies, partial.journal.head.authors)
        self.extents = self._fresh(item.size)
        self.fetches: list[Fetch] = []
        self.lanes: Lanes | None = None
        self.reached = 0
        self.only: Mirror | None = None
        self.opened = False
        self.spoilt = False
        self.unsealed = 0
        self.forgotten = 0
        self.inherited: frozenset[int] = frozenset()
        self._before = partial.journal.head.authors
        self._resume()

    def seal(self) -> None:
        """Make what is held survive a power cut; call it without the lock."""
        with self.run.changed:
            authors, forgotten, self.unsealed = bytes(self.extents.authors), self.forgotten, 0
        self.partial.sync()
        with self.run.changed:
            if forgotten != self.forgotten:
                return
            self.partial.journal.seal(authors)
        self.partial.journal.sync()

    def candidates(self) -> list[Mirror]:
        """Say who may be asked at all."""
        usable = in_use(self.mirrors)
        if self.only is not None:
            self.only = self.only if self.only in usable else next(iter(usable), self.only)
            return [self.only] if self.only in usable else []
        return usable if self.proven else usable[:1]

    def resumable(self, mirror: Mirror) -> bool:
        """Whether an answer of this mirror can be broken off without loss."""
        sure = self.proven or mirror.validator.strong
        return sure and mirror.ranged and self.only is None and self.extents.size is not None

    def expendable(self, fetch: Fetch) -> bool:
        """Whether no byte is lost if a fetch is broken off."""
        return fetch.is_vain or self.resumable(fetch.mirror)

    def wanted(self, mirror: Mirror) -> Wanted:
        """Say what an answer of ``mirror`` has to be."""
        size = self.extents.size if self.proven and self.opened else self.item.size
        return Wanted(
            mirror.tally.host, self.item.path, size, self.run.order.max_bytes, self.proven
        )

    def ask(self, mirror: Mirror, claim: Claim, part: Part, keeper: Keeper) -> Fetch:
        """Begin to ask a mirror for a claim; ``keeper`` takes what comes."""
        fetch = Fetch(self.run, mirror, claim, part, self.wanted(mirror), keeper)
        self.fetches.append(fetch)
        mirror.streams += 1
        return fetch

    @property
    def checked(self) -> bool:
        """Whether the hashes of this file's pieces are known."""
        return fit(self.run.known, self.run.order.piece_length, self.extents.size)

    def reach(self) -> None:
        """Let the digests read what is there for good: with known pieces, whole pieces only."""
        order, size, front = self.run.order, self.extents.size, self.extents.front
        if size is None:
            return
        if self.lanes is None:
            self.lanes = Lanes(
                self.partial.descriptor,
                kinds(order, self.item),
                pieces=pieces_of(order, size),
                parts=parts_of(order),
                check=self.run.lease.check,
            )
        if order.piece_length and self.checked and front != size:
            front -= front % order.piece_length
        self.reached = max(front, self.reached)
        self.lanes.reach(front)

    def rewind(self) -> None:
        """Let the digests begin anew: what they have read was wrong."""
        if self.lanes is not None:
            self.lanes.stop()
        self.lanes, self.reached = None, 0

    # What goes wrong

    def drop(self, mirror: Mirror, fault: Fault) -> None:
        """Ask a mirror no more."""
        mirror.out = mirror.out or fault
        for fetch in self.fetches:
            if fetch.mirror is mirror:
                fetch.cut()
        if not self.proven:
            self.opened = False
        if mirror is self.only:
            self.spoil()

    def forget(self, start: int, end: int) -> None:
        """Take back that bytes are held."""
        self.forgotten += 1
        self.extents.forget(start, end)
        first = start // GRANULE
        self.inherited -= set(range(first, granules(end)))
        self.partial.journal.mark(first, bytes(self.extents.authors[first : granules(end)]))
        if start < self.reached:
            self.rewind()

    def spoil(self) -> None:
        """Have all that is held thrown away, as soon as nobody is fetching."""
        self.spoilt = True
        for fetch in self.fetches:
            fetch.cut()

    def _show(self) -> None:
        """Tell whoever watches how far it is."""
        begun = sum(one.at % GRANULE for one in self.extents.claims if one.left > 0)
        self.run.watch.sizes[self.item.artifact] = self.extents.size
        self.run.watch.held[self.item.artifact] = self.extents.held + begun

    # How it begins

    def _fresh(self, size: int | None) -> Extents:
        return Extents(size, unit=self._unit(size))

    def _unit(self, size: int | None) -> int:
        length = self.run.order.piece_length
        return unit(length) if length and fit(self.run.known, length, size) else GRANULE

    def _resume(self) -> None:
        """Go on with what an earlier attempt left."""
        found, size = self.partial.found, self.partial.journal.head.size
        if not found:
            return
        if None not in {size, self.item.size} and size != self.item.size:
            self.partial.discard()
            return
        self.extents = self._fresh(self.item.size if size is None else size)
        count = len(self.extents.authors) or len(found)
        self.extents.authors = (found + bytes(count))[:count]
        self.inherited = frozenset(at for at, one in enumerate(self.extents.authors) if one)
        self._show()
        self.reach()

    def _authors(self) -> tuple[Author, ...]:
        """List all whose bytes may be held, by their numbers."""
        known = list(self._before)
        for one in self.mirrors:
            author = Author(
                url=one.source.url, etag=one.validator.etag, modified=one.validator.modified
            )
            known[one.number - 1 : one.number] = [author]
        return tuple(known)
