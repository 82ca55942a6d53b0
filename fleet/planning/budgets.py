"""Who may use how much of a provider, and until when: shares of its budget, in expiring slices.

A slice is a *rate*, not an amount: a share of all that the provider allows, from one moment to
another, which its holder meters out second by second.  Nobody can save up one minute's requests
for the next, which is what makes sliding windows safe.  Rules this module keeps:

- **Booking.** At no moment do the booked shares of a provider exceed the whole.  So in any window
  of any length the holders together use at most its part of the cap, and the burst on top: of each
  stream one request, and ``BURST_SECONDS`` of the rates.  Who holds less than one stream's share
  could read nothing, so that nobody is given less.
- **Fairness.** Each piece of the time up to a lease from now is filled up to the holder's fair
  part, the whole by the number of those who hold or want a share, as far as it is free.  Who holds
  more keeps it until it expires: a newcomer has its part within a lease.  Who missed a heartbeat
  counts no longer than its slices last, so that others have taken over when they end.  Ends lie on
  a grid of a quarter of a lease, so that the pieces stay few.
- **Expiry.** Nothing is taken back from a holder that may not hear of it.  A slice ends by itself
  within the lease of its attempt; only who reported its outcome, and so reads no more, gives its
  slices back early.
- **Books.** They are rows beside the attempts, so that no flush of the broker and no restart loses
  them.  Where the store knows a provider for the first time, or by other hosts, the attempts that
  live may use it unbooked: it then rests for a lease, after which each of them has heard or ended.
- **Restraint.** When a provider says that we ask too much (429, or Retry-After), all rates are
  halved at once, for what was booked as well, and a Retry-After is waited for by everyone.  Rates
  recover by ``RECOVERED`` of the whole each minute.  What several streams are told within
  ``SETTLES`` of each other is one event.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from fleet.planning.facts import Wait
from fleet.planning.providers import ProviderFacts

WHOLE: Final = 1_000_000
"""A share is in millionths of what a provider allows: whole numbers add up exactly."""
BURST_SECONDS: Final = 0.5
"""Of its rate, what a holder that could not read for a while may make up for."""
RECOVERED: Final = 0.05
SETTLES: Final = timedelta(seconds=30)  # all have heard of the last event by then
LEAST_FACTOR: Final = 1 / 32
LONGEST_REST: Final = timedelta(hours=1)
_GRID = 4
_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Slice:
    """A share of a provider's budget that an attempt holds; of 0, it merely waits for one."""

    holder: str
    share: int
    starts: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Rates:
    """What a holder may use of a provider between two moments; None is no limit."""

    starts: datetime
    until: datetime
    requests_per_second: float | None
    bytes_per_second: float | None
    streams: int


@dataclass(frozen=True, slots=True)
class Strain:
    """How a provider takes what we ask: ``factor`` of its budget held at ``at``, and recovers.

    Before ``rests_until`` it is asked nothing.
    """

    factor: float = 1.0
    at: datetime | None = None
    rests_until: datetime | None = None
    reason: str = ""

    def part(self, now: datetime) -> float:
        """Return the part of its budget that may be used at ``now``."""
        if self.at is None:
            return 1.0
        minutes = max(0.0, (now - self.at).total_seconds() / 60)
        return min(1.0, self.factor + RECOVERED * minutes)


def grant(
    booked: Iterable[Slice], holder: str, streams: int, now: datetime, lease: float
) -> tuple[Slice, ...]:
    """Book what ``holder`` is to have more of a provider, up to ``lease`` seconds from now.

    Args:
        booked: the slices of the provider that were booked before, of everyone.
        holder: who asks.
        streams: answers of the provider that may be read at once.
        now: the time.
        lease: how long the holder's attempt lasts unrenewed, in seconds.

    Returns:
        The slices to be added to the books; one of no share where nothing is free, so that the
        others make room.
    """
    live = [one for one in booked if one.until > now]
    last: dict[str, datetime] = {holder: _FOREVER}
    for one in live:
        last[one.holder] = max(one.until, last.get(one.holder, one.until))
    late = now + timedelta(seconds=lease / 3)
    least = WHOLE // streams
    end = _on_grid(now, lease)
    edges = {now, end} | {at for one in live for at in (one.starts, one.until) if now < at < end}
    added: list[Slice] = []
    for begins, ends in pairwise(sorted(edges)):
        there = [one for one in live if one.starts <= begins < one.until]
        sharing = sum(until > begins or until > late for until in last.values())
        fair = max(WHOLE // sharing, least)
        own = sum(one.share for one in there if one.holder == holder)
        free = WHOLE - sum(one.share for one in there)
        more = min(fair - own, free)
        if more <= 0 or own + more < least:
            continue
        if added and added[-1].until == begins and added[-1].share == more:
            added[-1] = replace(added[-1], until=ends)
        else:
            added.append(Slice(holder, more, begins, ends))
    if not added and all(one.holder != holder for one in live):
        return (wish(holder, now, lease),)
    return tuple(added)


def wish(holder: str, now: datetime, lease: float) -> Slice:
    """Book that somebody wants a share, or will shortly, without giving it one."""
    return Slice(holder, 0, now, now + timedelta(seconds=lease))


def rates(
    held: Sequence[Slice], provider: ProviderFacts, strain: Strain, now: datetime
) -> tuple[Rates, ...]:
    """Say what one holder's slices of a provider let it do from now on, one piece after another."""
    part = strain.part(now)
    opens = max(now, strain.rests_until or now)
    edges = {opens} | {at for one in held for at in (one.starts, one.until) if at > opens}
    told: list[Rates] = []
    for begins, ends in pairwise(sorted(edges)):
        share = sum(one.share for one in held if one.starts <= begins < one.until)
        streams = (share + 1) * provider.streams // WHOLE
        if not streams:
            continue
        piece = Rates(
            begins,
            ends,
            _rate(provider.requests_per_minute, 60, share * part),
            _rate(provider.bytes_per_5_minutes, 300, share * part),
            streams,
        )
        if (
            told
            and told[-1].until == begins
            and replace(told[-1], until=ends) == replace(piece, starts=told[-1].starts)
        ):
            told[-1] = replace(told[-1], until=ends)
        else:
            told.append(piece)
    return tuple(told)


def throttled(strain: Strain, retry_after: float, now: datetime, told: str) -> Strain:
    """Take it that a provider said we ask too much.

    Args:
        strain: how it was before.
        retry_after: the seconds that it asks us to wait; 0 if it did not say.
        now: the time.
        told: what it said, in words.
    """
    rest = now + timedelta(seconds=min(retry_after, LONGEST_REST.total_seconds()))
    rests = strain.rests_until
    if retry_after > 0:
        rests = rest if rests is None else max(rests, rest)
    if strain.at is not None and now - strain.at < SETTLES:
        return replace(strain, rests_until=rests)
    return Strain(max(LEAST_FACTOR, strain.part(now) / 2), now, rests, told)


def left(booked: Iterable[Slice], strain: Strain, now: datetime) -> float:
    """Return the part of a provider's whole budget that nobody uses now."""
    if strain.rests_until is not None and strain.rests_until > now:
        return 0.0
    used = sum(one.share for one in booked if one.starts <= now < one.until)
    return strain.part(now) * max(0, WHOLE - used) / WHOLE


def wait_for_room(
    booked: Iterable[Slice], provider: ProviderFacts, strain: Strain, now: datetime
) -> Wait | None:
    """Say why nobody more may be sent to a provider now; None if somebody may."""
    if strain.rests_until is not None and strain.rests_until > now:
        return Wait(
            f"{provider.name} is left alone for a while: {strain.reason}", strain.rests_until
        )
    ends: dict[str, datetime] = {}
    for one in booked:
        if one.until > now:
            ends[one.holder] = max(one.until, ends.get(one.holder, one.until))
    if len(ends) < provider.streams:
        return None
    many = "its one stream is" if provider.streams == 1 else f"its {provider.streams} streams are"
    return Wait(f"waits for {provider.name}: {many} taken by other attempts", min(ends.values()))


def _rate(most: int | None, seconds: int, share: float) -> float | None:
    return None if most is None else most / seconds * share / WHOLE


def _on_grid(now: datetime, lease: float) -> datetime:
    """Return the last moment of the grid that is no more than a lease from now."""
    step = lease / _GRID
    return datetime.fromtimestamp((now.timestamp() + lease) // step * step, UTC)
