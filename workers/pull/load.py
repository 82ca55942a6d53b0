"""Whether the processors have time for one more stream, which at most doubles what we use.

On two busy cores a second stream only brings bytes out of turn, which the digests then have to
read back (2 GiB over TLS: 1.5 s of processor time).
"""

import os
from time import monotonic, process_time

LOOK_SECONDS = 0.5
MOST_USED = 3 / 8  # of all processors: twice as much leaves a quarter


class Load:
    """What share of the processors this process used lately; ask it now and then."""

    def __init__(self) -> None:
        self._cores = _cores()
        self._looked = (monotonic(), process_time())
        self._spare = False

    @property
    def spare(self) -> bool:
        """Whether we use little of the processors' time; not before that was measured."""
        now, used = monotonic(), process_time()
        since, before = self._looked
        if now - since >= LOOK_SECONDS:
            self._looked = (now, used)
            self._spare = used - before < (now - since) * self._cores * MOST_USED
        return self._spare


def _cores() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
