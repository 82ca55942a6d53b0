"""What an attempt may use of providers whose budgets all sites share: slices, metered out.

Rules this module keeps:

- A slice is a rate between two moments of this host's monotonic clock (see ``slices``): nothing is
  used that any moment at which the centre may have sent it would forbid.
- What a slice brings is spent second by second.  Of what was not used half a second's is kept, and
  one request, until the slices end.  Each run of slices begins with nothing, so that what many
  holders leave does not add up.
- Without a slice that runs, nothing is asked of the provider and nothing read from it.
- A stream is held only while the slices have it for ``GUARD_SECONDS`` more: so it is closed, at the
  provider too, before it is another's.  While too many are held nothing is asked, since a request
  that waited for its turn may be one of theirs.
- A stream whose answer was broken off is nobody's for ``CLOSING_SECONDS``: the provider may see the
  next request sooner than that.
- A provider once named stays limited, whatever later messages leave out.
- One that asks to be left alone is left alone, for as long as the centre would; meanwhile no share
  of it is wanted, which others could not use either.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from fleet.messages import Share, Throttle
from fleet.planning.budgets import BURST_SECONDS, LONGEST_REST
from fleet.planning.providers import fits
from workers.bucket import LEAST_GRANT
from workers.slices import Piece, surely

CLOSING_SECONDS = 0.25
"""Until a provider has seen that an answer was broken off: a way through the network and a turn."""
GUARD_SECONDS = 0.25 + CLOSING_SECONDS
"""To close a stream: 0.2 s until somebody looks, 0.05 s until who waits for a turn sees it."""
_NOT_SOON = 0.25  # seconds


class _Meter:
    """Tokens of one kind, at a rate that may be unlimited."""

    def __init__(self, spare: float) -> None:
        self._spare = spare  # held on top of the burst
        self._tokens = 0.0

    def gain(self, rate: float | None, seconds: float) -> None:
        """Let a rate run for a while."""
        if rate is None:
            return
        self._tokens = min(self._tokens + rate * seconds, self._spare + rate * BURST_SECONDS)

    def has(self, rate: float | None, wanted: float) -> float:
        """Say how much of ``wanted`` may be had now: 0 until it is worth while."""
        if rate is None:
            return wanted
        worth = min(wanted, LEAST_GRANT, (self._spare + rate * BURST_SECONDS) / 2)
        return min(wanted, self._tokens) if self._tokens >= worth else 0

    def wait(self, rate: float | None, wanted: float) -> float:
        """Say for how many seconds at least nothing of ``wanted`` may be had."""
        return max(0.0, wanted - self._tokens) / rate if rate else 0.0

    def use(self, count: float) -> None:
        """Take tokens out, or put them back."""
        self._tokens -= count

    def empty(self) -> None:
        """Keep nothing."""
        self._tokens = min(self._tokens, 0.0)


@dataclass
class _Quota:
    """One provider: its slices, and what is left of them."""

    name: str
    hosts: tuple[str, ...] = ()
    reason: str = ""
    pieces: tuple[Piece, ...] = ()
    lasting: tuple[Piece, ...] = ()  # what is ours for a while still, for what takes time to end
    streams: int = 0
    leaving: int = 0  # of the streams
    closing: list[float] = field(default_factory=list)  # until when, besides the streams
    rests_until: float = 0.0
    requests: _Meter = field(default_factory=lambda: _Meter(1.0))
    bytes: _Meter = field(default_factory=lambda: _Meter(0.0))
    _at: float = 0.0

    def hear(self, share: Share, asked: float, heard: float) -> None:
        """Take what the centre says now, in place of what it said before."""
        self.run(heard)
        self.hosts, self.reason = share.hosts, share.reason
        self.pieces = surely(share.slices, asked, heard)
        self.lasting = surely(share.slices, asked - GUARD_SECONDS, heard)

    def run(self, now: float) -> Piece | None:
        """Let the slices run up to ``now``; give what may be used then."""
        for piece in self.pieces:
            if piece.ends <= self._at or piece.begins >= now:
                continue
            self._skip(piece.begins)
            seconds = min(now, piece.ends) - self._at
            self.requests.gain(piece.requests_per_second, seconds)
            self.bytes.gain(piece.bytes_per_second, seconds)
            self._at += seconds
        self._skip(now)
        return self._running(self.pieces, now)

    def allows(self, now: float) -> int:
        """Count the streams that may be held at ``now``."""
        piece = self._running(self.lasting, now)
        return piece.streams if piece else 0

    def has_room(self, now: float) -> bool:
        """Whether one more stream may be held at ``now``."""
        self.closing = [until for until in self.closing if until > now]
        return self.streams + len(self.closing) < self.allows(now)

    def _running(self, pieces: Iterable[Piece], now: float) -> Piece | None:
        if now < self.rests_until:
            return None
        return next((one for one in pieces if one.begins <= now < one.ends), None)

    def _skip(self, until: float) -> None:
        """Pass a time without a slice: what was left of the last one is another's by then."""
        if until > self._at:
            self._at = until
            self.requests.empty()
            self.bytes.empty()


@dataclass(eq=False)
class Stream:
    """The right to read one answer; without a quota nobody limits it, or it was given back.

    ``asked`` is its holder's to set: whether its host may see an answer of it under way.
    """

    quota: _Quota | None
    leaving: bool = False
    asked: bool = False


class Quotas:
    """The quotas of an attempt, by host; safe to use from several threads.

    All moments are of ``time.monotonic``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._quotas: dict[str, _Quota] = {}
        self._by_host: dict[str, _Quota | None] = {}
        self._wanted: set[str] = set()
        self._throttled: dict[str, float] = {}

    def hear(self, shares: Iterable[Share], asked: float, heard: float) -> None:
        """Take what the centre said at ``heard`` to what was asked of it at ``asked``."""
        with self._lock:
            for share in shares:
                if share.provider not in self._quotas:
                    self._quotas[share.provider] = _Quota(share.provider)
                self._quotas[share.provider].hear(share, asked, heard)
            self._by_host.clear()

    def limits(self, host: str) -> bool:
        """Whether a host is of a provider whose budget is shared."""
        return bool(self.provider(host))

    def provider(self, host: str) -> str:
        """Name the provider of a host whose budget is shared; empty if there is none."""
        with self._lock:
            quota = self._of(host)
            return "" if quota is None else quota.name

    def open(self, host: str, now: float) -> bool:
        """Whether one more answer of a host may be read now; if not, it is wanted."""
        with self._lock:
            quota = self._of(host)
            return quota is None or self._has_room(quota, now)

    def enter(self, host: str, now: float) -> Stream | None:
        """Take one of a host's streams; None if none is free.  ``leave`` gives it back."""
        with self._lock:
            quota = self._of(host)
            if quota is not None:
                if not self._has_room(quota, now):
                    return None
                quota.streams += 1
            return Stream(quota)

    def leave(self, stream: Stream, now: float) -> None:
        """Give a stream back, to whose it was: its host may have become another provider's."""
        with self._lock:
            if stream.quota is not None:
                stream.quota.streams -= 1
                stream.quota.leaving -= stream.leaving
                stream.quota.closing += [now + CLOSING_SECONDS] if stream.asked else []
            stream.quota = None

    def ends(self, stream: Stream, now: float) -> bool:
        """Whether a stream has to be given back at once; of too many, those asked about first."""
        with self._lock:
            quota = stream.quota
            if quota is None:
                return False
            if not stream.leaving and quota.streams - quota.leaving > quota.allows(now):
                stream.leaving = True
                quota.leaving += 1
            return stream.leaving

    def request(self, host: str, now: float) -> float:
        """Take the right to one request: 0 if it may be sent, else the seconds to wait at least."""
        with self._lock:
            quota = self._of(host)
            if quota is None:
                return 0.0
            piece, allowed = self._running(quota, now), quota.allows(now)
            if piece is None or not allowed or quota.streams > allowed:
                return _NOT_SOON
            rate = piece.requests_per_second
            wait = quota.requests.wait(rate, 1.0)
            if wait <= 0 and rate != 0:
                quota.requests.use(0 if rate is None else 1)
                return 0.0
            return wait or _NOT_SOON

    def grant(self, host: str, now: float, count: int) -> int:
        """Take the right to read at most ``count`` bytes; 0 if none may be read now."""
        with self._lock:
            quota = self._of(host)
            if quota is None:
                return count
            piece = self._running(quota, now)
            if piece is None:
                return 0
            granted = int(quota.bytes.has(piece.bytes_per_second, count))
            quota.bytes.use(0 if piece.bytes_per_second is None else granted)
            return granted

    def give_back(self, host: str, now: float, count: int) -> None:
        """Return what was granted and not read."""
        with self._lock:
            quota = self._of(host)
            piece = None if quota is None else quota.run(now)
            if quota is not None and piece is not None and piece.bytes_per_second is not None:
                quota.bytes.use(-count)

    def throttled(self, host: str, wait: float, now: float) -> None:
        """Note that a host said we ask too much: its whole provider is left alone meanwhile."""
        wait = min(wait, LONGEST_REST.total_seconds())
        with self._lock:
            self._throttled[host] = max(wait, self._throttled.get(host, 0.0))
            if (quota := self._of(host)) is not None:
                quota.rests_until = max(quota.rests_until, now + wait)

    def waits(self, now: float) -> str:
        """Say which providers are wanted and closed, and why; empty if none is."""
        with self._lock:
            wanted = [one for one in self._quotas.values() if one.name in self._wanted]
            closed = [one for one in wanted if not one.allows(now)]
            return "; ".join(one.reason or f"waits for a share of {one.name}" for one in closed)

    def demands(self, now: float) -> tuple[tuple[str, ...], tuple[Throttle, ...]]:
        """Give what the centre is to hear: the providers wanted, and the hosts that complained.

        Both are since this was asked last.  ``put_back`` what it could not be told.
        """
        with self._lock:
            wants = {
                one.name
                for one in self._quotas.values()
                if now >= one.rests_until and (one.streams or one.name in self._wanted)
            }
            told = tuple(Throttle(host=h, retry_after=s) for h, s in self._throttled.items())
            self._wanted, self._throttled = set(), {}
            return tuple(sorted(wants)), told

    def put_back(self, told: Iterable[Throttle]) -> None:
        """Keep for the next time which hosts complained, where the centre could not hear it."""
        with self._lock:
            for one in told:
                longest = max(one.retry_after, self._throttled.get(one.host, 0.0))
                self._throttled[one.host] = longest

    def _of(self, host: str) -> _Quota | None:
        if host not in self._by_host:
            fit = [
                (len(pattern), one.name)
                for one in self._quotas.values()
                for pattern in one.hosts
                if fits(host, pattern)
            ]
            self._by_host[host] = self._quotas[max(fit)[1]] if fit else None
        return self._by_host[host]

    def _running(self, quota: _Quota, now: float) -> Piece | None:
        self._wanted.add(quota.name)
        return quota.run(now)

    def _has_room(self, quota: _Quota, now: float) -> bool:
        self._wanted.add(quota.name)
        return quota.has_room(now)
