"""The bookkeeping of granules, against a model that remembers who wrote each byte."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workers.pull.extents import ENDLESS, GRANULE, Claim, Extents, granules

STEP = GRANULE // 4  # what the model can tell apart
AUTHORS = st.integers(1, 3)
RATES = st.sampled_from([1, 8, 80])


class Books(RuleBasedStateMachine):
    """Streams that claim, steal, write and break off, and bytes that are forgotten."""

    @initialize(steps=st.integers(0, 80), odd=st.integers(0, 1), unit=st.sampled_from([1, 1, 2, 4]))
    def open(self, steps: int, odd: int, unit: int) -> None:
        self.size = steps * STEP + odd
        self.unit = unit * GRANULE
        self.extents = Extents(self.size, unit=self.unit)
        self.disk = [0] * (-(-self.size // STEP))  # whose bytes they are, by steps
        self.writing: dict[Claim, list[int]] = {}  # bytes that were reserved, to be counted in turn
        self.streams: list[Claim] = []

    def pick(self, data: st.DataObject, claims: list[Claim]) -> Claim:
        return claims[data.draw(st.integers(0, len(claims) - 1))]

    @rule(author=AUTHORS, most=st.sampled_from([0, 5, 24, 80]))
    def claim(self, author: int, most: int) -> None:
        free = [at for at in range(granules(self.size)) if self.is_free(at)]
        claim = self.extents.claim(author, most * STEP)
        assert (claim is None) == (not free)
        if claim is None:
            return
        self.streams.append(claim)
        assert claim.start == free[0] * GRANULE
        assert claim.end % self.unit == 0 or claim.end == self.size or self.is_taken(claim)
        assert claim.left > 0
        gone_on = range(claim.start // STEP, claim.at // STEP)
        assert all(self.disk[at] == author for at in gone_on), "it goes on with another's bytes"

    @precondition(lambda self: any(one.left > 0 for one in self.streams))
    @rule(author=AUTHORS, rate=RATES, least=st.integers(1, 4), mine=st.sets(st.integers(0, 40)))
    def steal(self, author: int, rate: int, least: int, mine: set[int]) -> None:
        for one in self.streams:
            one.rate = one.rate or STEP
        before = {one: (one.at, one.end) for one in self.streams}
        avoid = bytes(author * (at in mine) for at in range(41)) if len(mine) > 2 else b""
        state = bytes(self.extents.authors)
        claim = self.extents.steal(author, rate * STEP, least=least * STEP, avoid=avoid)
        if claim is None:
            assert {one: (one.at, one.end) for one in self.streams} == before
            assert self.extents.authors == state
            return
        assert author not in avoid[claim.start // GRANULE : granules(claim.end)]
        [(victim, (at, end))] = [(one, was) for one, was in before.items() if one.end != was[1]]
        self.streams.append(claim)
        assert claim.end == end
        assert claim.start == claim.at
        assert claim.start % GRANULE == 0
        if victim.left > 0:
            assert claim.start % self.unit == 0
            assert victim.at == at
            assert victim.end == claim.start
            assert min(victim.left, claim.left) > 0
        else:
            assert victim.author != author
            assert claim.start <= at
            assert at - claim.start < self.unit

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), steps=st.integers(1, 9))
    def reserve(self, data: st.DataObject, steps: int) -> None:
        """Read on, whether or not what was read before is written yet."""
        self.reserve_some(self.pick(data, self.streams), steps)

    def reserve_some(self, claim: Claim, steps: int) -> None:
        read = claim.at + sum(self.writing.get(claim, ()))
        count = claim.reserve(read, steps * STEP)
        assert count == max(0, min(steps * STEP, claim.end - read))
        self.writing.setdefault(claim, []).append(count)
        for at in range(read // STEP, -(-(read + count) // STEP)):
            self.disk[at] = claim.author

    @precondition(lambda self: self.idle)
    @rule(data=st.data(), steps=st.integers(1, 9), behind=st.integers(0, 3), rate=RATES)
    def read(self, data: st.DataObject, steps: int, behind: int, rate: int) -> None:
        claim = self.pick(data, self.idle)
        self.reserve_some(claim, steps)
        self.advance_some(claim, behind, rate)

    @precondition(lambda self: self.writing)
    @rule(data=st.data(), behind=st.integers(0, 3), rate=RATES)
    def advance(self, data: st.DataObject, behind: int, rate: int) -> None:
        """Count what was written; a check of pieces may hold the last granules back."""
        self.advance_some(self.pick(data, list(self.writing)), behind, rate)

    def advance_some(self, claim: Claim, behind: int, rate: int) -> None:
        claim.at += self.writing[claim].pop(0)
        if not self.writing[claim]:
            del self.writing[claim]
        claim.rate = rate * STEP
        begun = claim.at % self.unit if claim.left > 0 else 0
        new = self.extents.mark(claim, claim.at - min(begun, behind * GRANULE))
        assert all(self.extents.authors[at] == claim.author for at in new)

    @precondition(lambda self: self.idle)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        claim = self.pick(data, self.idle)
        self.streams.remove(claim)
        self.extents.release(claim)

    @precondition(lambda self: len(self.streams) < 3 and any(self.extents.authors))
    @rule(start=st.integers(0, 12), count=st.integers(1, 8))
    def forget(self, start: int, count: int) -> None:
        """Throw bytes away, as is done with whole units that nobody is writing to."""
        begin = start * self.unit
        end = min(begin + count * self.unit, self.size)
        if any(one.start < end and begin < one.end for one in self.streams):
            return
        self.extents.forget(begin, end)
        for at in range(begin // STEP, -(-end // STEP)):
            self.disk[at] = 0

    @property
    def idle(self) -> list[Claim]:
        """Streams that are not writing."""
        return [one for one in self.streams if one not in self.writing]

    def is_free(self, granule: int) -> bool:
        claimed = any(
            one.left > 0 and one.start // GRANULE <= granule < granules(one.end)
            for one in self.streams
        )
        return not (self.extents.authors[granule] or claimed)

    def is_taken(self, claim: Claim) -> bool:
        """Whether a claim ends where others' work begins."""
        granule = claim.end // GRANULE
        ends = any(one.start == claim.end for one in self.streams if one is not claim)
        return ends or bool(self.extents.authors[granule])

    @invariant()
    def no_byte_is_claimed_twice(self) -> None:
        runs = sorted((one.start, one.end) for one in self.streams if one.left > 0)
        assert all(a[1] <= b[0] for a, b in pairwise(runs)), runs
        assert all(one.busy <= one.end for one in self.streams if one.left > 0)

    @invariant()
    def nothing_to_come_is_held(self) -> None:
        for claim in self.streams:
            to_come = range(claim.at // GRANULE, granules(claim.end) if claim.left > 0 else 0)
            assert not any(self.extents.authors[at] for at in to_come)

    @invariant()
    def what_is_held_is_its_authors(self) -> None:
        for at, author in enumerate(self.extents.authors):
            theirs = self.disk[at * 4 : at * 4 + 4]
            assert not author or set(theirs) == {author}, (at, author, theirs)

    @invariant()
    def counts_are_those_of_the_granules(self) -> None:
        extents = self.extents
        sizes = [min(GRANULE, self.size - at * GRANULE) for at in range(len(extents.authors))]
        held = [size if author else 0 for size, author in zip(sizes, extents.authors, strict=True)]
        assert extents.held == sum(held)
        missing = extents.authors.find(0)
        assert extents.front == (self.size if missing < 0 else missing * GRANULE)
        assert extents.whole == (sum(held) == self.size)
        for author in (1, 2, 3):
            runs = extents.runs_of(author)
            assert sum(end - start for start, end in runs) == sum(
                size for size, who in zip(sizes, extents.authors, strict=True) if who == author
            )

    def teardown(self) -> None:
        """Nothing is ever lost: once all that can be claimed was read, the file is whole."""
        if not hasattr(self, "extents"):
            return
        for claim, counts in self.writing.items():
            claim.at += sum(counts)
            self.extents.mark(claim, claim.at)
        for claim in self.streams:
            self.extents.release(claim)
        self.streams, self.writing = [], {}
        while (claim := self.extents.claim(1, 3 * GRANULE)) is not None:
            for at in range(claim.at // STEP, -(-claim.end // STEP)):
                self.disk[at] = 1
            claim.at += claim.reserve(claim.at, ENDLESS)
            self.extents.mark(claim, claim.at)
            self.extents.release(claim)
        assert self.extents.whole
        assert not self.extents.claims
        self.what_is_held_is_its_authors()


Books.TestCase.settings = settings(max_examples=120, stateful_step_count=35, deadline=None)
test_books = Books.TestCase


def take(extents: Extents, author: int, most: int) -> Claim:
    claim = extents.claim(author, most)
    assert claim is not None
    return claim


def read(extents: Extents, claim: Claim, count: int) -> None:
    claim.at += claim.reserve(claim.at, count)
    extents.mark(claim, claim.at)


def test_a_file_of_unknown_size_is_read_by_one_at_a_time() -> None:
    extents = Extents(None)
    claim = take(extents, 1, GRANULE)
    assert claim.end == ENDLESS
    assert extents.claim(2, GRANULE) is None
    read(extents, claim, 2 * GRANULE + 5)
    assert (extents.front, extents.whole) == (2 * GRANULE, False)
    extents.release(claim)

    other = take(extents, 2, GRANULE)
    assert other.at == 2 * GRANULE
    extents.release(other)
    again = take(extents, 2, GRANULE)
    extents.learn(2 * GRANULE + 7)
    assert again.end == extents.size
    read(extents, again, GRANULE)
    assert extents.whole
    assert extents.taking_part == {1, 2}


def test_the_broken_granule_is_gone_on_with_by_its_author_at_the_very_byte() -> None:
    extents = Extents(4 * GRANULE)
    claim = take(extents, 1, 4 * GRANULE)
    read(extents, claim, GRANULE + 77)
    extents.release(claim)

    again = take(extents, 1, GRANULE)
    assert again.at == GRANULE + 77
    extents.release(again)
    again = take(extents, 1, GRANULE)
    assert again.at == GRANULE + 77
    extents.release(again)
    other = take(extents, 2, GRANULE)
    assert other.at == GRANULE


def test_a_broken_granule_that_another_wrote_over_is_not_gone_on_with() -> None:
    extents = Extents(4 * GRANULE, unit=4 * GRANULE)
    for author, count in ((1, GRANULE + 77), (2, 2 * GRANULE)):
        claim = take(extents, author, 4 * GRANULE)
        claim.at += claim.reserve(claim.at, count)  # and nothing is proved of it
        extents.release(claim)
    extents.authors[0] = 3
    assert take(extents, 1, GRANULE).at == GRANULE


@pytest.mark.parametrize("size", [3 * GRANULE, 5 * GRANULE, 3 * GRANULE + 1])
def test_a_size_smaller_than_what_is_held_is_learnt_too(size: int) -> None:
    extents = Extents(None)
    extents.authors = bytearray(b"\1\0\1\1\1\1\1\1")
    extents.learn(size)
    assert len(extents.authors) == granules(size)
    assert extents.front == GRANULE
    claim = take(extents, 1, 1)
    read(extents, claim, GRANULE)
    assert extents.whole


def test_what_was_forgotten_under_a_stream_does_not_come_back_with_its_next_bytes() -> None:
    extents = Extents(4 * GRANULE)
    claim = take(extents, 1, 4 * GRANULE)
    read(extents, claim, 2 * GRANULE)
    extents.forget(0, GRANULE)
    read(extents, claim, 2 * GRANULE)
    extents.release(claim)
    assert list(extents.authors) == [0, 1, 1, 1]
    again = take(extents, 2, 4 * GRANULE)
    assert (again.start, again.end) == (0, GRANULE)


def test_an_author_is_not_given_what_he_is_to_be_checked_on() -> None:
    extents, avoid = Extents(4 * GRANULE), bytes([1, 2, 2, 1])
    claims = [extents.claim(author, 4 * GRANULE, avoid) for author in (1, 2, 2, 1, 2)]
    runs = [one and (one.start // GRANULE, one.end // GRANULE) for one in claims]
    assert runs == [(1, 3), (0, 1), (3, 4), None, None]
