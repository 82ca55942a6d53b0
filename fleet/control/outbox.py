"""The outbox: committed wake-ups go to the broker, at least once.

Rules this module keeps:

- The broker has about two seconds, dead or alive: the scheduler, who sends, holds an office
  that it must renew.  What was not sent is sent at the next tick.
- A batch goes over a connection of its own: one that was kept may have died unnoticed.
"""

import time

from celery import Celery
from kombu.exceptions import OperationalError

from fleet import wakeups
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.database import Store

_AT_ONCE = 200
_BATCH_SECONDS = 1.0  # after that, no further wake-up is begun


def send(store: Store, settings: CentreSettings, app: Celery) -> str:
    """Send what is waiting; return the broker's fault, empty when it took everything in time.

    A crash between sending and noting it sends a wake-up twice; the second finds its attempt
    claimed.
    """
    with store.read() as session:
        rows = transfers.unsent(session, _AT_ONCE)
    if not rows:
        return ""
    sent: list[int] = []
    fault = ""
    end = time.monotonic() + _BATCH_SECONDS
    try:
        with wakeups.impatient(app) as connection:
            for row in rows:
                if time.monotonic() > end:
                    break
                app.send_task(
                    row.task,
                    args=list(filter(None, (row.attempt_id, row.publication_id))),
                    queue=wakeups.queue(row.site_id, row.task),
                    connection=connection,
                    expires=wakeups.expiry(settings.lease_seconds),
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
