"""The scheduler: one leader that looks at what is dirty or due, in bounded units of work.

The tick changes nothing that is not conditional on what it read, so that two schedulers by
mistake do no harm; the office merely saves the work of the second.
"""

import threading
from collections.abc import Callable
from uuid import uuid4

import structlog
from celery import Celery

from fleet.control import (
    dispatch,
    drafts,
    fixity,
    leases,
    offices,
    outbox,
    placements,
)
from fleet.settings import CentreSettings
from fleet.store.database import Store

_log = structlog.get_logger()
_STEPS_AT_ONCE = 50
OFFICE_SECONDS = 5.0


def tick(store: Store, settings: CentreSettings) -> None:
    """Look once at everything that is dirty or due."""
    leases.expire(store, settings)
    leases.announce_again(store, settings)
    steps: tuple[Callable[[], bool], ...] = (
        lambda: drafts.step(store, settings),
        lambda: placements.step(store),
        lambda: fixity.step(store),
        lambda: dispatch.step(store),
    )
    for step in steps:
        for _ in range(_STEPS_AT_ONCE):
            if not step():
                break


def run(store: Store, settings: CentreSettings, app: Celery, stop: threading.Event) -> None:
    """Tick and send until ``stop`` is set; wait as a spare while another scheduler leads."""
    holder = uuid4().hex
    leading, fault = False, ""
    while not stop.is_set():
        with store.write() as session:
            led, now = leading, store.now(session)
            leading = offices.hold(session, offices.SCHEDULER, holder, OFFICE_SECONDS, now)
        if leading != led:
            _log.info("leading" if leading else "standing by")
        if leading:
            tick(store, settings)
            before, fault = fault, outbox.send(store, settings, app)
            if fault and fault != before:
                _log.warning("wake-ups wait in the outbox", reason=fault)
        stop.wait(settings.tick_seconds)
