"""How fast an attempt may go: its budget, its pauses and its end, asked before each read.

Rules this module keeps:

- What may be read is granted before it is read, so that the budget is never exceeded; what was
  granted and not read is given back.
- The budget is taken from the lease each time: a heartbeat's answer counts at once.
- Of a provider whose budget all sites share, nothing is had without a slice (see ``quotas``).
- Whoever waits gives up, with ``Again``, once what it waits for is of no use (``gone``).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers.bucket import BURST_SECONDS, Bucket
from workers.lease import Lease
from workers.pull.faults import Again, Fault
from workers.pull.tally import Tally
from workers.quotas import Stream

POLL_SECONDS = 0.05
Gone = Callable[[], bool]  # whether a wait is of no use any more


def _never() -> bool:
    return False


class Pace:
    """One attempt's pace, shared by all its streams."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._lock = threading.Lock()
        self._all = Bucket()
        self._hosts: dict[str, Bucket] = {}
        self._asked: dict[str, Bucket] = {}

    def open(self, host: str) -> bool:
        """Whether one more answer of ``host`` may be read now, as far as its provider goes."""
        return self._lease.quotas.open(host, time.monotonic())

    def limits_requests(self, host: str) -> bool:
        """Whether requests to ``host`` are counted, so that each waits for its turn."""
        rate = self._lease.budget.source_requests_per_second
        return rate is not None or self._lease.quotas.limits(host)

    def provider(self, host: str) -> str:
        """Name the provider of ``host`` whose budget is shared; empty if there is none."""
        return self._lease.quotas.provider(host)

    def ends(self, stream: Stream) -> bool:
        """Whether a stream that is held has to be given back at once."""
        return self._lease.quotas.ends(stream, time.monotonic())

    @property
    def waits(self) -> str:
        """Say which providers' budgets are waited for; empty if none is."""
        return self._lease.quotas.waits(time.monotonic())

    @contextmanager
    def stream(self, host: str, gone: Gone = _never) -> Iterator[Stream]:
        """Wait until one more answer of ``host`` may be read, and lend its stream.

        Raises:
            Stopped: the centre wants the attempt to end.
            Again: it waited until it was ``gone``.
        """
        while (held := self._lease.quotas.enter(host, time.monotonic())) is None:
            self._check(host, gone)
            time.sleep(POLL_SECONDS)
        try:
            yield held
        finally:
            self._lease.quotas.leave(held, time.monotonic())

    def strained(self, tally: Tally, fault: Fault) -> None:
        """Note it if a host said that we ask too much: the centre hears of it shortly."""
        tally.strained(fault)
        if fault.asks is not None:
            self._lease.quotas.throttled(tally.host, fault.asks, time.monotonic())

    def throttled(self, host: str, wait: float) -> None:
        """Note that a host asked to be left alone for so many seconds."""
        self._lease.quotas.throttled(host, wait, time.monotonic())

    def take(self, host: str, count: int, gone: Gone = _never) -> int:
        """Wait until bytes may be read from ``host``; say how many, at most ``count``.

        Raises:
            Stopped: the centre wants the attempt to end.
            Again: it waited until it was ``gone``.
        """
        while count > 0:
            self._check(host, gone)
            if not self._lease.paused:
                granted = self._grant(host, count)
                if granted:
                    return granted
            time.sleep(POLL_SECONDS)
        return 0

    def give_back(self, host: str, count: int) -> None:
        """Return what was granted and not read."""
        if not count:
            return
        self._lease.quotas.give_back(host, time.monotonic(), count)
        if self._limits():
            with self._lock:
                self._spend(host, -count)

    def request(self, host: str, gone: Gone = _never) -> None:
        """Wait until one more request may be sent to ``host``.

        Raises:
            Stopped: the centre wants the attempt to end.
            Again: it waited until it was ``gone``.
        """
        while True:
            self._check(host, gone)
            wait = POLL_SECONDS
            if not self._lease.paused:
                wait = self._ask(host)
                if not wait:
                    return
            time.sleep(min(wait, POLL_SECONDS))

    def _check(self, host: str, gone: Gone) -> None:
        self._lease.check()
        if gone():
            raise Again(f"{host}: is not waited for any more")

    def _ask(self, host: str) -> float:
        """Take the right to one request to ``host``; else give the seconds to wait at least."""
        rate = self._lease.budget.source_requests_per_second
        with self._lock:
            bucket = self._asked.setdefault(host, Bucket())
            burst = max(1.0, (rate or 0) * BURST_SECONDS)
            if bucket.most(rate, time.monotonic(), 1, 2 * burst) < 1:
                return POLL_SECONDS
            wait = self._lease.quotas.request(host, time.monotonic())
            if not wait:
                bucket.use(1)
            return wait

    def _limits(self) -> bool:
        budget = self._lease.budget
        return (budget.bytes_per_second, budget.source_bytes_per_second) != (None, None)

    def _grant(self, host: str, count: int) -> int:
        quotas = self._lease.quotas
        if not self._limits():
            return quotas.grant(host, time.monotonic(), count)
        budget = self._lease.budget
        with self._lock:
            now = time.monotonic()
            theirs = self._hosts.setdefault(host, Bucket())
            for bucket, rate in (
                (self._all, budget.bytes_per_second),
                (theirs, budget.source_bytes_per_second),
            ):
                burst = max(1.0, rate * BURST_SECONDS) if rate else 0.0
                count = int(bucket.most(rate, now, count, burst))
            count = quotas.grant(host, now, count) if count else 0
            self._spend(host, count)
            return count

    def _spend(self, host: str, count: int) -> None:
        self._all.use(count)
        self._hosts.setdefault(host, Bucket()).use(count)
