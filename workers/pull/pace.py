"""How fast an attempt may take bytes: its budget, its pauses and its end, asked between chunks.

A token bucket that may run into debt: a chunk is taken whole once the bucket is not empty, and
the next one waits until the debt is paid.  The rate is read from the lease each time, so that a
heartbeat's answer counts at once.
"""

import asyncio

from workers.lease import Lease

POLL_SECONDS = 0.05
BURST_SECONDS = 0.25


class Pace:
    """One attempt's pace, shared by all its streams."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._tokens = 0.0
        self._at: float | None = None

    async def take(self, count: int) -> float:
        """Wait until ``count`` bytes (already received) are within the budget.

        Returns:
            The seconds that were waited of our own will, which are no fault of the source.

        Raises:
            Stopped: the centre wants the attempt to end.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._lease.check()
        while self._lease.paused or not self._allows(loop.time()):
            await asyncio.sleep(POLL_SECONDS)
            self._lease.check()
        if self._lease.budget.bytes_per_second is not None:
            self._tokens -= count
        return loop.time() - started

    def _allows(self, now: float) -> bool:
        """Fill the bucket up to ``now`` and say whether anything is in it."""
        rate = self._lease.budget.bytes_per_second
        if rate is None:
            self._at, self._tokens = None, 0.0
            return True
        burst = rate * BURST_SECONDS
        gained = burst if self._at is None else (now - self._at) * rate
        self._at, self._tokens = now, min(burst, self._tokens + gained)
        return self._tokens > 0
