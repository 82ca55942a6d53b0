"""Whether this process keeps its processors busy: then more streams of a host are in the way."""

import os
from time import monotonic, process_time

LOOK_SECONDS = 0.25


class Load:
    """What share of the processors this process used lately; ask it now and then."""

    def __init__(self) -> None:
        self._cores = _cores()
        self._looked = (monotonic(), process_time())
        self._spare = False

    @property
    def spare(self) -> bool:
        """Whether at least half of the processors' time is left; not before that was measured."""
        now, used = monotonic(), process_time()
        since, before = self._looked
        if now - since >= LOOK_SECONDS:
            self._looked = (now, used)
            self._spare = used - before < (now - since) * self._cores / 2
        return self._spare


def _cores() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
