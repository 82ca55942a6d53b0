"""`fleet tracker`: opentracker in the foreground, its allow-list kept in step with the catalogue.

Rules this module keeps:

- The list is there before opentracker starts: without one it would serve nobody.
- opentracker is told to read the list again (SIGHUP) after each change, and never restarted for it.
- A store that is away changes nothing: the tracker goes on with the list it has.
"""

import os
import shutil
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from fleet.cli import local
from fleet.cli.centre import stop_event
from fleet.cli.logs import set_up
from fleet.cli.supervisor import Program, Supervisor
from fleet.control import tracker
from fleet.control.errors import FleetError
from fleet.control.scrape import Figures, scrape
from fleet.settings import CentreSettings
from fleet.store.database import Store

_log = structlog.get_logger()
_LOOK_SECONDS: Final = 2.0
_LIST: Final = "allow-list"


def run() -> None:
    """Run it until Ctrl-C or SIGTERM.

    Raises:
        FleetError: opentracker is not installed, its address is none, or the store or the folder
            cannot be used.
    """
    settings = CentreSettings()
    program = shutil.which("opentracker")
    if program is None:
        raise FleetError(
            "opentracker is not installed: install Debian's package opentracker "
            "(apt-get install opentracker)"
        )
    set_up()
    store, folder = local.store(), settings.home / "tracker"
    try:
        tracker.keep_list(store, folder / _LIST)
    except OSError as error:
        raise FleetError(f"the tracker's allow-list cannot be written: {error}") from error
    stop = stop_event()
    supervisor = Supervisor([_program(program, settings, folder)], on_event=_log.info)
    keeper = threading.Thread(
        target=_keep, args=(store, folder / _LIST, supervisor, stop), daemon=True
    )
    keeper.start()
    supervisor.run(stop)


def figures() -> list[Figures]:
    """Ask the tracker that runs here for its figures of the torrents on its list.

    Raises:
        FleetError: the store cannot be used, or no tracker answers.
    """
    host, port = _address(CentreSettings())
    # every address, as which it may listen, is none to connect to
    here = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared only
    return scrape(f"http://{here}:{port}/scrape", tracker.allowed(local.store()))


def _address(settings: CentreSettings) -> tuple[str, str]:
    host, _, port = settings.tracker.rpartition(":")
    if not host or not port.isdecimal():
        raise FleetError(f"FLEET_TRACKER is {settings.tracker!r}: give address:port")
    return host, port


def _program(program: str, settings: CentreSettings, folder: Path) -> Program:
    host, port = _address(settings)
    address = ("-i", host, "-p", port, "-P", port)
    # as root it goes into this folder for good, so the list is named from there
    return Program(
        name="opentracker",
        argv=(program, *address, "-d", str(folder), "-w", _LIST),
        env=dict(os.environ),
        log=settings.home / "logs" / "opentracker.log",
    )


def _keep(store: Store, path: Path, supervisor: Supervisor, stop: threading.Event) -> None:
    trouble = ""
    while not stop.wait(_LOOK_SECONDS):
        before, trouble = trouble, ""
        try:
            if tracker.keep_list(store, path):
                _tell(supervisor)
        except (DBAPIError, OSError) as error:
            trouble = str(error)
        if trouble and trouble != before:
            _log.warning("the allow-list is kept as it is", reason=trouble)


def _tell(supervisor: Supervisor) -> None:
    [status] = supervisor.status()
    # one that is not running reads the list when it starts
    if status.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(status.pid, signal.SIGHUP)
    _log.info("the allow-list has changed")
