"""How fast an attempt may go: its budget, its pauses and its end, asked before each read.

Rules this module keeps:

- What may be read is granted before it is read, so that the budget is never exceeded; what was
  granted and not read is given back.
- The budget is taken from the lease each time: a heartbeat's answer counts at once.  Each new
  budget brings a new slice of bytes.
- A bucket that nobody emptied holds a quarter of a second: whoever waited may not storm.
"""

import threading
import time

from fleet.messages import Budget
from workers.lease import Lease

POLL_SECONDS = 0.05
BURST_SECONDS = 0.25
LEAST_GRANT = 16 * 1024


class Bucket:
    """A token bucket; its rate may change at any time."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._at: float | None = None

    def most(self, rate: float | None, now: float, wanted: float, burst: float) -> float:
        """Say how much of ``wanted`` may be had at ``now``: 0 until it is worth while."""
        if rate is None:
            self._at = None
            return wanted
        gained = burst if self._at is None else (now - self._at) * rate
        self._at, self._tokens = now, min(burst, self._tokens + gained)
        worth = min(wanted, LEAST_GRANT, burst / 2)
        return min(wanted, self._tokens) if self._tokens >= worth else 0

    def use(self, count: float) -> None:
        """Take tokens out, or put them back."""
        if self._at is not None:
            self._tokens -= count


class Pace:
    """One attempt's pace, shared by all its streams."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._lock = threading.Lock()
        self._all = Bucket()
        self._hosts: dict[str, Bucket] = {}
        self._asked: dict[str, Bucket] = {}
        self._budget: Budget | None = None
        self._left = 0

    def take(self, host: str, count: int) -> int:
        """Wait until bytes may be read from ``host``; say how many, at most ``count``.

        Raises:
            Stopped: the centre wants the attempt to end.
        """
        while count > 0:
            self._lease.check()
            if not self._lease.paused:
                granted = self._grant(host, count)
                if granted:
                    return granted
            time.sleep(POLL_SECONDS)
        return 0

    def give_back(self, host: str, count: int) -> None:
        """Return what was granted and not read."""
        if count and self._limits():
            with self._lock:
                self._spend(host, -count)
                # What an earlier budget granted does not make this one's slice longer.
                self._left = min(self._left, self._lease.budget.bytes or 0)

    def request(self, host: str) -> None:
        """Wait until one more request may be sent to ``host``.

        Raises:
            Stopped: the centre wants the attempt to end.
        """
        while True:
            self._lease.check()
            rate = self._lease.budget.source_requests_per_second
            if not self._lease.paused:
                with self._lock:
                    bucket = self._asked.setdefault(host, Bucket())
                    burst = max(1.0, (rate or 0) * BURST_SECONDS)
                    if bucket.most(rate, time.monotonic(), 1, 2 * burst) >= 1:
                        bucket.use(1)
                        return
            time.sleep(POLL_SECONDS)

    def _limits(self) -> bool:
        budget = self._lease.budget
        limits = (budget.bytes, budget.bytes_per_second, budget.source_bytes_per_second)
        return limits != (None, None, None)

    def _grant(self, host: str, count: int) -> int:
        if not self._limits():
            return count
        budget = self._lease.budget
        with self._lock:
            if budget is not self._budget:
                self._budget, self._left = budget, budget.bytes or 0
            if budget.bytes is not None:
                count = min(count, self._left)
            now = time.monotonic()
            theirs = self._hosts.setdefault(host, Bucket())
            for bucket, rate in (
                (self._all, budget.bytes_per_second),
                (theirs, budget.source_bytes_per_second),
            ):
                burst = max(1.0, rate * BURST_SECONDS) if rate else 0.0
                count = int(bucket.most(rate, now, count, burst))
            self._spend(host, count)
            return count

    def _spend(self, host: str, count: int) -> None:
        self._left -= count
        self._all.use(count)
        self._hosts.setdefault(host, Bucket()).use(count)
