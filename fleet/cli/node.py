"""The processes of one site."""

import os
import sys
import threading

import structlog

from fleet import wakeups
from fleet.cli.centre import stop_event
from fleet.cli.logs import set_up
from fleet.cli.supervisor import Program, Supervisor
from fleet.settings import SiteSettings

_log = structlog.get_logger()
_FLUSH_SECONDS = 2.0
_POOLS = {wakeups.BULK: "prefork", wakeups.LIGHT: "threads"}


def run_worker(site: str) -> None:
    """Run both lanes of a site, and send what was spooled, until SIGTERM or Ctrl-C."""
    set_up()
    os.environ["FLEET_SITE"] = site
    settings = SiteSettings(site=site)
    stop = stop_event()
    sender = threading.Thread(target=_send_spooled, args=(settings, stop), daemon=True)
    sender.start()
    programs = [_lane(settings, lane) for lane in _POOLS]
    Supervisor(programs, on_event=_log.info).run(stop)


def run_seeder(site: str) -> None:
    """Seed until SIGTERM or Ctrl-C."""
    from workers.seeder import daemon

    set_up()
    daemon.main(SiteSettings(site=site))


def _lane(settings: SiteSettings, lane: str) -> Program:
    slots = settings.bulk_slots if lane == wakeups.BULK else settings.light_slots
    return Program(
        name=lane,
        argv=(
            sys.executable,
            "-m",
            "celery",
            "--app=workers.app",
            "worker",
            f"--queues={wakeups.lane_queue(settings.site, lane)}",
            f"--hostname={lane}@{settings.site}",
            f"--pool={_POOLS[lane]}",
            f"--concurrency={slots}",
            "--loglevel=INFO",
            "--without-mingle",
            "--without-gossip",
        ),
        env=dict(os.environ),
        log=settings.state / "logs" / f"{lane}.log",
    )


def _send_spooled(settings: SiteSettings, stop: threading.Event) -> None:
    """Send outcomes that wait on disk, as soon as the centre takes them, whatever goes wrong."""
    from workers.centre import Centre, CentreAway
    from workers.spool import Spool

    spool, trouble = Spool(settings.state / "spool"), ""
    with Centre(settings) as centre:
        while not stop.wait(_FLUSH_SECONDS):
            before, trouble = trouble, ""
            try:
                spool.flush(centre)
            except (CentreAway, OSError) as error:
                trouble = str(error)
            if trouble and trouble != before:
                _log.warning("outcomes wait on disk", reason=trouble)
