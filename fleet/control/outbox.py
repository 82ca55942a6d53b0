"""The outbox: committed wake-ups go to the broker, at least once."""

from celery import Celery
from kombu.exceptions import OperationalError

from fleet import wakeups
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.database import Store

_AT_ONCE = 200


def send(store: Store, settings: CentreSettings, app: Celery) -> str:
    """Send what is waiting; return the broker's fault, empty when it took everything.

    A crash between sending and noting it sends a wake-up twice; the second finds its attempt
    claimed.
    """
    with store.read() as session:
        rows = transfers.unsent(session, _AT_ONCE)
    sent: list[int] = []
    fault = ""
    try:
        for row in rows:
            app.send_task(
                row.task,
                args=[row.attempt_id] if row.attempt_id else [],
                queue=wakeups.queue(row.site_id, row.task),
                expires=settings.lease_seconds,  # by then another wake-up is on its way
                retry=False,
                ignore_result=True,
            )
            sent.append(row.id or 0)
    except (OperationalError, OSError) as error:
        fault = f"the broker took {len(sent)} of {len(rows)} wake-ups: {error}"
    if sent:
        with store.write() as session:
            transfers.mark_sent(session, sent, store.now(session))
    return fault
