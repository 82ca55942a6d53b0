"""A site's upload caps reach its seeder; what the seeder counts reaches people and stays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from fleet.control import sites
from fleet.control.sites import UploadHoursSpec, UploadSpec
from fleet.messages import DesiredSeeds, UploadCaps, UploadHours
from fleet.store.database import Store
from fleet.store.tables import Replica, Seeding, Uploading
from tests.api_support import Api, served, three_sites
from tests.databases import on_sqlite

CAPS = UploadSpec(
    bytes_per_second=20_000_000,
    bytes_per_month=15 * 10**12,
    hours=(
        UploadHoursSpec(
            timezone="America/Toronto", opens="00:00", closes="06:00", bytes_per_second=80_000_000
        ),
    ),
)
USED_UP = {
    "month": "2026-03",
    "sent": 15 * 10**12,
    "bytes_per_month": 15 * 10**12,
    "bytes_per_second": 0,
    "reason": "this month's 15 TB are used up",
    "until": "2026-04-01T00:00:00Z",
}


@pytest.fixture
def api(store: Store, tmp_path: Path) -> Iterator[Api]:
    with served(three_sites(store, tmp_path)) as one:
        yield one


def _seeds(api: Api, site: str = "toronto") -> DesiredSeeds:
    return DesiredSeeds.model_validate_json(api.ask(site, "GET", "seeds").content)


def _published(api: Api) -> str:
    api.centre.mirror("a.csv")
    api.centre.work()
    torrent, _manifest = api.get("/api/v1/datasets/data").json()["torrents"]
    return str(torrent["infohash"])


def _report(api: Api, site: str, *infohashes: str, **counters: Any) -> None:
    reports = [{"infohash": one, "state": "seeding", **counters} for one in infohashes]
    assert api.ask(site, "POST", "seeds/report", json=reports).status_code == 204


def _swarm(api: Api) -> dict[str, int]:
    torrent, _manifest = api.get("/api/v1/datasets/data").json()["torrents"]
    swarm: dict[str, int] = torrent["swarm"]
    return swarm


def test_a_site_is_told_its_caps_and_told_again_when_they_change(api: Api) -> None:
    assert _seeds(api).uploads == UploadCaps()
    before = {"If-None-Match": api.ask("toronto", "GET", "seeds").headers["ETag"]}
    api.centre.apply_sites("toronto", upload=CAPS)
    assert api.ask("toronto", "GET", "seeds", headers=before).status_code == 200
    told = _seeds(api).uploads
    assert (told.bytes_per_second, told.bytes_per_month) == (20_000_000, 15 * 10**12)
    assert told.hours == (
        UploadHours(
            timezone="America/Toronto", opens="00:00", closes="06:00", bytes_per_second=80_000_000
        ),
    )
    assert _seeds(api, "amsterdam").uploads == UploadCaps()
    api.centre.apply_sites("toronto")
    assert _seeds(api).uploads == UploadCaps()


def test_caps_are_read_from_the_sites_file_and_said_when_they_change(
    sqlite_store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "sites.yaml"
    lines = [
        "sites:",
        "  - id: toronto",
        "    kind: node",
        "    driver: posix",
        "    upload:",
        "      bytes_per_second: 20 MB",
        "      bytes_per_month: 15 TB",
        "      hours:",
        "        - {timezone: America/Toronto, opens: '00:00', closes: '06:00',",
        "           bytes_per_second: 80 MB}",
    ]
    path.write_text("\n".join(lines))
    [spec] = sites.read(path)
    assert spec.upload == CAPS
    assert sites.apply(sqlite_store, (spec,)) == ["toronto: added"]
    assert sites.apply(sqlite_store, (spec,)) == []
    path.write_text("\n".join(lines[:4]))
    assert sites.apply(sqlite_store, sites.read(path)) == ["toronto: upload changed"]


@pytest.mark.parametrize(
    ("upload", "said"),
    [
        ("{bytes_per_month: 0}", "bytes_per_month"),
        ("{bytes_per_second: fast}", "'fast' is not a size"),
        ("{bytes_per_year: 1}", "bytes_per_year"),
        (
            "{hours: [{timezone: Mars/Base, opens: '1:00', closes: '2:00', bytes_per_second: 1}]}",
            "no time zone is called 'Mars/Base'",
        ),
        (
            "{hours: [{timezone: UTC, opens: '01:00+02:00', closes: '02:00'}]}",
            "has a zone of its own",
        ),
        ("{hours: [{timezone: UTC, opens: '01:00', closes: '02:00'}]}", "bytes_per_second"),
    ],
)
def test_bad_caps_are_refused_by_their_name(tmp_path: Path, upload: str, said: str) -> None:
    path = tmp_path / "sites.yaml"
    path.write_text(f"sites:\n  - {{id: toronto, kind: node, driver: posix, upload: {upload}}}\n")
    with pytest.raises(sites.RefusedError) as refused:
        sites.read(path)
    assert said in str(refused.value)
    assert "upload" in str(refused.value)


def test_why_and_the_page_tell_what_was_sent_and_why_no_more_is(api: Api) -> None:
    assert api.ask("toronto", "POST", "uploads/report", json=USED_UP).status_code == 204
    causes = api.get("/api/v1/why/toronto").json()["causes"]
    [told] = [one for one in causes if one["thing"] == "uploads of toronto"]
    assert told["state"] == "held"
    assert told["reason"].startswith("15 TB of 15 TB sent in 2026-03, ")
    assert told["reason"].endswith("; this month's 15 TB are used up")
    assert told["again"].startswith("2026-04-01T00:00:00")
    assert "2026-03: 15.0\xa0TB / 15.0\xa0TB; none now" in api.get("/en/").text
    assert "2026-03 : 15,0\xa0To / 15,0\xa0To; aucun pour l’instant" in api.get("/fr/").text
    free = {"month": "2026-04", "sent": 5, "reason": "no limit"}
    assert api.ask("toronto", "POST", "uploads/report", json=free).status_code == 204
    causes = api.get("/api/v1/why/toronto").json()["causes"]
    [told] = [one for one in causes if one["thing"] == "uploads of toronto"]
    assert (told["state"], told["again"]) == ("open", None)
    assert told["reason"].startswith("5 B sent in 2026-04, ")


@on_sqlite
@pytest.mark.parametrize(
    "change",
    [{"month": "March"}, {"sent": -1}, {"sent": 2**63}, {"until": "2026-04-01T00:00:00"}],
)
def test_a_report_that_cannot_be_is_refused(api: Api, change: dict[str, Any]) -> None:
    answer = api.ask("toronto", "POST", "uploads/report", json=USED_UP | change)
    assert answer.status_code == 422


def test_what_was_sent_stays_when_a_seeder_begins_to_count_anew(api: Api) -> None:
    infohash = _published(api)
    counts = [(5000, 5000), (12_000, 12_000), (12_000, 12_000), (0, 12_000), (700, 12_700)]
    for counter, total in [*counts, (300, 13_000), (300, 13_000)]:
        _report(api, "toronto", infohash, uploaded=counter)
        assert _swarm(api)["uploaded"] == total
    _report(api, "amsterdam", infohash, uploaded=1)
    assert _swarm(api)["uploaded"] == 13_001
    copies = {
        one["site"]: one["uploaded"] for one in api.get("/api/v1/datasets/data").json()["copies"]
    }
    assert copies == {"toronto": 13_000, "amsterdam": 1, "netcup": 0}


def test_a_swarm_is_told_as_the_floor_that_the_seeders_see(api: Api) -> None:
    infohash = _published(api)
    assert set(_swarm(api).values()) == {0}
    _report(api, "toronto", infohash, peers=7, complete=1, availability=4, uploaded=10**6)
    _report(api, "amsterdam", infohash, peers=3, complete=2, availability=3)
    assert _swarm(api) == {
        "seeders": 2,
        "peers": 7,
        "complete": 2,
        "availability": 4,
        "uploaded": 10**6,
    }
    english, french = (api.get(f"/{one}/datasets/data").text for one in ("en", "fr"))
    assert "Complete copies, at least" in english
    assert "Copies complètes, au moins" in french
    assert "1.0\u00a0MB" in english
    assert "1,0\u00a0Mo" in french


def test_each_seeder_is_a_copy_though_none_sees_another(api: Api) -> None:
    infohash = _published(api)
    for site in ("toronto", "amsterdam", "netcup"):
        _report(api, site, infohash, availability=1)
    assert _swarm(api)["availability"] == 3


def test_only_sites_that_are_there_and_hold_it_are_seeders_now(api: Api) -> None:
    infohash = _published(api)
    for site in ("toronto", "amsterdam", "netcup"):
        _report(api, site, infohash, peers=2, complete=2, availability=3, uploaded=10)
    assert _swarm(api)["seeders"] == 3
    api.centre.apply_sites("toronto", retired=True)
    assert _swarm(api)["seeders"] == 2
    with api.centre.store.write() as session:
        for lost in session.exec(select(Replica).where(Replica.site_id == "amsterdam")).all():
            lost.state = "bad"
    assert _swarm(api)["seeders"] == 1
    api.centre.advance(900)
    gone = {"seeders": 0, "peers": 0, "complete": 0, "availability": 0, "uploaded": 30}
    assert _swarm(api) == gone
    _report(api, "netcup", infohash, uploaded=10)
    assert _swarm(api) == gone | {"seeders": 1, "availability": 1}


def test_no_seeder_sees_more_copies_than_it_has_peers_and_itself(api: Api) -> None:
    infohash = _published(api)
    _report(api, "toronto", infohash, peers=1, complete=9, availability=10**6)
    swarm = _swarm(api)
    assert (swarm["peers"], swarm["complete"], swarm["availability"]) == (1, 1, 2)
    _report(api, "toronto", infohash, peers=10**9, complete=10**9, availability=10**9)
    swarm = _swarm(api)
    assert (swarm["peers"], swarm["complete"], swarm["availability"]) == (1000, 1000, 1001)


def test_the_most_that_sites_can_claim_overflows_no_sum(api: Api) -> None:
    infohash, most = _published(api), 2**63 - 1
    for site in ("toronto", "amsterdam"):
        for counter in (most, 5, most):
            _report(api, site, infohash, uploaded=counter)
    assert _swarm(api)["uploaded"] == 2**64
    with api.centre.store.read() as session:
        rows = session.exec(select(Seeding.uploaded)).all()
    assert list(rows) == [most, most]


def test_what_a_seeder_says_is_cut_to_what_is_kept_of_it(api: Api) -> None:
    infohash = _published(api)
    _report(api, "toronto", infohash, error="\0" + "x" * 10**5)
    told = USED_UP | {"reason": "\0" + "y" * 10**5}
    assert api.ask("toronto", "POST", "uploads/report", json=told).status_code == 204
    with api.centre.store.read() as session:
        assert session.exec(select(Seeding.error)).one() == "x" * 500
        assert session.exec(select(Uploading.reason)).one() == "y" * 500
    report = [{"infohash": infohash, "state": "x" * 21}]
    assert api.ask("toronto", "POST", "seeds/report", json=report).status_code == 422


def test_of_torrents_that_a_site_does_not_have_nothing_is_kept(api: Api) -> None:
    infohash = _published(api)
    _report(api, "toronto", infohash, *(f"{number:040x}" for number in range(3)), uploaded=1)
    with api.centre.store.read() as session:
        assert session.exec(select(Seeding.infohash)).all() == [infohash]


def test_of_a_torrent_that_is_seeded_no_more_the_bytes_stay(api: Api) -> None:
    infohash = _published(api)
    _report(api, "toronto", infohash, peers=7, availability=2, uploaded=900)
    _report(api, "toronto")
    assert _swarm(api) == {
        "seeders": 0,
        "peers": 0,
        "complete": 0,
        "availability": 0,
        "uploaded": 900,
    }
    _report(api, "toronto", infohash, uploaded=1000)
    assert _swarm(api)["uploaded"] == 1900
