"""Sending wake-ups to brokers that live, are dead, or listen and say nothing."""

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fleet import wakeups
from fleet.cli.broker import BrokerError, embed, find_server
from fleet.cli.supervisor import Supervisor
from fleet.control import outbox
from fleet.control.scheduler import OFFICE_SECONDS
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Wakeup
from fleet.store.transfers import unsent

SETTINGS = CentreSettings(lease_seconds=10)


def _fill(store: Store, count: int) -> None:
    with store.write() as session:
        for number in range(count):
            session.add(
                Wakeup(
                    site_id=f"site-{number % 7}",
                    task="pull",
                    attempt_id=f"at-{number}",
                    created_at=store.now(session),
                )
            )


def _waiting(store: Store) -> int:
    with store.read() as session:
        return len(unsent(session, 1000))


def _fault(store: Store, url: str) -> tuple[str, float]:
    """Send to ``url``; return the fault, and how long that took."""
    begun = time.monotonic()
    fault = outbox.send(store, SETTINGS, wakeups.make_app("fleet", url))
    return fault, time.monotonic() - begun


def _closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_broker_that_is_dead_is_found_out_at_once(sqlite_store: Store, tmp_path: Path) -> None:
    _fill(sqlite_store, 200)
    missing = tmp_path / "broker.sock"
    refusing = tmp_path / "refusing.sock"
    with socket.socket(socket.AF_UNIX) as once:
        once.bind(str(refusing))
    for url, why in (
        (f"redis+socket://{missing}", "No such file"),
        (f"redis+socket://{refusing}", "refused"),
        (f"redis://127.0.0.1:{_closed_port()}/0", "refused"),
    ):
        fault, seconds = _fault(sqlite_store, url)
        assert fault.startswith("the broker took 0 of 200 wake-ups: ")
        assert why in fault
        assert seconds < 1
    assert _waiting(sqlite_store) == 200


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_broker_that_listens_and_says_nothing_costs_less_than_the_office(
    sqlite_store: Store, tmp_path: Path, kind: str
) -> None:
    _fill(sqlite_store, 200)
    silent = tmp_path / "silent.sock"
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as listener:
        listener.bind(str(silent) if kind == "unix" else ("127.0.0.1", 0))
        listener.listen()
        port = 0 if kind == "unix" else listener.getsockname()[1]
        url = f"redis+socket://{silent}" if kind == "unix" else f"redis://127.0.0.1:{port}/0"
        fault, seconds = _fault(sqlite_store, url)
    assert "took 0 of 200" in fault
    assert "Timeout" in fault
    assert seconds < OFFICE_SECONDS / 2
    assert _waiting(sqlite_store) == 200


def test_a_living_broker_takes_a_batch_over_one_connection_and_what_was_sent_is_noted(
    sqlite_store: Store, tmp_path: Path
) -> None:
    _fill(sqlite_store, 150)
    try:
        broker = embed(find_server(), tmp_path / "broker", persistent=False)
    except BrokerError as error:
        pytest.skip(str(error))
    app = wakeups.make_app("fleet", broker.url)
    supervisor = Supervisor([broker.program] if broker.program else [])
    supervisor.start()
    try:
        _until_ready(supervisor)
        before = _connections(app)
        deadline = time.monotonic() + 15
        while _waiting(sqlite_store):  # a slow machine needs more than one batch
            assert time.monotonic() < deadline
            sent = _waiting(sqlite_store)
            assert not outbox.send(sqlite_store, SETTINGS, app)
            assert _waiting(sqlite_store) < sent
        assert _connections(app) - before < 20
        with app.connection_for_read() as connection:
            queue = connection.SimpleQueue("site-3.bulk")
            message: Any = queue.get(timeout=5)
            queue.close()
        lives = datetime.fromisoformat(message.headers["expires"]) - datetime.now(UTC)
        assert timedelta(minutes=4) < lives <= timedelta(minutes=5)
        assert message.headers["task"] == "pull"
    finally:
        supervisor.stop()


def test_a_wake_up_outlives_ten_leases_and_five_minutes() -> None:
    assert wakeups.expiry(10) == 300
    assert wakeups.expiry(60) == 600


def _until_ready(supervisor: Supervisor) -> None:
    never, deadline = threading.Event(), time.monotonic() + 15
    while any(status.state != "ready" for status in supervisor.status()):
        assert time.monotonic() < deadline, supervisor.status()
        supervisor.step()
        never.wait(0.02)


def _connections(app: Celery) -> int:
    """How many connections the broker has seen so far."""
    with app.connection_for_read() as connection:
        seen: int = connection.default_channel.client.info("stats")["total_connections_received"]
    return seen
