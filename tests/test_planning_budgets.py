"""Nobody's patience is overrun: shares of a provider's budget, however they are handed out."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.control.budgets import _told
from fleet.messages import Share
from fleet.planning.budgets import (
    BURST_SECONDS,
    LEAST_FACTOR,
    LONGEST_REST,
    SETTLES,
    WHOLE,
    Slice,
    Strain,
    grant,
    left,
    rates,
    throttled,
    wait_for_room,
    wish,
)
from fleet.planning.providers import ProviderFacts
from tests.planning_support import unhurried
from workers.quotas import GUARD_SECONDS, Quotas, Stream

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = 8.0
STEP = 0.1
HOST = "data.example"


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@dataclass
class Holder:
    """A worker that takes all it may have, over a network that delays and loses messages.

    It looks every ``STEP`` which streams it has to close, and takes its time to do so.
    """

    name: str
    dice: random.Random
    quotas: Quotas = field(default_factory=Quotas)
    held: list[Stream] = field(default_factory=list)
    closed: dict[Stream, float] = field(default_factory=dict)
    next_beat: float = 0.0
    heard: list[tuple[float, float, Share]] = field(default_factory=list)

    @property
    def streams(self) -> int:
        return len(self.held)

    def spend(self, now: float, *, greedy: bool) -> tuple[int, int]:
        """Listen, keep no stream too many, and take what there is."""
        for message in [one for one in self.heard if one[0] <= now]:
            self.heard.remove(message)
            self.quotas.hear([message[2]], message[1], message[0])
        if not self.quotas.limits(HOST):
            return 0, 0
        for stream in [one for one in self.held if self.quotas.ends(one, now)]:
            takes = self.dice.uniform(0, GUARD_SECONDS - 2 * STEP)
            if self.closed.setdefault(stream, now + takes) <= now:
                self.quotas.leave(stream, now)
                self.held.remove(stream)
        if not greedy:
            return 0, 0
        while stream := self.quotas.enter(HOST, now):
            self.held.append(stream)
        requests = 0
        while self.quotas.request(HOST, now) == 0:
            requests += 1
        count = 0
        while more := self.quotas.grant(HOST, now, 1 << 20):
            count += more
        return requests, count


class Fleet:
    """A centre's books, and the holders that ask of them."""

    def __init__(self, provider: ProviderFacts, seed: int) -> None:
        self.provider = provider
        self.dice = random.Random(seed)
        self.books: list[Slice] = []
        self.strain = Strain()
        self.holders: dict[str, Holder] = {}
        self.used: list[tuple[float, int, int]] = []
        self.most_streams = 0
        self.made = 0

    def join(self) -> None:
        self.made += 1
        self.holders[f"h{self.made}"] = Holder(f"h{self.made}", self.dice)

    def die(self) -> None:
        """A holder is gone; nobody tells the centre."""
        if self.holders:
            del self.holders[self.dice.choice(list(self.holders))]

    def end(self) -> None:
        """A holder reports: it reads no more, and then the centre frees its slices."""
        if self.holders:
            gone = self.holders.pop(self.dice.choice(list(self.holders)))
            self.books = [one for one in self.books if one.holder != gone.name]

    def refuse(self, now: float) -> None:
        self.strain = throttled(self.strain, self.dice.choice([0.0, 1.0]), at(now), "enough")

    def beat(self, holder: Holder, now: float, delay: float, loss: float) -> None:
        asked, decides = now, now + self.dice.uniform(0, delay)
        holder.next_beat = now + LEASE / 3
        if self.dice.random() < loss / 2:
            return
        self.books = [one for one in self.books if one.until > at(now)]
        streams = self.provider.streams
        self.books += grant(self.books, holder.name, streams, at(decides), LEASE)
        held = [one for one in self.books if one.holder == holder.name]
        pieces = rates(held, self.provider, self.strain, at(decides))
        share = Share(
            provider="p",
            hosts=(HOST,),
            slices=tuple(_told(one, at(decides)) for one in pieces),
        )
        if self.dice.random() >= loss / 2:
            holder.heard.append((decides + self.dice.uniform(0, delay), asked, share))

    def run(self, seconds: float, *, churn: float, delay: float, loss: float, idle: float) -> None:
        for step in range(int(seconds / STEP)):
            now = (step + 0.5) * STEP  # slices end on whole seconds, give or take a rounding
            for act in (self.join, self.die, self.end, lambda now=now: self.refuse(now)):
                if self.dice.random() < churn * STEP:
                    act()
            requests = count = 0
            for holder in list(self.holders.values()):
                if holder.next_beat <= now:
                    self.beat(holder, now, delay, loss)
                asked, read = holder.spend(now, greedy=self.dice.random() >= idle)
                requests, count = requests + asked, count + read
            self.used.append((now, requests, count))
            streams = sum(one.streams for one in self.holders.values())
            self.most_streams = max(self.most_streams, streams)

    def peak(self, column: int, window: float) -> int:
        """The most that was used in any window of so many seconds."""
        steps, sums = int(window / STEP), [0]
        for row in self.used:
            sums.append(sums[-1] + row[column])
        return max(
            sums[min(end + steps, len(sums) - 1)] - sums[end] for end in range(len(sums) - 1)
        )


providers = st.builds(
    ProviderFacts,
    name=st.just("p"),
    hosts=st.just((HOST,)),
    requests_per_minute=st.integers(1, 3000),
    bytes_per_5_minutes=st.integers(10**6, 10**10),
    streams=st.integers(1, 12),
)


@unhurried
@given(
    provider=providers,
    seed=st.integers(0, 1 << 32),
    churn=st.sampled_from([0.0, 0.1, 0.5]),
    delay=st.sampled_from([0.0, 0.2, 1.5]),
    loss=st.sampled_from([0.0, 0.3]),
    idle=st.sampled_from([0.0, 0.5, 0.95]),
)
def test_no_sliding_window_sees_more_than_the_cap_and_the_burst(
    provider: ProviderFacts, seed: int, churn: float, delay: float, loss: float, idle: float
) -> None:
    fleet = Fleet(provider, seed)
    for _ in range(fleet.dice.randrange(1, 15)):
        fleet.join()
    fleet.run(25, churn=churn, delay=delay, loss=loss, idle=idle)
    asked, read = (fleet.provider.requests_per_minute or 0) / 60, fleet.provider.bytes_per_5_minutes
    for window in (STEP, 1.0, 3.0, 10.0, 25.0):
        seconds = window + BURST_SECONDS
        assert fleet.peak(1, window) <= asked * seconds + provider.streams + 1e-6
        assert fleet.peak(2, window) <= (read or 0) / 300 * seconds + 1
    assert fleet.most_streams <= provider.streams


@pytest.mark.parametrize("count", [1, 3, 8])
def test_holders_that_want_all_get_nearly_all(count: int) -> None:
    fleet = Fleet(ProviderFacts("p", (HOST,), 3000, 300 * 10**8, 8), seed=1)
    for _ in range(count):
        fleet.join()
    for holder in fleet.holders.values():
        fleet.books.append(wish(holder.name, START, LEASE))
    fleet.run(60, churn=0, delay=0.05, loss=0, idle=0)
    settled = [row for row in fleet.used if row[0] >= LEASE]
    seconds = 60 - LEASE
    assert sum(row[1] for row in settled) >= 0.95 * 50 * seconds
    assert sum(row[2] for row in settled) >= 0.95 * 10**8 * seconds


def test_a_newcomer_has_its_part_within_a_lease() -> None:
    books = list(grant((), "first", 8, START, LEASE))
    assert [(one.share, one.holder) for one in books] == [(WHOLE, "first")]
    for beat in range(1, 7):
        now = at(beat * LEASE / 3)
        for holder in ("first", "second"):
            books += grant(books, holder, 8, now, LEASE)
    now = at(LEASE * 4 / 3)
    shares = {"first": 0, "second": 0}
    for one in books:
        shares[one.holder] += one.share if one.starts <= now < one.until else 0
    assert shares == {"first": WHOLE // 2, "second": WHOLE // 2}


def test_a_dead_holders_part_is_anothers_within_its_lease() -> None:
    books = list(grant([wish("b", START, LEASE)], "a", 8, START, LEASE))
    assert max(one.until for one in books) <= at(LEASE)
    books += grant(books, "b", 8, at(LEASE), LEASE)
    assert sum(one.share for one in books if one.starts <= at(LEASE) < one.until) == WHOLE


def test_more_holders_than_streams_wait_with_a_reason_and_a_time() -> None:
    provider = ProviderFacts("zenodo", (HOST,), 33, None, 2)
    books = [wish("a", START, LEASE)]
    assert wait_for_room(books, provider, Strain(), START) is None
    books += grant(books, "b", 2, START, LEASE)
    wait = wait_for_room(books, provider, Strain(), START)
    assert wait is not None
    assert wait.reason == "waits for zenodo: its 2 streams are taken by other attempts"
    assert wait.until is not None
    assert START < wait.until <= at(LEASE)
    assert wait_for_room(books, provider, Strain(), at(LEASE)) is None


@unhurried
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 3)), max_size=40))
def test_at_no_moment_is_more_than_the_whole_booked(asked: list[tuple[str, float]]) -> None:
    books: list[Slice] = []
    now = 0.0
    for holder, later in asked:
        now += later
        books += grant(books, holder, 4, at(now), LEASE)
    edges = sorted({moment for one in books for moment in (one.starts, one.until)})
    for begins, _ in pairwise(edges):
        there = [one for one in books if one.starts <= begins < one.until]
        assert sum(one.share for one in there) <= WHOLE
        streams = {}
        for one in there:
            streams[one.holder] = streams.get(one.holder, 0) + one.share
        assert sum((share + 1) * 4 // WHOLE for share in streams.values()) <= 4


def test_a_429_halves_at_once_and_recovers_gradually() -> None:
    strain = throttled(Strain(), 0, START, "429")
    assert strain.part(START) == 0.5
    assert throttled(strain, 0, START + SETTLES / 2, "429") == strain
    assert throttled(strain, 0, START + SETTLES, "429").part(START + SETTLES) < 0.3
    minutes = [strain.part(START + timedelta(minutes=count)) for count in range(12)]
    assert minutes == sorted(minutes)
    assert minutes[5] == pytest.approx(0.75)
    assert minutes[11] == 1.0
    for count in range(1, 10):
        strain = throttled(strain, 0, START + count * SETTLES, "429")
    assert strain.factor >= LEAST_FACTOR


def test_a_strained_provider_gives_less_to_all_that_hold_a_slice() -> None:
    provider = ProviderFacts("p", (HOST,), 600, 3000, 4)
    [held] = grant((), "a", 4, START, LEASE)
    [before] = rates([held], provider, Strain(), START)
    [after] = rates([held], provider, throttled(Strain(), 0, START, "429"), START)
    assert (before.requests_per_second, before.bytes_per_second) == (10.0, 10.0)
    assert (after.requests_per_second, after.bytes_per_second) == (5.0, 5.0)


def test_a_retry_after_is_waited_for_by_everyone_but_not_for_ever() -> None:
    provider = ProviderFacts("p", (HOST,), 600, None, 4)
    [held] = grant((), "a", 4, START, LEASE)
    strain = throttled(Strain(), 5, START, "it said 429")
    [piece] = rates([held], provider, strain, START)
    assert piece.starts == at(5)
    assert left([held], strain, START) == 0
    wait = wait_for_room([], provider, strain, START)
    assert wait is not None
    assert (wait.reason, wait.until) == ("p is left alone for a while: it said 429", at(5))
    for seconds in (10**9, 1e19):  # the latter is more than a timedelta holds
        forever = throttled(Strain(), seconds, START, "429")
        assert forever.rests_until == START + LONGEST_REST
