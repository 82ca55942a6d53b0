"""Heartbeats are answered at once while the scheduler works on a large version."""

import json
import statistics
import threading
import time
from pathlib import Path

import httpx
import pytest

from fleet.control import scheduler, sites
from fleet.control.mirror import RuleSpec
from fleet.store.database import Store
from tests.api_support import serving
from tests.centre_support import Centre

FILES = 6000
BEATS = 150


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_heartbeats_are_answered_within_a_second_while_the_tick_works(
    database_url: str, tmp_path: Path
) -> None:
    store = Store(database_url)
    centre = Centre(store, tmp_path)
    centre.apply_sites("toronto", "amsterdam", "netcup", slots=1000)
    token = sites.make_token(store, "toronto")
    centre.mirror("first.csv", rule=RuleSpec(selector="id=toronto"))
    centre.tick()
    [order] = centre.orders()
    seconds: list[float] = []
    done = threading.Event()
    with serving(store, centre.settings) as url:
        work = threading.Thread(target=_busy, args=(centre, done))
        work.start()
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
            while not done.is_set() or len(seconds) < BEATS:
                began = time.monotonic()
                client.post(
                    f"{url}/api/v1/worker/attempts/{order.attempt}/heartbeat",
                    json={"fence": order.fence, "bytes_done": len(seconds)},
                    timeout=20,
                ).raise_for_status()
                seconds.append(time.monotonic() - began)
                done.wait(0.02)
        work.join()
    store.close()
    p99 = statistics.quantiles(seconds, n=100)[98]
    print(json.dumps({"beats": len(seconds), "p99": round(p99, 3), "max": round(max(seconds), 3)}))
    assert p99 < 1.0


def _busy(centre: Centre, done: threading.Event) -> None:
    """Import and cut a version of many files, as fast as the scheduler can."""
    try:
        centre.mirror(*(f"{number}.csv" for number in range(FILES)), key="many")
        for _ in range(4):
            scheduler.tick(centre.store, centre.settings)
            for order in centre.orders():
                if order.shard is None and len(order.items) > 1:
                    centre.report(order)
    finally:
        done.set()
