"""The broker's side of the contract: queue names, and how Celery is set up on both ends.

Rules this module keeps (the measurements behind them are in docs/adr/0002):

- A message carries an id and no authority; losing one, or all of them, loses no work.
- Acknowledged early, never redelivered, no ETA or countdown, no results in the broker.
- JSON only.
- Nobody who sends waits long for a broker that is away.
"""

from celery import Celery
from kombu.connection import Connection

ADMIN_QUEUE = "admin"
ADVANCE = "fleet.advance_publication"
PRESS = "fleet.write_catalogue"
"""The centre's own tasks that a wake-up may be for."""
BULK, LIGHT = "bulk", "light"
_LANES = {
    "pull": BULK,
    "verify": BULK,
    "publish": BULK,
    "drop": BULK,
    "switch": BULK,
    "probe": LIGHT,
    "seed": LIGHT,
}
_PATIENCE = 1.0
_LEASES, _LEAST_EXPIRY = 10, 300.0


def queue(site: str, task: str) -> str:
    """Name the queue that takes ``task`` for ``site``, such as ``toronto.bulk``."""
    return ADMIN_QUEUE if task in (ADVANCE, PRESS) else f"{site}.{_LANES[task]}"


def lane_queue(site: str, lane: str) -> str:
    """Name the queue of ``site`` for one of its lanes, ``bulk`` or ``light``."""
    return f"{site}.{lane}"


def expiry(lease: float) -> float:
    """Return how long a wake-up lives, in seconds, where a claim lasts ``lease`` seconds.

    A node judges it by its own clock, and one that runs ahead by more would drop every wake-up:
    so it is far more than the lease after which the next one is sent.  What a site finds twice
    does no harm, as only one claim succeeds; expiry merely bounds the backlog of one that was
    away.
    """
    return max(_LEASES * lease, _LEAST_EXPIRY)


def impatient(app: Celery) -> Connection:
    """Make a connection for sending that tries once and waits a second at most for an answer.

    The workers' own have no such limit: they wait for a message as long as it takes.
    """
    connection: Connection = app.connection_for_write(
        connect_timeout=_PATIENCE,
        transport_options={
            "max_retries": 0,
            "socket_connect_timeout": _PATIENCE,
            "socket_timeout": _PATIENCE,
        },
    )
    return connection


def make_app(name: str, broker_url: str) -> Celery:
    """Make a Celery application that keeps the rules above."""
    app = Celery(name, broker=broker_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=False,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 2, "socket_keepalive": True},
        control_queue_ttl=300,
        event_queue_ttl=60,
        timezone="UTC",
        enable_utc=True,
    )
    return app
