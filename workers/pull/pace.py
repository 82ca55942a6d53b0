"""How fast an attempt may go: its budget, its pauses and its end, asked before each read.

Rules this module keeps:

- What may be read is granted before it is read, so that the budget is never exceeded; what was
  granted and not read is given back.
- The budget is taken from the lease each time: a heartbeat's answer counts at once.  Each new
  budget brings a new slice of bytes.
"""

import threading
import time

from fleet.messages import Budget
from workers.bucket import BURST_SECONDS, Bucket
from workers.lease import Lease

POLL_SECONDS = 0.05


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
