"""A whole fleet as real processes, for acceptance tests: the tree of `fleet up`, driven by hand."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import col, select

from fleet.cli import tree
from fleet.cli.supervisor import Supervisor
from fleet.control import sites
from fleet.planning.states import TransferKind, TransferState
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Attempt, Site, Transfer
from tests.relay import Relay


class RunningFleet:
    """The processes, and what a test asks of them."""

    def __init__(
        self,
        home: Path,
        database_url: str,
        *,
        repositories: bool = False,
        catalogue: bool = False,
        only: tuple[str, ...] = (),
        **settings: float | Path,
    ) -> None:
        """Plant the tree; run all of its sites, or only some: each costs seconds to start.

        Without keys its ``catalogue`` is mirrored to no site: to tests that are about other data
        it would come as one more dataset, a minute after the last change.
        """
        self.home = home
        self.settings = CentreSettings(
            home=home,
            database_url=database_url,
            broker_url="",
            **settings,  # type: ignore[arg-type]
        )
        self.store = Store(database_url)
        extra = {f"FLEET_{name.upper()}": str(value) for name, value in settings.items()}
        extra["FLEET_SEEDS_SECONDS"] = "1"
        self.tree = tree.plant(
            self.store,
            self.settings,
            flower=False,
            persistent=False,
            extra=extra,
            repositories=repositories,
        )
        if not catalogue:
            self.settings.catalogue_keys.unlink()
        self.events: list[str] = []
        idle = [site for site in self.tree.sites if only and site not in only]
        specs = (one for one in sites.read(tree.LOCAL_SITES) if one.id in idle)
        sites.apply(self.store, tuple(one.model_copy(update={"retired": True}) for one in specs))
        programs = [one for one in self.tree.programs if one.name.split()[-1] not in idle]
        self.supervisor = Supervisor(programs, on_event=self.events.append, grace=15)

    def relay_doors(self) -> list[Relay]:
        """Have every site read through a relay that counts."""
        relays = []
        with self.store.write() as session:
            for site in session.exec(select(Site)).all():
                relay = Relay(int(site.read_url.rpartition(":")[2]))
                site.read_url = relay.url
                relays.append(relay)
        return relays

    def until(self, what: str, ready: Callable[[], object], seconds: float = 60) -> float:
        """Keep the programs running until something is so; return how many seconds it took."""
        began = time.monotonic()
        while not ready():
            self.supervisor.step()
            if time.monotonic() - began > seconds:
                raise AssertionError(f"{what}: not within {seconds} s\n{self.last_words()}")
            time.sleep(0.05)
        return time.monotonic() - began

    def all_ready(self) -> bool:
        return all(one.state == "ready" for one in self.supervisor.status())

    def pid(self, name: str) -> int:
        return next(one.pid or 0 for one in self.supervisor.status() if one.name == name)

    def lanes(self, site: str) -> list[int]:
        """The Celery processes of a site's worker, the bulk lane's first."""
        pids = children(self.pid(f"worker {site}"))
        return sorted(
            (pid for pid in pids if b"celery" in command(pid)),
            key=lambda pid: f"bulk@{site}".encode() not in command(pid),
        )

    def running(self) -> dict[str, Attempt]:
        """The attempts that run now, by transfer, but for probes, which never end."""
        with self.store.read() as session:
            rows = session.exec(
                select(Attempt)
                .join(Transfer, col(Transfer.attempt_id) == col(Attempt.id))
                .where(Transfer.state == TransferState.RUNNING)
                .where(Transfer.kind != TransferKind.PROBE)
            ).all()
        return {row.transfer_id: row for row in rows}

    def last_words(self) -> str:
        """The end of every log, and the supervisor's events."""
        words = ["\n".join(self.events[-20:])]
        for log in sorted(self.home.rglob("*.log")):
            words += [f"--- {log}", *log.read_text(errors="replace").splitlines()[-8:]]
        return "\n".join(words)


@contextmanager
def running_fleet(
    home: Path,
    database_url: str,
    *,
    repositories: bool = False,
    catalogue: bool = False,
    only: tuple[str, ...] = (),
    **settings: float | Path,
) -> Iterator[RunningFleet]:
    fleet = RunningFleet(
        home, database_url, repositories=repositories, catalogue=catalogue, only=only, **settings
    )
    try:
        yield fleet
    finally:
        fleet.supervisor.stop()
        fleet.store.close()


def children(pid: int) -> list[int]:
    """The processes that a process has started and not yet reaped."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
