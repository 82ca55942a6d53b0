"""One item on its way from several sources at once: how answers change what is held of it.

``holding.py`` has that state; ``asking.py`` decides what to ask of whom, ``trouble.py`` what a
fault means, ``proof.py`` what a wrong digest means.

All state is read and changed while ``run.changed`` is held; methods that are to be called without
it say so.
"""

from pathlib import Path

from fleet.messages import Item
from workers.pull import trouble
from workers.pull.answers import Body, Part, Validator
from workers.pull.cross import CrossExamination
from workers.pull.extents import ENDLESS, GRANULE, Claim
from workers.pull.faults import Bad, Fault, Local, Passing, Worthless
from workers.pull.fetch import Fetch
from workers.pull.holding import Holding
from workers.pull.mirror import Mirror
from workers.pull.partial import Partial
from workers.pull.pieces import PieceCheck
from workers.pull.run import Run

LEAST = 4 * 1024 * 1024
CHECKPOINT = 16 * 1024 * 1024
LEAVE_SECONDS = 2.0


class Download(Holding):
    """What is held of one item, and the keeper of what its fetches bring.

    Attributes:
        answers: how many brought what is held; ``sole`` is whose the one was, if it was one.
        cross: the examination of several sources, while it goes on; ``examined`` once it has.
    """

    def __init__(self, run: Run, item: Item, partial: Partial, final: Path) -> None:
        super().__init__(run, item, partial)
        self.final = final
        self.answers = 0
        self.sole: Mirror | None = None
        self.cross: CrossExamination | None = None
        self.examined = False
        self._given_up = False

    @property
    def finished(self) -> bool:
        """Whether all bytes are here; of an empty file, whether a source said that it is."""
        if self.spoilt or self.cross is not None:
            return False
        return self.extents.whole and (self.opened or self.extents.held > 0)

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

    def fetch(self, mirror: Mirror, claim: Claim, part: Part) -> Fetch:
        """Begin to ask a mirror for a claim."""
        return self.ask(mirror, claim, part, self)

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

    def _vouch(self) -> None:
        """Keep a journal of what is worth resuming."""
        with self.run.changed:
            size = self.extents.size
            if not (self.spoilt or self.finished) and (size is None or size >= LEAST):
                self.partial.begin(size, self._authors())

    # How it ends

    def leave(self, fetch: Fetch, fault: Fault | None) -> None:
        """Give a fetch's claim back, and take what went wrong with it."""
        if fetch.claim in self.extents.claims:
            self.extents.release(fetch.claim)
        if fault is not None and not fetch.is_cut and not isinstance(fault, Local):
            trouble.take(self, fetch.mirror, fault)

    def left(self, fetch: Fetch) -> None:
        """Count a fetch out that its keeper has left."""
        self.fetches.remove(fetch)
        fetch.mirror.streams -= 1
        if self._given_up and not self.fetches:
            self._close()
        self.run.changed.notify_all()

    def end_cross(self) -> None:
        """End the examination of several sources."""
        if self.cross is not None:
            self.cross.close()
        self.cross = None

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

    def _close(self) -> None:
        self.rewind()  # a late write may have begun new digests
        self.end_cross()
        self.partial.close()
