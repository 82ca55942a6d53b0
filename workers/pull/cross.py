"""Finding the liar among several sources when only the whole file's digest is known.

Every granule is asked for once more, of another source than its author, and compared with what is
held.  Where the two differ, one of them lies.  For each source in question the file is then read
as if that one were the liar, each time with the others' bytes: if the digest is right, it was.

Only what differs is stored, in a file of its own beside the partial; so this takes the time of a
second pull at most, shared by all sources, and hardly any room.
"""

import hashlib
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from time import monotonic

from workers.digests import BLOCK, Block, read
from workers.pull.answers import Body, Part
from workers.pull.extents import ENDLESS, GRANULE, Claim, Extents
from workers.pull.faults import Again, Bad, Changed, Fault, Local, Passing, Worthless
from workers.pull.fetch import Fetch
from workers.pull.holding import Holding
from workers.pull.mirror import Mirror, pick, typical_rate
from workers.pull.pieces import PieceCheck

LEAST = 4 * 1024 * 1024
MOST = 32 * 1024 * 1024


@dataclass(frozen=True)
class Dispute:
    """Bytes ``[start, end)`` of which two authors say different things; ``at`` is the first."""

    start: int
    end: int
    at: int
    held: int
    other: int


class CrossExamination:
    """Second opinions on a file whose digest is wrong; a keeper of what its fetches bring."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._run = holding.run
        self._authors = bytes(holding.extents.authors)
        self._asked = Extents(holding.extents.size)
        self._disputes: list[Dispute] = []
        # unnamed: a process that dies leaves nothing behind
        self._others = tempfile.TemporaryFile(dir=holding.partial.path.parent)  # noqa: SIM115 - until close

    def close(self) -> None:
        """Let go of what was said otherwise."""
        self._others.close()

    # What to ask

    def next(self) -> Fetch | None:
        """Choose the next granules to ask for once more; None if there are none just now."""
        mirrors = self._open
        while (mirror := pick(mirrors, monotonic(), spare=self._run.load.spare)) is not None:
            claim = self._asked.claim(mirror.number, MOST, self._authors)
            if claim is not None:
                return self._fetch(mirror, claim)
            mirrors = [one for one in mirrors if one is not mirror]
        return None

    def steal(self) -> Fetch | None:
        """Help the slowest stream out, where the helper is not the author in question."""
        mirror = pick(self._open, monotonic(), spare=self._run.load.spare)
        if mirror is None:
            return None
        usual = typical_rate(self._holding.mirrors)
        for fetch in self._fetches:
            fetch.claim.rate = fetch.pace(monotonic()) or usual
        rate = mirror.rate or usual
        claim = self._asked.steal(mirror.number, rate, least=LEAST, avoid=self._authors)
        return None if claim is None else self._fetch(mirror, claim)

    @property
    def _open(self) -> list[Mirror]:
        """Those whom the budgets of their providers let us ask at all."""
        pace = self._run.pace
        return [one for one in self._holding.candidates() if pace.open(one.tally.host)]

    @property
    def done(self) -> bool:
        """Whether nobody can say anything more."""
        waiting = any(
            self._asked.would_claim(one.number, self._authors) for one in self._holding.candidates()
        )
        return not (self._fetches or waiting)

    @property
    def _fetches(self) -> list[Fetch]:
        return [fetch for fetch in self._holding.fetches if fetch.keeper is self]

    def _fetch(self, mirror: Mirror, claim: Claim) -> Fetch:
        rest = claim.end == self._asked.size
        end = None if rest or claim.end == ENDLESS else claim.end
        part = Part(claim.at, self._asked.size, mirror.validator, end=end)
        return self._holding.ask(mirror, claim, part, self)

    # What comes

    def accept(self, fetch: Fetch, body: Body, *, ranged: bool) -> bool:  # noqa: ARG002 - as every keeper
        """Take an answer that is of the same state of the file."""
        if fetch.part.validator.differs(body.validator):
            raise Worthless(f"{fetch.mirror.tally.host}: its file changed while it was read")
        if body.start != fetch.claim.at:
            host = fetch.mirror.tally.host
            raise Bad(f"{host}: answered 200 with the whole file for a range")
        return not fetch.is_cut

    def check(self, claim: Claim) -> PieceCheck | None:  # noqa: ARG002 - as every keeper
        """No piece is known."""
        return None

    def write(self, view: memoryview, claim: Claim) -> None:
        """Compare with what is held; keep what differs."""
        at = claim.at
        while view:
            part = view[: GRANULE - at % GRANULE]
            held = self._holding.partial.read(at, at + len(part))
            if held != part:
                os.pwrite(self._others.fileno(), part, at)
                first = next(i for i, (a, b) in enumerate(zip(held, part, strict=False)) if a != b)
                dispute = Dispute(
                    at, at + len(part), at + first, self._authors[at // GRANULE], claim.author
                )
                with self._run.changed:
                    self._disputes.append(dispute)
            at, view = at + len(part), view[len(part) :]

    def took(self, fetch: Fetch, count: int, sure: int) -> None:
        """Count bytes that were compared."""
        with self._run.changed:
            fetch.claim.at += count
            fetch.mirror.came += count
            self._run.lease.advance(count)
            self._asked.mark(fetch.claim, sure)

    def spare(self, start: int, block: memoryview) -> memoryview:  # noqa: ARG002 - as every keeper
        """Keep the block: nothing else is done with it."""
        return block

    def ended(self, fetch: Fetch, body: Body) -> None:
        """Take the end of an answer that was too short."""
        if fetch.claim.left > 0 and not fetch.is_cut:
            told = f"{fetch.mirror.tally.host}: sent {fetch.claim.at} of {body.size} bytes"
            raise Passing(f"{told} and then ended")

    def leave(self, fetch: Fetch, fault: Fault | None) -> None:
        """Give a fetch's claim back, and take what went wrong with it."""
        self._asked.release(fetch.claim)
        if fault is not None and not fetch.is_cut and not isinstance(fault, Local | Again):
            fetch.mirror.tally.blame(fault)
            if isinstance(fault, Passing):
                fetch.mirror.failed(fault, monotonic())
            else:
                told = Worthless(str(fault)) if isinstance(fault, Changed) else fault
                self._holding.drop(fetch.mirror, told)

    # What follows

    def verdict(self) -> tuple[Mirror | None, str] | None:
        """Find the liar and put right what is held; None if no single one explains it.

        Call it without the lock, once nobody fetches any more.

        Returns:
            The liar (None: it was one of an earlier attempt), and the proof.
        """
        involved = Counter(one.held for one in self._disputes)
        involved.update(one.other for one in self._disputes)
        numbers = [number for number, _ in involved.most_common()]
        for number in numbers:
            theirs = [one for one in self._disputes if one.held == number]
            if self._sha256(theirs) == self._holding.item.sha256:
                self._put_right(theirs)
                liar = next((m for m in self._holding.mirrors if m.number == number), None)
                return liar, self._evidence(number)
        return None

    def _sha256(self, replaced: list[Dispute]) -> str:
        """Hash what is held, with the others' bytes in some places."""
        digest, at, lease = hashlib.sha256(), 0, self._run.lease
        descriptor = self._holding.partial.descriptor

        def take(block: Block) -> None:
            lease.check()
            digest.update(block)

        for dispute in sorted(replaced, key=lambda one: one.start):
            start = max(at, dispute.start)  # two may speak of the same bytes
            read(descriptor, take, start=at, end=start)
            at = read(self._others.fileno(), take, start=start, end=max(start, dispute.end))
        read(descriptor, take, start=at, end=self._asked.size)
        return digest.hexdigest()

    def _put_right(self, replaced: list[Dispute]) -> None:
        for dispute in replaced:
            at = dispute.start
            while at < dispute.end:
                block = os.pread(self._others.fileno(), min(BLOCK, dispute.end - at), at)
                self._holding.partial.write(memoryview(block), at)
                at += len(block)
        with self._run.changed:
            for dispute in replaced:
                granule = dispute.start // GRANULE
                self._holding.extents.authors[granule] = dispute.other
                self._holding.partial.journal.mark(granule, bytes([dispute.other]))
            self._holding.forgotten += 1  # a seal under way must not vouch for these

    def _evidence(self, number: int) -> str:
        against = [one for one in self._disputes if number in {one.held, one.other}]
        others = {one.held if one.other == number else one.other for one in against}
        hosts = {one.tally.host for one in self._holding.mirrors if one.number in others}
        first, many = min(one.at for one in against), len(against)
        return (
            f"from byte {first} on, in {many} blocks, they differ from those of "
            f"{' and '.join(sorted(hosts))}, with which the sha256 is right"
        )
