"""What to do after a failure: wait and try again, or ask a person."""

from dataclasses import dataclass
from datetime import datetime, timedelta

_LONGEST = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at ``at``; None: not again, until a person says so."""

    at: datetime | None
    reason: str


def after_failure(
    reason: str, *, attempts: int, max_attempts: int, first_wait: float, now: datetime
) -> Retry:
    """Decide what follows the ``attempts``-th failure; waits double from ``first_wait`` seconds."""
    if attempts >= max_attempts:
        return Retry(None, f"gave up after {attempts} attempts: {reason}")
    wait = min(timedelta(seconds=first_wait * 2 ** min(max(0, attempts - 1), 20)), _LONGEST)
    return Retry(now + wait, reason)
