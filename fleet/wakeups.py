"""The broker's side of the contract: queue names, and how Celery is set up on both ends.

Rules this module keeps (the measurements behind them are in docs/adr/0002):

- A message carries an id and no authority; losing one, or all of them, loses no work.
- Acknowledged early, never redelivered, no ETA or countdown, no results in the broker.
- JSON only.
"""

from celery import Celery

ADMIN_QUEUE = "admin"
BULK, LIGHT = "bulk", "light"
_LANES = {"pull": BULK, "verify": BULK, "publish": BULK, "probe": LIGHT, "seed": LIGHT}


def queue(site: str, task: str) -> str:
    """Name the queue of ``site`` that takes ``task``, such as ``toronto.bulk``."""
    return f"{site}.{_LANES[task]}"


def lane_queue(site: str, lane: str) -> str:
    """Name the queue of ``site`` for one of its lanes, ``bulk`` or ``light``."""
    return f"{site}.{lane}"


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
