"""A token bucket: how much may go now, at a rate that may change at any time.

Rules this module keeps:

- What may go is granted before it goes, so that the rate is never exceeded.
- A bucket that nobody emptied holds a burst of its caller's choosing, of ``BURST_SECONDS`` where
  there is no reason for another: whoever waited may not storm.
"""

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
