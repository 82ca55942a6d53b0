"""Traffic as sites and outcomes tell it: kept, judged, derived and served."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlmodel import select

from fleet.control import timetables, traffic
from fleet.messages import SourceReport, TrafficReport, TrafficSample
from fleet.planning.traffic import BIN
from fleet.settings import SiteSettings
from fleet.store import traffic as traffic_rows
from fleet.store.database import Store
from fleet.store.tables import Observation, Site, TrafficBin, Usual
from tests.api_support import Api, served, three_sites
from tests.centre_support import Centre
from tests.conftest import NOON
from tests.databases import on_sqlite
from workers.seeder.centre import SeedCentre

WEEK = timedelta(weeks=1)


def _told(*starts: datetime, sent_at: datetime = NOON, count: int = 900) -> TrafficReport:
    bins = tuple(
        TrafficSample(start=start, bytes_in=count, bytes_out=0, seconds=900) for start in starts
    )
    return TrafficReport(sent_at=sent_at, bins=bins)


def _bins(centre: Centre) -> list[TrafficBin]:
    with centre.store.read() as session:
        rows = session.exec(select(TrafficBin).order_by(TrafficBin.subject, TrafficBin.start))
        return list(rows.all())


def _usual(centre: Centre, subject: str) -> Usual:
    with centre.store.read() as session:
        return session.get_one(Usual, subject)


def _weeks_of(centre: Centre, site: str, quiet: int, off: int = 0) -> None:
    """Give a site three weeks of bins, least busy around the hour ``quiet`` of UTC."""
    with centre.store.write() as session:
        for number in range(3 * 672):
            start = NOON - 3 * WEEK + BIN * number
            away = abs((start.hour - quiet + 12) % 24 - 12)
            count = 1000 * (away + 1) * (7 if start.weekday() < 5 else 6)
            at = start + timedelta(hours=off)
            session.add(
                TrafficBin(subject=site, observer=site, start=at, bytes_in=count, seconds=900)
            )
        session.add(Usual(subject=site, look_at=NOON))


def test_bins_are_kept_once_however_often_they_are_told(centre: Centre) -> None:
    for _ in range(2):
        traffic.report(centre.store, "toronto", _told(NOON - BIN, NOON - 2 * BIN))
    assert [one.bytes_in for one in _bins(centre)] == [900, 900]


@on_sqlite
@pytest.mark.parametrize(
    "start", [NOON + BIN, NOON - timedelta(weeks=9), NOON - timedelta(minutes=5)]
)
def test_a_bin_that_cannot_be_is_left_out(centre: Centre, start: datetime) -> None:
    traffic.report(centre.store, "toronto", _told(start))
    assert _bins(centre) == []


def test_a_clock_that_is_off_is_told_of_and_not_trusted_until_it_is_right(centre: Centre) -> None:
    wrong = NOON + timedelta(hours=2)
    for _ in range(2):
        traffic.report(centre.store, "toronto", _told(NOON - BIN, sent_at=wrong))
    assert _bins(centre) == []
    assert "7,200 s ahead of the centre's" in _usual(centre, "toronto").clock
    traffic.report(centre.store, "toronto", _told(NOON - BIN))
    assert _usual(centre, "toronto").clock == ""
    assert len(_bins(centre)) == 1
    with centre.store.read() as session:
        told = session.exec(select(Observation).where(Observation.kind == "clock")).all()
    assert len(told) == 2


def test_an_outcomes_bytes_lie_over_the_bins_it_took(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.tick()
    [order] = centre.orders()
    source = SourceReport(
        host="zenodo.org", bytes=6000, seconds=60, requests=3, throttled=2, latency_ms=80.0
    )
    began = NOON - timedelta(minutes=60)
    centre.report(order, sources=(source,), started_at=began, ended_at=NOON)
    bins = [one for one in _bins(centre) if one.subject == "zenodo.org"]
    assert [one.start for one in bins] == [began + BIN * number for number in range(5)]
    assert [one.bytes_in for one in bins] == [1500, 1500, 1500, 1500, 0]
    assert [one.throttled for one in bins] == [0, 0, 0, 0, 2]
    assert {one.latency_ms for one in bins} == {80.0}
    centre.advance(60)
    centre.tick()
    found = _usual(centre, "zenodo.org")
    assert found.hours[0] == pytest.approx(80.0)


@on_sqlite
@pytest.mark.parametrize("host", ["btih:0123", "10.0.0.7:8080", "mirror.example", "toronto"])
def test_of_hosts_that_are_no_providers_nothing_is_kept_or_told(centre: Centre, host: str) -> None:
    centre.mirror("a.csv")
    centre.tick()
    [order] = centre.orders()
    centre.report(order, sources=(SourceReport(host=host, bytes=6000, seconds=60, requests=3),))
    assert _bins(centre) == []
    with centre.store.write() as session:  # by an earlier release
        session.merge(Usual(subject=host, look_at=NOON + WEEK))
    with centre.store.read() as session:
        assert timetables.all_of(session, NOON).providers == ()


def test_of_a_site_counts_only_what_it_measured_itself(centre: Centre) -> None:
    centre.apply_sites("toronto", timezone="UTC")
    _weeks_of(centre, "toronto", quiet=15)
    with centre.store.write() as session:
        for one in traffic_rows.bins(session, "toronto", NOON - 4 * WEEK):
            busy = {"bytes_in": 10**12 * (one.start.hour == 15), "seconds": 900}
            other = TrafficBin(subject="toronto", observer="netcup", start=one.start, **busy)
            session.add(other)
    assert traffic.step(centre.store)
    found = _usual(centre, "toronto")
    assert min(range(24), key=found.hours.__getitem__) == 15


def test_a_week_is_derived_of_bins_and_rederived_when_the_zone_changes(centre: Centre) -> None:
    centre.apply_sites("toronto", timezone="UTC")
    _weeks_of(centre, "toronto", quiet=15)
    assert traffic.step(centre.store)
    assert not traffic.step(centre.store)
    found = _usual(centre, "toronto")
    assert (found.timezone, found.weeks, found.measured) == ("UTC", 4, 1.0)
    assert min(range(24), key=found.hours.__getitem__) == 15
    assert found.confidence is not None
    assert found.confidence > 0.9
    centre.apply_sites("toronto", timezone="America/Toronto")
    assert traffic.step(centre.store)
    found = _usual(centre, "toronto")
    assert min(range(24), key=found.hours.__getitem__) == 10


def test_old_bins_are_swept_and_a_provider_unheard_of_is_forgotten(centre: Centre) -> None:
    with centre.store.write() as session:
        old = NOON - timedelta(weeks=9)
        session.add(TrafficBin(subject="gone.example", observer="toronto", start=old))
        session.add(Usual(subject="gone.example", look_at=NOON))
    assert traffic.step(centre.store)
    assert _bins(centre) == []
    with centre.store.read() as session:
        assert session.get(Usual, "gone.example") is None


def test_a_site_whose_week_is_shifted_against_its_neighbours_is_doubted(centre: Centre) -> None:
    names = ("toronto", "amsterdam", "netcup")
    centre.apply_sites(*names, timezone="UTC", region="eu")
    for name in names:
        _weeks_of(centre, name, quiet=4, off=-6 if name == "netcup" else 0)
    traffic.step(centre.store)
    with centre.store.write() as session:  # a week later, when all are known
        for name in names:
            session.get_one(Usual, name).look_at = NOON
    traffic.step(centre.store)
    assert "6 h early beside its 2 neighbours'" in _usual(centre, "netcup").shifted
    assert _usual(centre, "toronto").shifted == ""


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path) -> Iterator[Api]:
    with served(three_sites(sqlite_store, tmp_path)) as one:
        yield one


def test_a_site_tells_its_traffic_under_its_token(api: Api) -> None:
    told = _told(NOON - BIN).model_dump(mode="json")
    assert api.ask("toronto", "POST", "traffic", json=told).status_code == 204
    assert [one.subject for one in _bins(api.centre)] == ["toronto"]


def test_a_seeder_tells_its_bins_to_the_centre(api: Api) -> None:
    settings = SiteSettings(
        site="toronto", site_token=SecretStr(api.token("toronto")), centre_url=api.url
    )

    async def tell() -> None:
        async with SeedCentre(settings) as centre:
            await centre.traffic(_told(NOON - BIN))

    asyncio.run(tell())
    assert [one.bytes_in for one in _bins(api.centre)] == [900]


def test_anyone_may_read_usual_weeks_and_the_windows_to_come(api: Api) -> None:
    api.centre.apply_sites("toronto", timezone="UTC")
    _weeks_of(api.centre, "toronto", quiet=15)
    traffic.step(api.centre.store)
    answer = api.get("/api/v1/traffic.json").json()
    [toronto] = [one for one in answer["sites"] if one["site"] == "toronto"]
    assert len(toronto["usual"]["hour_of_week"]) == 168
    assert toronto["usual"]["confidence"] > 0.9
    assert toronto["reason"].startswith("learned from")
    first, last = toronto["upcoming"][0], toronto["upcoming"][-1]
    assert datetime.fromisoformat(first["closes"]) > NOON
    assert datetime.fromisoformat(last["opens"]) > NOON + timedelta(days=12)
    [netcup] = [one for one in answer["sites"] if one["site"] == "netcup"]
    assert (netcup["upcoming"], netcup["usual"]) == ([], None)


def test_windows_are_served_for_rclone_and_for_calendars(api: Api) -> None:
    night = [{"timezone": "America/Toronto", "opens": "22:30", "closes": "05:00"}]
    api.centre.apply_sites("toronto", windows=night)
    table = api.get("/api/v1/traffic/toronto.bwlimit").text.split()
    assert table[:3] == ["Mon-05:00,1M", "Mon-22:30,off", "Tue-05:00,1M"]
    assert len(table) == 14
    calendar = api.get("/api/v1/traffic/toronto.ics")
    assert calendar.headers["content-type"].startswith("text/calendar")
    lines = calendar.text.split("\r\n")
    assert lines.count("BEGIN:VEVENT") == 14
    assert "DTSTART:20260302T033000Z" in lines
    assert "DTSTART:20260309T023000Z" in lines  # the clocks have changed
    assert api.get("/api/v1/traffic/nowhere.ics").status_code == 404
    assert api.get("/api/v1/traffic/netcup.bwlimit").text == "off\n"
    none = api.get("/api/v1/traffic/netcup.ics")
    assert none.status_code == 404
    assert "netcup has no windows to come: no quiet hours are kept here" in none.text


def test_a_zone_that_is_none_is_refused_with_its_name(centre: Centre) -> None:
    with pytest.raises(ValueError, match="America/Trono"):
        centre.apply_sites("toronto", timezone="America/Trono")
    with centre.store.read() as session:
        assert session.get_one(Site, "toronto").timezone == ""
