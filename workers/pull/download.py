"""One item on its way from several sources at once: its state, and how answers change it.

``asking.py`` decides what to ask of whom, ``trouble.py`` what a fault means, ``proof.py`` what a
wrong digest means.

All state is read and changed while ``run.changed`` is held; methods that are to be called without
it say so.
"""

from pathlib import Path

from fleet.messages import Item
from workers.digests import kinds, parts_of, pieces_of
from workers.pull import trouble
from workers.pull.answers import Body, Part, Validator, Wanted
from workers.pull.cross import CrossExamination
from workers.pull.extents import ENDLESS, GRANULE, Claim, Extents, granules
from workers.pull.faults import Bad, Fault, Local, Passing, Worthless
from workers.pull.fetch import Fetch, Keeper
from workers.pull.journal import Author
from workers.pull.lanes import Lanes
from workers.pull.mirror import Mirror, in_use, mirrors_of
from workers.pull.partial import Partial
from workers.pull.pieces import PieceCheck, fit, unit
from workers.pull.run import Run

LEAST = 4 * 1024 * 1024
MOST = 128 * 1024 * 1024
CHECKPOINT = 16 * 1024 * 1024
LEAVE_SECONDS = 2.0


class Download:
    """The state of one item.

    Attributes:
        proven: a sha256 will decide whether the bytes are right.
        fetches: the answers that are asked for or read.
        reached: how many bytes the digests may have read.
        only: whom alone to ask, for all of it in one answer.
        answers: how many brought what is held; ``sole`` is whose the one was, if it was one.
        cross: the examination of several sources, while it goes on; ``examined`` once it has.
        opened: there was a good answer.
        spoilt: all that is held is to be thrown away.
        unsealed: granules that a power cut would take.
        forgotten: how often granules were taken back.
        inherited: the granules that are held as an earlier attempt left them.
    """

    def __init__(self, run: Run, item: Item, partial: Partial, final: Path) -> None:
        self.run = run
        self.item = item
        self.partial = partial
        self.final = final
        self.proven = item.sha256 is not None
        self.mirrors = mirrors_of(item, run.tallies, partial.journal.head.authors)
        self.extents = self._fresh(item.size)
        self.fetches: list[Fetch] = []
        self.lanes: Lanes | None = None
        self.reached = 0
        self.only: Mirror | None = None
        self.answers = 0
        self.sole: Mirror | None = None
        self.cross: CrossExamination | None = None
        self.examined = False
        self.opened = False
        self.spoilt = False
        self.unsealed = 0
        self.forgotten = 0
        self._before = partial.journal.head.authors
        self._given_up = False
        self.inherited: frozenset[int] = frozenset()
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

    @property
    def finished(self) -> bool:
        """Whether all bytes are here; of an empty file, whether a source said that it is."""
        if self.spoilt or self.cross is not None:
            return False
        return self.extents.whole and (self.opened or self.extents.held > 0)

    def resumable(self, mirror: Mirror) -> bool:
        """Whether an answer of this mirror can be broken off without loss."""
        sure = self.proven or mirror.validator.strong
        return sure and mirror.ranged and self.only is None and self.extents.size is not None

    @property
    def source(self) -> str | None:
        """The URL that most of the file came from, if any came in this attempt."""
        authors = self.extents.authors
        counts = [(authors.count(one.number), one.source.url) for one in self.mirrors if one.came]
        return max(counts, default=(0, self.sole.source.url if self.sole else None))[1]

    @property
    def hopeless(self) -> bool:
        """Whether nobody is left to ask."""
        going_on = self.fetches or self.spoilt or self.cross or self.finished
        return not (going_on or self.candidates())

    def expendable(self, fetch: Fetch) -> bool:
        """Whether no byte is lost if a fetch is broken off."""
        return fetch.is_vain or self.resumable(fetch.mirror)

    def wanted(self, mirror: Mirror) -> Wanted:
        """Say what an answer of ``mirror`` has to be."""
        size = self.extents.size if self.proven and self.opened else self.item.size
        return Wanted(
            mirror.tally.host, self.item.path, size, self.run.order.max_bytes, self.proven
        )

    def fetch(
        self, mirror: Mirror, claim: Claim, part: Part, keeper: Keeper | None = None
    ) -> Fetch:
        """Begin to ask a mirror for a claim; ``keeper`` takes what comes, if not the download."""
        wanted = self.wanted(mirror)
        fetch = Fetch(self.run, mirror, claim, part, wanted, keeper or self)
        self.fetches.append(fetch)
        mirror.streams += 1
        return fetch

    # What comes

    def accept(self, fetch: Fetch, body: Body, *, ranged: bool) -> bool:
        """Make room for an answer that was judged good; False if it is of no use now.

        Call it without the lock: it may wait for the disk.

        Raises:
            Fault: it does not fit what is held.
        """
        mirror, claim = fetch.mirror, fetch.claim
        with self.run.changed:
            if fetch.is_cut:
                return False
            changed = fetch.part.validator.differs(body.validator)
            if changed:
                states = f"({fetch.part.validator}, then {body.validator})"
                fault = trouble.change(
                    self, mirror, f"{mirror.tally.host}: its file changed {states}"
                )
                if fault is not None:
                    raise fault
            mirror.ranged = mirror.ranged and (ranged or not fetch.part.ranged)
            apart = not self.proven and not ranged and self.extents.held > 0
            anew = changed or apart or body.start != claim.at or not claim.end
            if anew and not self._alone(fetch):
                if changed:
                    self.spoil()
                else:
                    told = f"{mirror.tally.host}: answered 200 with the whole file for a range"
                    mirror.tally.blame(Bad(told))
                return False
        if anew:
            self.clear()
        if body.size is not None and not self.opened:
            self._have_room(mirror, body.size - self.extents.held)
        with self.run.changed:
            if anew:
                claim.start = claim.at = 0
                claim.end = ENDLESS
                if claim not in self.extents.claims:
                    self.extents.claims.append(claim)
            self._fit(claim, body, mirror)
            mirror.validator = body.validator
            self.opened = True
            self.answers += 1
            self.sole = mirror if self.answers == 1 and not self.extents.held else None
        self._vouch()
        return True

    def write(self, view: memoryview, claim: Claim) -> None:
        """Put a claim's next bytes where they belong; call it without the lock.

        Raises:
            OSError: the disk fails us.
        """
        self.partial.write(view, claim.at)

    def took(self, fetch: Fetch, count: int, sure: int) -> None:
        """Count bytes that were written, of which those up to ``sure`` may be held.

        Call it without the lock.
        """
        claim = fetch.claim
        with self.run.changed:
            claim.at += count
            fetch.mirror.came += count
            self.run.lease.advance(count)
            disowned = fetch.is_cut and isinstance(fetch.mirror.out, Worthless)
            if disowned or claim not in self.extents.claims:
                return  # all of it was given up meanwhile
            new = self.extents.mark(claim, sure)
            if new:
                self.partial.journal.mark(
                    new.start, bytes(self.extents.authors[new.start : new.stop])
                )
                self.unsealed += len(new)
                self.reach()
            if new or count < GRANULE // 8:  # or it is so slow that somebody would wonder
                self._show()
            if self.extents.whole or self.unsealed * GRANULE >= CHECKPOINT:
                self.run.changed.notify_all()

    def spare(self, start: int, block: memoryview) -> memoryview:
        """Hand a granule that was written to the digests; give the block to go on with."""
        lanes = self.lanes
        return block if lanes is None else lanes.offer(start, block)

    def ended(self, fetch: Fetch, body: Body) -> None:
        """Take the honest end of an answer; call it without the lock.

        Raises:
            Passing: it came too early.
        """
        claim, host = fetch.claim, fetch.mirror.tally.host
        with self.run.changed:
            if fetch.is_cut:
                return  # it is we who ended it
            if claim.end == ENDLESS:
                self.extents.learn(claim.at)
                self.extents.mark(claim, claim.at)
                self.reach()
            elif claim.left > 0:
                raise Passing(f"{host}: sent {claim.at} of {body.size} bytes and then ended")

    def check(self, claim: Claim) -> PieceCheck | None:
        """Make the check of known pieces for what a claim brings; call it without the lock."""
        size, length = self.extents.size, self.run.order.piece_length
        if size is None or length is None or not self.checked:
            return None
        begin = (claim.at - claim.at % length) // GRANULE
        before = self.extents.authors[begin : claim.at // GRANULE]
        own = not any(before) or (set(before) == {claim.author} and begin not in self.inherited)
        return PieceCheck(self.run.known, length, size, claim.at, self.partial.read, own=own)

    @property
    def checked(self) -> bool:
        """Whether the hashes of this file's pieces are known."""
        return fit(self.run.known, self.run.order.piece_length, self.extents.size)

    def _have_room(self, mirror: Mirror, needed: int) -> None:
        """Make sure of room for a file; a size that only one of several sources tells is its own.

        Raises:
            Bad: there is none for what this one offers.
            Local: there is none.
        """
        try:
            self.run.have_room(needed)
        except Local as fault:
            if self.item.size is None and len(self.candidates()) > 1:
                raise Bad(f"{mirror.tally.host}: offers a file too large: {fault}") from fault
            raise

    def _alone(self, fetch: Fetch) -> bool:
        return self.fetches == [fetch] and self.candidates() == [fetch.mirror]

    def _fit(self, claim: Claim, body: Body, mirror: Mirror) -> None:
        """Learn from an answer how long the file is, and how much of it this claim should bring."""
        extents = self.extents
        if extents.size is None and body.size is not None:
            extents.learn(body.size)
            extents.unit = self._unit(body.size)
        size = extents.size
        if size is None:
            return
        if claim.end == ENDLESS:
            claim.end = size
        if not mirror.ranged:
            extents.extend(claim)
        self.reach()

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

    def _vouch(self) -> None:
        """Keep a journal of what is worth resuming."""
        with self.run.changed:
            size = self.extents.size
            if not (self.spoilt or self.finished) and (size is None or size >= LEAST):
                self.partial.begin(size, self._authors())

    # What goes wrong

    def leave(self, fetch: Fetch, fault: Fault | None) -> None:
        """End a fetch, and take what went wrong with it."""
        if fetch.claim in self.extents.claims:
            self.extents.release(fetch.claim)
        if fault is not None and not fetch.is_cut and not isinstance(fault, Local):
            trouble.take(self, fetch, fault)
        self.left(fetch)

    def left(self, fetch: Fetch) -> None:
        """Count a fetch out, whoever its keeper is."""
        self.fetches.remove(fetch)
        fetch.mirror.streams -= 1
        if self._given_up and not self.fetches:
            self._close()
        self.run.changed.notify_all()

    def _close(self) -> None:
        self.rewind()  # a late write may have begun new digests
        self.end_cross()
        self.partial.close()

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

    def _show(self) -> None:
        """Tell whoever watches how far it is."""
        begun = sum(one.at % GRANULE for one in self.extents.claims if one.left > 0)
        self.run.watch.sizes[self.item.artifact] = self.extents.size
        self.run.watch.held[self.item.artifact] = self.extents.held + begun

    def end_cross(self) -> None:
        """End the examination of several sources."""
        if self.cross is not None:
            self.cross.close()
        self.cross = None

    def spoil(self) -> None:
        """Have all that is held thrown away, as soon as nobody is fetching."""
        self.spoilt = True
        for fetch in self.fetches:
            fetch.cut()

    def give_up(self) -> None:
        """Let go of everything; what is held stays on disk.  Call it without the lock."""
        with self.run.changed:
            for fetch in self.fetches:
                fetch.cut()
            self.run.changed.wait_for(lambda: not self.fetches, LEAVE_SECONDS)
            self.rewind()
            self._given_up = True
            if not self.fetches:
                self._close()

    def clear(self) -> None:
        """Throw away all that is held; call it without the lock, and with nobody else fetching."""
        with self.run.changed:
            self.rewind()
            self.end_cross()
            self.extents = self._fresh(self.item.size)
            self.opened = self.spoilt = False
            self.answers = self.unsealed = 0
            self.sole = None
            self.inherited = frozenset()
            self.forgotten += 1
            for mirror in self.mirrors:
                mirror.came, mirror.validator = 0, Validator()
            self._show()
        self.partial.discard()

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
