"""``fleet seeder``: one long-lived process per site.

It puts the parts together, runs them until SIGTERM or SIGINT, and ends them in order.  It may be
killed at any moment: the next one seeds from the cache at once.
"""

import asyncio
import contextlib
import fcntl
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog

from fleet.settings import SiteSettings
from workers.seeder.cache import Cache
from workers.seeder.centre import SeedCentre
from workers.seeder.control import Answer, Command, answer, bind, socket_path
from workers.seeder.dialling import dial_seeds
from workers.seeder.door import Door
from workers.seeder.fetches import Efforts, Fetches
from workers.seeder.gate import Gate
from workers.seeder.keeper import Keeper
from workers.seeder.mending import Mender
from workers.seeder.seeder import Seeder
from workers.seeder.session import Discovery, Session, SessionError
from workers.seeder.tally import Tally
from workers.seeder.traffic import Counters, sample
from workers.seeder.uploads import Uploads
from workers.uplinks import Pulled, carried

_log = structlog.get_logger()


class StartError(Exception):
    """The seeder cannot start; the message says what to change."""


def main(settings: SiteSettings) -> None:
    """Run a site's seeder until it is told to stop; exit with 1 if it cannot start."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        asyncio.run(run(settings))
    except StartError as error:
        _log.error("cannot start", site=settings.site, reason=str(error))
        raise SystemExit(1) from error


async def run(settings: SiteSettings) -> None:
    """Run a site's seeder until SIGTERM or SIGINT.

    Raises:
        StartError: an address is taken, the token is missing, or another seeder runs here.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        try:
            stack.enter_context(_alone(settings.state))
            session = stack.enter_context(_session(settings))
            gate = Gate() if settings.door else None
            door = Door(settings.store_root, settings.door, gate) if gate else None
            centre = await stack.enter_async_context(SeedCentre(settings))
            path = socket_path(settings)
            control = bind(path)
            stack.callback(path.unlink, missing_ok=True)
        except (OSError, ValueError, SessionError) as error:
            raise StartError(str(error)) from error
        keeper = Keeper(settings.store_root, session)
        uploads = Uploads(session, gate, Tally(settings.state / "uploads.json", datetime.now(UTC)))
        stack.callback(uploads.close)
        seeder = Seeder(Cache(settings.state / "seeds"), keeper, centre, uploads)
        ports = {"bittorrent": session.port, "door": door.port if door else None}
        commands = _Commands(settings.site, seeder, uploads, ports)
        efforts = Efforts()
        fetches = Fetches(settings, session, centre, keeper, efforts)
        mender = Mender(settings, centre, keeper, efforts)
        talks = {"fetch": fetches.fetch, "mend": mender.mend}
        await asyncio.to_thread(seeder.load)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(answer(control, commands.by_name, talks)),
                tasks.create_task(seeder.follow(settings.seeds_seconds)),
                tasks.create_task(seeder.meter()),
                tasks.create_task(sample(centre, _counting(settings, uploads))),
                tasks.create_task(dial_seeds(session, lambda: seeder.desired)),
            ]
            if door:
                tasks.create_task(door.run_until_closed())
            _log.info("ready", site=settings.site, **ports, seeding=seeder.seeding)
            await stop.wait()
            for task in running:
                task.cancel()
            if door:
                door.close()
        # a poll that was cancelled may still be in the session
        await loop.shutdown_default_executor()
    _log.info("stopped", site=settings.site)


class _Commands:
    """What the control socket answers."""

    def __init__(
        self, site: str, seeder: Seeder, uploads: Uploads, ports: dict[str, int | None]
    ) -> None:
        self._site = site
        self._seeder = seeder
        self._uploads = uploads
        self._ports = ports
        self.by_name: dict[str, Command] = {"sync": self.sync, "status": self.status}

    async def sync(self) -> Answer:
        await self._seeder.nudge()
        trouble = self._seeder.trouble
        seeding = self._seeder.seeding
        if trouble:
            return {"ok": False, "seeding": seeding, "error": trouble}
        return {"ok": True, "seeding": seeding}

    async def status(self) -> Answer:
        seeder = self._seeder
        seeds = seeder.desired
        torrents = [
            report.model_dump() | {"name": seed.name, "shard": seed.shard, "size": seed.size}
            for infohash, report in seeder.reports.items()
            if (seed := seeds.get(infohash))
        ]
        return {
            "ok": True,
            "site": self._site,
            **self._ports,
            "seeding": seeder.seeding,
            "centre": seeder.trouble,
            "uploads": self._uploads.report.model_dump(mode="json"),
            "torrents": torrents,
        }


def _counting(settings: SiteSettings, uploads: Uploads) -> Callable[[], Counters]:
    """Make what counts the traffic of this machine and, of it, the fleet's own."""
    pulled, own = Pulled(settings.pulled), 0

    def count() -> Counters:
        nonlocal own
        came, went = carried()
        own += pulled.since()
        return Counters(datetime.now(UTC), came, went, own, uploads.sent)

    return count


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Hold a site's state against a second seeder; the lock ends with the process."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "seeder.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another seeder is running on {state}; stop it first") from error
        yield


@contextlib.contextmanager
def _session(settings: SiteSettings) -> Iterator[Session]:
    discovery = Discovery(settings.dht, settings.dht_nodes, settings.pex, settings.lsd)
    session = Session(settings.bittorrent, discovery)
    try:
        yield session
    finally:
        session.close()
