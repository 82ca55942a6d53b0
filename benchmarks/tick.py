"""The scheduler's tick among a million replicas, ten thousand of which changed.

A store is filled by bulk statements: shards of three copies each on twelve sites, with the
placements and the finished transfers and attempts that made them.  Then one copy of each of so
many shards is missing, as a verify would report it, and a process of its own ticks until nothing
is left to decide.  A decision is a placement or a transfer that it committed, with its reason: the
placement that loses its copy is decided anew, and a transfer brings that back.  Those of a shard
that keep their copies stand as they are.
The same changes are made among a tenth of the replicas, and ticks that have nothing to do are
timed.  Seconds are those of the ticks; filling takes longer.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import make_url, text

from benchmarks.contest import missed, options, show
from benchmarks.engine import HOME
from benchmarks.ground import MIB, ground, say
from benchmarks.ticker import Report
from fleet.store.database import Store
from fleet.store.migrate import upgrade
from tests.databases import postgres_cluster
from tests.filled_store import COPIES, fill, lose

REPLICAS = 1_000_000
CHANGED = 10_000
WARM = 200  # changes before: a scheduler has long been up
IDLE = 5  # ticks that have nothing to do
ROOM = 6 * 1024 * MIB  # of all four databases
WANTED = {
    "growth_1m_vs_100k": ("<=", 1.5),
    "decisions_per_second": (">=", 5000.0),
    "undecided": ("<=", 0.0),
    "peak_memory_mb": ("<=", 300.0),
    "longest_unit_seconds": ("<=", 0.5),
}

PLACEMENTS = "SELECT count(*) FROM placement WHERE reason NOT LIKE '%already holds it%'"
TRANSFERS = "SELECT count(*) FROM transfer WHERE reason <> '' AND state <> 'done'"
LACKING = """SELECT count(*) FROM replica r WHERE r.state = 'missing' AND NOT EXISTS
    (SELECT 1 FROM transfer t WHERE t.shard_id = r.shard_id AND t.state <> 'done')"""


class Filled:
    """A filled store, and the process that ticks over it."""

    def __init__(self, url: str, replicas: int) -> None:
        """Make and fill the tables."""
        upgrade(url)
        self.url, self.shards, self.turn = url, replicas // COPIES, 0
        self.store = Store(url)
        say(f"filling {self.store.engine.dialect.name} with {replicas:,} replicas")
        fill(self.store, url, replicas)

    def lose(self, changed: int) -> None:
        """Let one copy of each of so many shards be missing."""
        lose(self.store, max(2, self.shards // changed), self.turn)
        self.turn += 1

    def measure(self, changed: int) -> dict[str, float]:
        """Tick with nothing to do, and then with so many changes."""
        with _ticker(self.url) as tick:
            self.lose(WARM)
            tick()
            idle = min(tick().seconds for _ in range(IDLE))
            self.lose(changed)
            before = self._decided()
            report = tick()
        placements, transfers = (
            now - then for now, then in zip(self._decided(), before, strict=True)
        )
        decisions = placements + transfers
        return {
            "seconds": round(report.seconds, 3),
            "processor_seconds": round(report.processor_seconds, 3),
            "placements": placements,
            "transfers": transfers,
            "decisions_per_second": round(decisions / report.seconds),
            "undecided": self._undecided(),
            "ticks": report.ticks,
            "longest_unit_seconds": round(report.longest_unit, 3),
            "idle_tick_seconds": round(idle, 4),
            "peak_memory_mb": round(report.peak_memory_mb, 1),
        }

    def close(self) -> None:
        """Give the connections back."""
        self.store.close()

    def _decided(self) -> list[int]:
        """Count the placements of copies that are lost, and the transfers that bring them back."""
        with self.store.read() as session:
            return [session.execute(text(one)).scalar_one() for one in (PLACEMENTS, TRANSFERS)]

    def _undecided(self) -> int:
        """Count the shards that lack a copy and that none is on its way to."""
        with self.store.read() as session:
            return int(session.execute(text(LACKING)).scalar_one())


@contextmanager
def _ticker(url: str) -> Iterator[Callable[[], Report]]:
    """Run a process that ticks; what is given lets it tick until nothing is left."""
    command = [sys.executable, "-m", "benchmarks.ticker", url]
    with subprocess.Popen(
        command, cwd=HOME, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def tick() -> Report:
            print("tick", file=process.stdin, flush=True)
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError("the process that ticks has ended; see above why")
            return Report(**json.loads(line))

        try:
            yield tick
        finally:
            process.stdin.close()


@contextmanager
def _databases(folder: Path) -> Iterator[dict[str, Callable[[], str]]]:
    """Make databases of both kinds, each by a call that gives its URL."""
    numbers = count()
    with (
        tempfile.TemporaryDirectory(prefix="fleet-bench-", dir=folder.parent) as cluster,
        postgres_cluster(Path(cluster)) as url,
    ):

        def postgres() -> str:
            name = f"tick_{next(numbers)}"
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return make_url(url).set(database=name).render_as_string(hide_password=False)

        yield {
            "sqlite": lambda: f"sqlite:///{folder / f'tick_{next(numbers)}.db'}",
            "postgresql": postgres,
        }


def _run(url: str, replicas: int, changed: int) -> dict[str, float]:
    """Measure once, in a store filled for it."""
    filled = Filled(url, replicas)
    try:
        return filled.measure(changed)
    finally:
        filled.close()


def measure(folder: Path, replicas: int, changed: int, rounds: int) -> dict[str, object]:
    """Measure both databases with a tenth of the replicas and with all; best of the rounds."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    with _databases(folder) as databases:
        for kind, make in databases.items():
            for size, name in ((replicas // 10, "a_tenth"), (replicas, "all")):
                runs = [_run(make(), size, changed) for _ in range(rounds)]
                found.setdefault(kind, {})[name] = min(runs, key=lambda run: run["seconds"])
                say(f"{kind} {name}: {found[kind][name]}")
    full = [one["all"] for one in found.values()]
    return {
        "replicas": replicas,
        "changed": changed,
        "growth_1m_vs_100k": max(
            round(one["all"]["seconds"] / one["a_tenth"]["seconds"], 2) for one in found.values()
        ),
        "decisions_per_second": min(one["decisions_per_second"] for one in full),
        **{
            name: max(one[name] for one in full)
            for name in (
                "undecided",
                "idle_tick_seconds",
                "longest_unit_seconds",
                "peak_memory_mb",
            )
        },
        **{f"{kind}_{name}": one for kind, sizes in found.items() for name, one in sizes.items()},
    }


def main() -> None:
    """Measure, and print what was found."""
    given = options(__doc__, f"replicas ({REPLICAS})").parse_args()
    size = given.size or REPLICAS
    with ground(ROOM) as folder:
        result = measure(folder, size, min(CHANGED, size // 10 // COPIES // 2), given.rounds or 1)
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
