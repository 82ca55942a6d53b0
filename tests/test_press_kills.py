"""The consumer is killed while it writes: nothing half-written shows, and no change is lost."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fleet.catalogue.client import Fetcher, Home, Mirror, Trust, sync
from fleet.catalogue.signing import copies
from fleet.control import printing
from fleet.settings import CentreSettings
from fleet.store import untold
from fleet.store.clock import VirtualClock
from fleet.store.database import Store
from fleet.store.tables import Dataset
from tests.api_support import three_sites
from tests.catalogue_kills import killed_at_each_change
from tests.databases import Databases
from tests.press_support import Printer

MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
APART = 5  # changes of the disk between two kills


def issue(url: str, home: Path, now: datetime) -> None:
    """Do as the consumer does, at a moment."""
    store = Store(url, VirtualClock(now))
    printing.issue(store, CentreSettings(home=home))
    store.close()


@pytest.mark.slow
@pytest.mark.timeout(400)  # it starts a dozen processes
def test_a_kill_loses_no_change_and_shows_nothing_half_written(
    sqlite_databases: Databases, tmp_path: Path
) -> None:
    url, clock = sqlite_databases.make(), VirtualClock(MOMENT)
    printer = Printer(three_sites(Store(url, clock), tmp_path))
    root = printer.make_keys()
    for name in ("roads", "rivers"):
        printer.mirror(name, f"{name}.csv")
    printer.settle()
    begun = len(printer.editions())
    home, place, kills = printer.centre.settings.home, printer.place, 0
    with printer.store.write() as session:
        session.get_one(Dataset, "rivers").title = "Rivers of Canada"
    clock.advance(7200)
    printer.centre.tick()
    clock.advance(100)
    with printer.store.read() as session:
        now = printer.store.now(session)
    for died in killed_at_each_change(issue, url, home, now, apart=APART):
        kills += died
        for name in ("catalogue.parquet", "catalogue.en.parquet"):
            assert pq.read_table(place / name).num_rows == 2
        with Fetcher("DataFleet/test", ()) as fetcher:
            client, trust = Home(tmp_path / f"client-{kills}"), Trust(sha256=root.sha256)
            synced = sync(client, [Mirror.at(str(place))], trust, now, fetcher)
        assert {row["collection"] for row in _rows(synced.folder)} == {"roads", "rivers"}
    assert kills >= 5
    issue(url, home, now)
    with printer.store.read() as session:
        assert untold.rows(session) == []
    with copies.copied(place) as copy:
        signed = copy.files["catalogue.en.parquet"].read_bytes()
    assert signed == (place / "catalogue.en.parquet").read_bytes()
    assert printer.page("datasets", "rivers", "collection.json")["title"] == "Rivers of Canada"
    assert len(printer.editions()) == begun + 1
    printer.store.close()


def _rows(folder: Path) -> list[dict[str, str]]:
    return list(pq.read_table(folder / "catalogue.parquet", columns=["collection"]).to_pylist())
