"""A fleet for benchmarks: a centre, its control API and its sites' workers, as real processes.

There is no broker: whoever drives the fleet ticks, and the wake-ups go to the workers' inputs.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import update
from sqlmodel import col, select

from benchmarks.engine import HOME
from fleet.control import mirror, scheduler, sites
from fleet.control.rules import RuleSpec
from fleet.control.sites import ProviderSpec, SiteSpec
from fleet.planning.states import TransferState, VersionState
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.migrate import upgrade
from fleet.store.tables import Attempt, Office, Slice, Transfer, Version, Wakeup
from fleet.store.transfers import LIVE

PATIENCE = 90.0  # seconds


class Fleet:
    """A centre and its sites' workers, as processes; the broker's part is played here."""

    def __init__(self, folder: Path, provider: ProviderSpec, workers: int, lease: float) -> None:
        folder.mkdir()
        self.folder = folder
        self.host = provider.hosts[0]
        database = f"sqlite:///{folder / 'fleet.db'}"
        upgrade(database)
        self.store = Store(database)
        self.settings = CentreSettings(home=folder, database_url=database, lease_seconds=lease)
        self.names = [f"site{number}" for number in range(workers)]
        specs = [SiteSpec(id=one, kind="node", driver="posix", slots=1) for one in self.names]
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
            "FLEET_LEASE_SECONDS": str(self.settings.lease_seconds),
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
def fleet(folder: Path, provider: ProviderSpec, workers: int, lease: float) -> Iterator[Fleet]:
    """Run a fleet for a while: so many sites, with a worker each, that share a provider."""
    made = Fleet(folder, provider, workers, lease)
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
