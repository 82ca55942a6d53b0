"""The processes of the centre."""

import signal
import sys
import threading
from types import FrameType

from fleet import wakeups
from fleet.cli import local
from fleet.cli.logs import set_up
from fleet.settings import CentreSettings

_CONSUMER_THREADS = 4  # a step of a publication may wait minutes for its repository


def run_server() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    import uvicorn

    from fleet.web.app import make_app

    set_up()
    settings = CentreSettings()
    host, _, port = settings.listen.rpartition(":")
    uvicorn.run(
        make_app(local.store(), settings),
        host=host,
        port=int(port),
        log_level="warning",
        proxy_headers=False,  # whom to believe is FLEET_TRUSTED_PROXIES' to say
        timeout_graceful_shutdown=3,
    )


def run_scheduler() -> None:
    """Tick until SIGTERM or Ctrl-C."""
    from fleet.control import scheduler

    set_up()
    settings = CentreSettings()
    app = wakeups.make_app("fleet", settings.broker_url)
    scheduler.run(local.store(), settings, app, stop_event())


def run_consumer() -> None:
    """Consume the admin queue until SIGTERM or Ctrl-C."""
    set_up()
    from fleet.control.consumer import app

    app.worker_main(
        [
            "worker",
            f"--queues={wakeups.ADMIN_QUEUE}",
            "--hostname=consumer@centre",
            "--pool=threads",
            f"--concurrency={_CONSUMER_THREADS}",
            "--loglevel=INFO",
            "--without-mingle",
            "--without-gossip",
        ]
    )


def stop_event() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set."""
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)
    return stop


def program(*words: str) -> tuple[str, ...]:
    """Return the command line of a `fleet …` process run by this Python."""
    return (sys.executable, "-m", "fleet", *words)
