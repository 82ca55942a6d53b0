"""Redirects: one process of the whole application beside a bare Starlette route, turn by turn.

64 connections ask for 100,000 files in an order of chance, each as soon as it was answered, and say
from which of five countries.  ``vs_bare_starlette`` is how many requests we answer while the bare
route answers one, by the servers' processor time: on a machine that does other things as well,
seconds tell little of a server.  ``asks_times`` is how many times as fast whoever asks is with a
socket that always says the same as with us, so that it is not what is measured; ``server_busy`` is
the share of a core that we used meanwhile.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from benchmarks.contest import ROUNDS, missed, options, show
from benchmarks.ground import MIB, ground, say
from benchmarks.redirected import FILES, fill

ARTIFACTS = 100_000
REQUESTS = 20_000
WANTED = {
    "vs_bare_starlette": (">=", 0.5),
    "other_answers": ("<=", 0.0),
    "asks_times": (">=", 1.5),
    "artifacts": (">=", float(ARTIFACTS)),
}
_TICKS = os.sysconf("SC_CLK_TCK")
Figures = dict[str, float]


class Server:
    """A process that is asked."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.pid, self.port = process.pid, port
        self.rounds: list[Figures] = []

    @property
    def cpu(self) -> float:
        """The seconds of processor time that it has used."""
        words = (
            Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        return (int(words[11]) + int(words[12])) / _TICKS

    @property
    def memory(self) -> float:
        """The megabytes of memory that it holds."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def ask(self, paths: str) -> Figures:
        """Let it be asked once, by a process of its own."""
        command = [sys.executable, "-m", "benchmarks.asking", f"127.0.0.1:{self.port}"]
        before = self.cpu
        done = subprocess.run(
            [*command, str(REQUESTS)], input=paths, capture_output=True, text=True, check=True
        )
        figures: Figures = json.loads(done.stdout)
        used = self.cpu - before
        return figures | {"server_busy": used / figures["seconds"], "cpu": used}

    def median(self, name: str) -> float:
        """Give the middle one of a figure of its rounds."""
        return statistics.median(one[name] for one in self.rounds)

    @property
    def rate(self) -> float:
        """The requests that it answered in a second."""
        return REQUESTS / self.median("seconds")


@contextmanager
def serving(*kind: str) -> Iterator[Server]:
    """Run one of the servers."""
    command = [sys.executable, "-m", "benchmarks.redirected", *kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Server(process, int(process.stdout.readline()))
        finally:
            process.kill()


def main() -> None:
    """Ask, and print what was found."""
    given = options(__doc__, "files in the store (100,000)").parse_args()
    artifacts, rounds = (given.size or ARTIFACTS) // FILES * FILES, given.rounds or ROUNDS
    with ground(512 * MIB) as folder, ExitStack() as stack:
        say(f"{artifacts} files are put into a store")
        paths = fill(f"sqlite:///{folder / 'fleet.db'}", artifacts)
        random.Random(1).shuffle(paths)  # noqa: S311 - the same in every run
        asked = "\n".join(paths)
        fleet = stack.enter_context(serving("fleet", f"sqlite:///{folder / 'fleet.db'}"))
        others = {kind: stack.enter_context(serving(kind)) for kind in ("starlette", "canned")}
        loaded = _until_loaded(fleet, paths)
        say(f"read by the server in {loaded:.1f} s of processor time; {fleet.memory:.0f} MB")
        servers = {"fleet": fleet, **others}
        for number in range(rounds):
            for name, server in servers.items():
                server.rounds.append(server.ask(asked))
                last = server.rounds[-1]
                rate = REQUESTS / last["seconds"]
                say(f"{number + 1} {name:10} {rate:8.0f}/s {last['cpu']:6.2f} s")
        say("and without its database")
        (folder / "fleet.db").rename(folder / "away.db")
        (folder / "fleet.db").mkdir()
        away = fleet.ask(asked)
        memory = fleet.memory
    bare = others["starlette"]
    result = {
        "artifacts": artifacts,
        "requests_per_second": round(fleet.rate),
        "p50_ms": round(fleet.median("p50_ms"), 2),
        "p99_ms": round(fleet.median("p99_ms"), 2),
        "cpu_us_per_request": round(1e6 * fleet.median("cpu") / REQUESTS, 1),
        "bare_requests_per_second": round(bare.rate),
        "bare_p99_ms": round(bare.median("p99_ms"), 2),
        "bare_cpu_us_per_request": round(1e6 * bare.median("cpu") / REQUESTS, 1),
        "vs_bare_starlette": round(bare.median("cpu") / fleet.median("cpu"), 3),
        "vs_bare_starlette_by_the_clock": round(fleet.rate / bare.rate, 3),
        "server_busy": round(fleet.median("server_busy"), 2),
        "asker_busy": round(fleet.median("busy"), 2),
        "asks_times": round(others["canned"].rate / fleet.rate, 2),
        "requests_per_second_without_database": round(REQUESTS / away["seconds"]),
        "other_answers": sum(one["other_answers"] for one in (*fleet.rounds, *bare.rounds, away)),
        "load_cpu_seconds": round(loaded, 2),
        "memory_mb": round(memory),
    }
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


def _until_loaded(server: Server, paths: list[str]) -> float:
    """Wait until the server knows all there is; say what processor time it took."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        while True:
            try:
                answers = {client.get(path).status_code for path in (paths[0], "/d/none/1/a")}
            except httpx.ConnectError:
                answers = set()
            if answers == {307, 404}:
                return server.cpu
            time.sleep(0.1)


if __name__ == "__main__":
    main()
