"""A provider's budget, shared by eight worker processes and counted at its server.

A whole centre (store, control API, dispatch) grants slices of one provider's budget; eight sites'
workers pull from it, first small files, where its requests are what is short, then large ones,
where its bytes are.  Each is counted where it counts for the provider: at the server.  Then one
worker is killed, and its part has to be another's within its lease.

Windows are scaled down, from a minute and five minutes to ``WINDOW`` seconds: what holds in every
short window holds in the long ones.  The stated burst is what ``fleet.planning.budgets`` states, a
request for each stream and half a second's rates, and of bytes what lies in the sockets of each
stream.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from benchmarks.contest import missed, options, show
from benchmarks.counted import BIN
from benchmarks.engine import HOME
from benchmarks.fleets import PATIENCE, Fleet, fleet
from benchmarks.ground import MIB, ground, say
from fleet.control.sites import ProviderSpec
from fleet.planning.budgets import BURST_SECONDS, WHOLE

WORKERS = 8
STREAMS = 16
LEASE = 6.0  # seconds
WINDOW = 6.0  # seconds
REQUESTS = 12  # a second: so each worker has enough to do with the files of one attempt
BYTES = 24 * 10**6  # a second
FILES = 640
SMALL = 4096
SOCKETS = 512 * 1024  # bytes in both buffers of one stream
SECONDS = 14
WANTED = {
    "granted_over_ideal": (">=", 0.90),
    "granted_over_ideal_most": ("<=", 1.02),
    "cap_exceeded": ("<=", 0),
    "killed_back_over_lease": ("<=", 1.0),
}


class Counted:
    """The server, in a process of its own; use it as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.counted"],
            cwd=HOME,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.host = f"127.0.0.1:{self._line().strip()}"
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def counts(self) -> dict[str, Any]:
        """Say what it counted so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class Series:
    """Counts by bin between two moments of the monotonic clock."""

    def __init__(self, rows: Sequence[tuple[int, int]], since: float, until: float) -> None:
        first = int(since / BIN)
        self.bins = [0] * (int(until / BIN) - first)
        for number, count in rows:
            if 0 <= number - first < len(self.bins):
                self.bins[number - first] += count

    def share_of(self, rate: float) -> float:
        """Say what part of a rate was used."""
        return sum(self.bins) / (rate * BIN * len(self.bins))

    def windows_over(self, most: float) -> int:
        """Count the sliding windows that saw more than so much."""
        width, over = int(WINDOW / BIN), 0
        used = sum(self.bins[:width])
        for at in range(width, len(self.bins) + 1):
            over += used > most
            used += (self.bins[at] if at < len(self.bins) else 0) - self.bins[at - width]
        return over

    def peak(self) -> int:
        """Give the most that a window saw."""
        width = int(WINDOW / BIN)
        starts = range(max(1, len(self.bins) - width + 1))
        return max(sum(self.bins[at : at + width]) for at in starts)


def provider(host: str) -> ProviderSpec:
    """Say what all workers together may ask of the server."""
    return ProviderSpec(
        name="counted",
        hosts=(host,),
        requests_per_minute=60 * REQUESTS,
        bytes_per_5_minutes=300 * BYTES,
        streams=STREAMS,
    )


class Found(NamedTuple):
    """What the server counted."""

    requests: Series
    bytes: Series
    most_streams: int


def counted(
    fleet: Fleet, server: Counted, paths: Sequence[str], settles: float, seconds: float
) -> Found:
    """Pull files for a while; give what the server counted once all workers held slices.

    It is counted from ``settles`` seconds later, when sockets are as full as they will be.
    """
    fleet.mirror(paths)
    until = time.monotonic() + PATIENCE
    while len([one for one in fleet.held().values() if one]) < WORKERS:
        if time.monotonic() > until:
            raise RuntimeError("not every worker was given a slice")
        fleet.work(0.2)
    fleet.work(settles)
    since = time.monotonic()
    fleet.work(seconds)
    counts, now = server.counts(), time.monotonic()
    return Found(
        Series(counts["requests"], since, now),
        Series(counts["bytes"], since, now),
        counts["most_streams"],
    )


def kill_one(fleet: Fleet) -> float:
    """Kill a worker; give the seconds until the others hold all of the budget."""
    victim = fleet.names[0]
    fleet.workers[victim].kill()
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        fleet.work(0.05)
        held = fleet.held()
        others = sum(share for site, share in held.items() if site != victim)
        if not held.get(victim) and others >= 0.99 * WHOLE:
            break
    return time.monotonic() - began


def main() -> None:
    """Run the fleet and print what the server counted."""
    given = options(__doc__, f"seconds that are counted of each kind ({SECONDS})")
    seconds = (told := given.parse_args()).size or SECONDS
    size = BYTES * int(seconds + 2 * LEASE)  # nobody has it all before the end
    large_ones = [f"large{one}/{size}" for one in range(WORKERS)]
    with (
        ground(1024 * MIB) as folder,
        Counted() as server,
        fleet(folder / "fleet", provider(server.host), WORKERS, LEASE) as running,
    ):
        say("small files")
        small_ones = [f"small{one}/{SMALL}" for one in range(FILES)]
        small = counted(running, server, small_ones, LEASE / 2, seconds)
        running.call_off()
        say("large files")
        large = counted(running, server, large_ones, 2 * LEASE, seconds)
        say("one worker is killed")
        back = kill_one(running)
    requests, data = small.requests, large.bytes
    streams = max(small.most_streams, large.most_streams)
    ideals = {"requests": requests.share_of(REQUESTS), "bytes": data.share_of(BYTES)}
    most_requests = REQUESTS * (WINDOW + BURST_SECONDS) + STREAMS
    most_bytes = BYTES * (WINDOW + BURST_SECONDS) + STREAMS * SOCKETS
    result = {
        "workers": WORKERS,
        "granted_over_ideal": round(min(ideals.values()), 3),
        "granted_over_ideal_most": round(max(ideals.values()), 3),
        "granted_over_ideal_by": {name: round(value, 3) for name, value in ideals.items()},
        "cap_exceeded": requests.windows_over(most_requests)
        + large.requests.windows_over(most_requests)
        + small.bytes.windows_over(most_bytes)
        + data.windows_over(most_bytes)
        + max(0, streams - STREAMS),
        "window_seconds": WINDOW,
        "peak_over_cap": {
            "requests": round(requests.peak() / (REQUESTS * WINDOW), 3),
            "bytes": round(data.peak() / (BYTES * WINDOW), 3),
        },
        "stated_burst_over_cap": {
            "requests": round(most_requests / (REQUESTS * WINDOW) - 1, 3),
            "bytes": round(most_bytes / (BYTES * WINDOW) - 1, 3),
        },
        "most_streams": streams,
        "streams": STREAMS,
        "lease_seconds": LEASE,
        "killed_back_seconds": round(back, 2),
        "killed_back_over_lease": round(back / LEASE, 3),
    }
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=told.json)


if __name__ == "__main__":
    main()
