"""`fleet up`: a whole fleet on this machine, as one supervised tree with a live screen."""

import fcntl
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import Session

from fleet.cli import tree
from fleet.cli.centre import stop_event
from fleet.cli.screen import DatasetLine, Screen, SiteLine, Snapshot
from fleet.cli.supervisor import Status, Supervisor
from fleet.control import views
from fleet.control.errors import FleetError
from fleet.settings import CentreSettings
from fleet.store import holdings, migrate
from fleet.store.database import Store

_LOOK_SECONDS = 0.5
_EVENTS = 50


def run(*, repositories: bool = False) -> None:
    """Run it until Ctrl-C or SIGTERM; with stand-ins for repositories if it is wanted so."""
    settings = CentreSettings()
    with _alone(settings.home):
        _run(settings, repositories=repositories)


def _run(settings: CentreSettings, *, repositories: bool) -> None:
    migrate.upgrade(settings.database)
    store = Store(settings.database)
    planted = tree.plant(store, settings, repositories=repositories)
    events: deque[str] = deque(maxlen=_EVENTS)
    stop = stop_event()
    supervisor = Supervisor(planted.programs, on_event=events.append, grace=tree.GRACE)
    with Screen() as screen:
        shower = threading.Thread(
            target=_show, args=(screen, store, supervisor, planted, events, stop), daemon=True
        )
        shower.start()
        supervisor.run(stop)
        shower.join()
    sys.stdout.write(
        f"stopped; everything is kept in {settings.home}, the catalogue's root key in "
        f"{planted.root_key_file}\n"
    )


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep a second `fleet up` out of ``home``: two brokers would share one set of files.

    Raises:
        FleetError: one runs there already.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FleetError(
                f"a `fleet up` runs in {home} already; stop it, or set FLEET_HOME to another folder"
            ) from None
        yield


def _show(
    screen: Screen,
    store: Store,
    supervisor: Supervisor,
    planted: tree.Tree,
    events: deque[str],
    stop: threading.Event,
) -> None:
    while True:
        with store.read() as session:
            snapshot = look(session, supervisor.status(), planted, list(events))
        screen.show(snapshot)
        if stop.is_set():
            return
        time.sleep(_LOOK_SECONDS)


def look(
    session: Session, processes: list[Status], planted: tree.Tree, events: list[str]
) -> Snapshot:
    """Gather what the screen shows."""
    return Snapshot(
        processes=processes,
        sites=[SiteLine(**line) for line in holdings.site_lines(session, planted.sites)],
        datasets=[
            DatasetLine(
                id=one.id,
                version=one.version,
                state=one.progress.state,
                done=one.progress.replicas_available,
                total=one.progress.replicas_wanted,
                bytes=one.progress.bytes_known,
            )
            for one in views.datasets(session)
        ],
        page_url=planted.page_url,
        events=events,
    )
