"""The scheduler: one leader that looks at what is dirty or due, in bounded units of work.

The tick changes nothing that is not conditional on what it read, so that two schedulers by
mistake do no harm; the office merely saves the work of the second.
"""

import threading
import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from celery import Celery
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError

from fleet.control import (
    dispatch,
    drafts,
    fixity,
    judging,
    leases,
    offices,
    outbox,
    placements,
    press,
    publications,
    retirement,
    revisits,
    served,
    tombstones,
    traffic,
)
from fleet.settings import CentreSettings
from fleet.store import loads, offers
from fleet.store.database import Store

_log = structlog.get_logger()
TICK_MOST = 2.0  # seconds after which a tick begins no further round
OFFICE_SECONDS = 5.0


def tick(store: Store, settings: CentreSettings, *, most: float = TICK_MOST) -> None:
    """Look at everything that is dirty or due, in turns, for ``most`` seconds.

    What is left is for the next tick: in between leases expire and wake-ups are sent.
    """
    leases.expire(store, settings)
    leases.announce_again(store, settings)
    _fold(store)
    steps: tuple[Callable[[], bool], ...] = (
        lambda: drafts.step(store, settings),
        lambda: judging.step(store),
        lambda: retirement.step(store),
        lambda: revisits.step(store),
        lambda: publications.step(store, settings),
        lambda: placements.step(store, settings),
        lambda: served.step(store),
        lambda: tombstones.step(store),
        lambda: fixity.step(store, settings),
        lambda: traffic.step(store),
        lambda: press.step(store, settings),
        lambda: dispatch.step(store, settings),
    )
    end = time.monotonic() + most
    while steps and time.monotonic() < end:
        busy = [step() for step in steps]
        # what a step makes is work for those after it; for one before it, the next tick's
        steps = steps[busy.index(True) :] if True in busy else ()


def _fold(store: Store) -> None:
    """Add up what was noted of the sites' loads and of changes, if it is worth a unit of work."""
    with store.read() as session:
        worth = [loads.fold] if loads.worth_folding(session) else []
        worth += [offers.fold] if offers.worth_folding(session) else []
    for fold in worth:
        with store.write() as session:
            fold(session)


def run(store: Store, settings: CentreSettings, app: Celery, stop: threading.Event) -> None:
    """Tick and send until ``stop`` is set; wait as a spare while another scheduler leads."""
    holder = uuid4().hex
    leading, fault = False, ""
    while not stop.is_set():
        led, leading = leading, _lead(store, holder)
        if leading != led:
            _log.info("leading" if leading else "standing by")
        if leading:
            _tick(store, settings)
            _lead(store, holder)  # a long tick, and then a slow broker, would outlast the office
            before, fault = fault, outbox.send(store, settings, app)
            if fault and fault != before:
                _log.warning("wake-ups wait in the outbox", reason=fault)
        stop.wait(settings.tick_seconds)


def _tick(store: Store, settings: CentreSettings) -> None:
    """Tick; one unit of work that came to nothing, as by a deadlock, is for the next one."""
    try:
        tick(store, settings)
    except DBAPIError as error:
        _log.warning("a tick was broken off", reason=str(error.orig))
    except StaleDataError as error:  # what it changed was deleted meanwhile
        _log.warning("a tick was broken off", reason=str(error))


def _lead(store: Store, holder: str) -> bool:
    """Take or keep the scheduler's office."""
    with store.write() as session:
        now = store.now(session)
        return offices.hold(session, offices.SCHEDULER, holder, OFFICE_SECONDS, now)
