"""The process that ticks when a benchmark measures it: ``python -m benchmarks.ticker URL``.

For each line on its standard input it ticks until no shard is left to be looked at, and prints one
``Report``.  It is a process of its own, so that its memory is the scheduler's alone.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine, event, true
from sqlmodel import col, select

from benchmarks.child import peak_memory
from fleet.control import scheduler
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Shard


@dataclass(frozen=True)
class Report:
    """What came of one line.

    Attributes:
        seconds: all ticks together.
        processor_seconds: what this process used of a processor meanwhile; PostgreSQL's server
            uses some beside it.
        ticks: how many there were.
        longest_unit: seconds of the longest unit of work, while others may have to wait.
        peak_memory_mb: most memory that the process has held so far.
    """

    seconds: float
    processor_seconds: float
    ticks: int
    longest_unit: float
    peak_memory_mb: float


class _Units:
    """Times every unit of work."""

    def __init__(self, engine: Engine) -> None:
        self.longest, self._began = 0.0, 0.0
        event.listen(engine, "begin", self._begin)
        event.listen(engine, "commit", self._commit)

    def _begin(self, _connection: Any) -> None:
        self._began = time.perf_counter()

    def _commit(self, _connection: Any) -> None:
        self.longest = max(self.longest, time.perf_counter() - self._began)


def main() -> None:
    """Tick when told to."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever logs, logs elsewhere
    store, settings = Store(sys.argv[1]), CentreSettings()
    units = _Units(store.engine)
    for _ in sys.stdin:
        units.longest = 0.0
        began, used, ticks = time.perf_counter(), time.process_time(), 0
        while not ticks or _busy(store):
            scheduler.tick(store, settings)
            ticks += 1
        seconds = time.perf_counter() - began
        used = time.process_time() - used
        report = Report(seconds, used, ticks, units.longest, peak_memory() / 1e6)
        print(json.dumps(asdict(report)), file=answers, flush=True)


def _busy(store: Store) -> bool:
    with store.read() as session:
        dirty = select(Shard.id).where(col(Shard.dirty) == true()).limit(1)
        return session.exec(dirty).first() is not None


if __name__ == "__main__":
    main()
