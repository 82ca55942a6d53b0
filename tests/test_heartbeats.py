"""Heartbeats are answered at once while the scheduler works on a large version."""

import json
import multiprocessing
import statistics
import time
from pathlib import Path

import httpx
import pytest

from fleet.control import sites
from fleet.control.rules import RuleSpec
from fleet.store.database import Store
from tests.api_support import serving
from tests.centre_support import Centre

FILES = 6000
BEATS = 150


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(300)
def test_heartbeats_are_answered_within_a_second_while_the_tick_works(
    database_url: str, tmp_path: Path
) -> None:
    store = Store(database_url)
    centre = Centre(store, tmp_path)
    centre.apply_sites("toronto", "amsterdam", "netcup", slots=50)
    token = sites.make_token(store, "toronto")
    centre.mirror("first.csv", rule=RuleSpec(selector="id=toronto"))
    centre.tick()
    [order] = centre.orders()
    seconds: list[float] = []
    work = multiprocessing.get_context("spawn").Process(target=_work, args=(database_url, tmp_path))
    with serving(store, centre.settings) as url:
        work.start()
        with httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=20) as client:
            while work.is_alive() or len(seconds) < BEATS:
                began = time.monotonic()
                client.post(
                    f"{url}/api/v1/worker/attempts/{order.attempt}/heartbeat",
                    json={"fence": order.fence, "bytes_done": len(seconds)},
                ).raise_for_status()
                seconds.append(time.monotonic() - began)
                work.join(0.02)
        work.join()
    store.close()
    p99 = statistics.quantiles(seconds, n=100)[98]
    print(json.dumps({"beats": len(seconds), "p99": round(p99, 3), "max": round(max(seconds), 3)}))
    assert work.exitcode == 0
    assert p99 < 1.0


def _work(database_url: str, folder: Path) -> None:
    """Import a version of many files, and bring it to its publication, as fast as it goes."""
    centre = Centre(Store(database_url), folder)
    centre.mirror(*(f"{number}.csv" for number in range(FILES)), key="many")
    while True:
        centre.tick()
        todo = [order for order in centre.orders() if len(order.items) > 1]
        if not todo:
            return
        for order in todo:
            centre.report(order)
