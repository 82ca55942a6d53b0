"""The server's office: held while the database is well, and again after it was not."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from structlog.testing import capture_logs

from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Office
from tests.api_support import PATIENCE, serving
from tests.databases import lacking


def test_the_server_is_back_in_office_after_its_database_failed(live_store: Store) -> None:
    with capture_logs() as logs, serving(live_store, CentreSettings()):
        _until(lambda: _in_office(live_store))
        with lacking(live_store, "office"):
            _until(lambda: "the server is out of office" in _events(logs))
        back = datetime.now(UTC)
        _until(lambda: "the server is in office again" in _events(logs))
        assert _until_when(live_store) > back
        assert _in_office(live_store)
    assert _events(logs) == ["the server is out of office", "the server is in office again"]
    assert "office" in logs[0]["reason"]
    assert "INSERT" not in logs[0]["reason"]


def _events(logs: list[Any]) -> list[str]:
    return [log["event"] for log in logs if "office" in log["event"]]


def _until_when(store: Store) -> datetime:
    with store.read() as session:
        return session.get_one(Office, "server").until


def _in_office(store: Store) -> bool:
    with store.read() as session:
        office = session.get(Office, "server")
    return office is not None and office.until > datetime.now(UTC)


def _until(condition: Callable[[], Any]) -> None:
    never, deadline = threading.Event(), time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        never.wait(0.01)
