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
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from sqlalchemy import update
from sqlmodel import col, select

from benchmarks.contest import missed, options, show
from benchmarks.counted import BIN
from benchmarks.engine import HOME
from benchmarks.ground import MIB, ground, say
from fleet.control import mirror, scheduler, sites
from fleet.control.mirror import RuleSpec
from fleet.control.sites import ProviderSpec, SiteSpec
from fleet.planning.budgets import BURST_SECONDS, WHOLE
from fleet.planning.states import TransferState, VersionState
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.migrate import upgrade
from fleet.store.tables import Attempt, Office, Slice, Transfer, Version, Wakeup
from fleet.store.transfers import LIVE

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
PATIENCE = 90.0
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


class Fleet:
    """A centre and its sites' workers, as processes; the broker's part is played here."""

    def __init__(self, folder: Path, host: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.host = host
        database = f"sqlite:///{folder / 'fleet.db'}"
        upgrade(database)
        self.store = Store(database)
        self.settings = CentreSettings(home=folder, database_url=database, lease_seconds=LEASE)
        self.names = [f"site{number}" for number in range(WORKERS)]
        specs = [SiteSpec(id=one, kind="node", driver="posix", slots=1) for one in self.names]
        provider = ProviderSpec(
            name="counted",
            hosts=(host,),
            requests_per_minute=60 * REQUESTS,
            bytes_per_5_minutes=300 * BYTES,
            streams=STREAMS,
        )
        sites.apply(self.store, tuple(specs), (provider,))
        with self.store.write() as session:  # so that leases may expire from the start
            since, until = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
            for role in ("server", "scheduler"):
                session.merge(Office(role=role, holder="benchmark", since=since, until=until))
        self.workers: dict[str, subprocess.Popen[str]] = {}

    def start(self, port: int) -> None:
        """Start the server and the workers, and wait for them."""
        common = {key: value for key, value in os.environ.items() if "FLEET_" not in key} | {
            "FLEET_HOME": str(self.folder),
            "FLEET_DATABASE_URL": self.settings.database_url,
            "FLEET_LEASE_SECONDS": str(LEASE),
            "FLEET_LISTEN": f"127.0.0.1:{port}",
            "FLEET_CENTRE_URL": f"http://127.0.0.1:{port}",
            "FLEET_ALLOW_NETWORKS": "127.0.0.0/8",
        }
        self.server = _process(["fleet", "server"], common, self.folder / "server.log")
        for one in self.names:
            env = common | {
                "FLEET_SITE": one,
                "FLEET_SITE_TOKEN": sites.make_token(self.store, one),
                "FLEET_ROOT": str(self.folder / one),
            }
            self.workers[one] = _process(["benchmarks.puller"], env, self.folder / f"{one}.log")
        for worker in self.workers.values():
            assert worker.stdout is not None
            worker.stdout.readline()

    def stop(self) -> None:
        """End every process."""
        for process in [self.server, *self.workers.values()]:
            process.kill()
            with suppress(BrokenPipeError):
                process.communicate()
        self.store.close()

    def mirror(self, paths: Sequence[str]) -> None:
        """Ask for a dataset of these files."""
        name = paths[0].rpartition("/")[0]
        listing = self.folder / f"{name}.txt"
        listing.write_text("".join(f"http://{self.host}/{path}\n" for path in paths))
        rule = RuleSpec(copies=1, min=1)
        mirror.mirror_dataset(self.store, str(listing), rule, dataset=name, key=name)

    def tick(self) -> None:
        """Tick, and bring the wake-ups to the workers."""
        scheduler.tick(self.store, self.settings)
        with self.store.write() as session:
            rows = session.exec(select(Wakeup).where(col(Wakeup.sent_at).is_(None))).all()
            for row in rows:
                row.sent_at = self.store.now(session)
        for row in rows:
            stdin = self.workers[row.site_id].stdin
            if row.task != "pull" or stdin is None:
                continue
            with suppress(BrokenPipeError):  # a killed worker's
                stdin.write(f"{row.attempt_id}\n")
                stdin.flush()

    def work(self, seconds: float) -> None:
        """Tick for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tick()
            time.sleep(0.05)

    def call_off(self) -> None:
        """End all that was asked for; the workers hear of it with their next heartbeats."""
        with self.store.write() as session:
            session.exec(update(Version).values(state=VersionState.WITHDRAWN, look_at=None))
            live = col(Transfer.state).in_(LIVE)
            session.exec(update(Transfer).where(live).values(state=TransferState.CANCELLED))
        until = time.monotonic() + PATIENCE
        while any(self.held().values()):
            if time.monotonic() > until:
                raise RuntimeError(f"not ended in {PATIENCE:.0f} s; see the logs in {self.folder}")
            self.work(0.2)

    def held(self) -> dict[str, int]:
        """Say what shares the sites' attempts hold now."""
        with self.store.read() as session:
            now = self.store.now(session)
            rows = session.exec(
                select(Attempt.site_id, Slice.share)
                .join(Slice, col(Slice.attempt_id) == col(Attempt.id))
                .where(col(Slice.starts) <= now, col(Slice.until) > now)
            ).all()
        shares: dict[str, int] = {}
        for site, share in rows:
            shares[site] = shares.get(site, 0) + share
        return shares


def _process(words: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen[str]:
    with log.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=HOME,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


@contextmanager
def fleet(folder: Path, host: str) -> Iterator[Fleet]:
    """Run a fleet for a while."""
    made = Fleet(folder, host)
    try:
        made.start(_free_port())
        yield made
    finally:
        made.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


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
        fleet(folder / "fleet", server.host) as running,
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
