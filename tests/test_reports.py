"""What readers say of a copy: it is checked soon, once an hour, and nothing else follows."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlmodel import select

from fleet.catalogue.client.offer import Offer
from fleet.cli.get.lies import Lie
from fleet.cli.get.lies import tell as tell_all
from fleet.control import catalogue, incidents, replicas, reports
from fleet.planning.repair import URGENT
from fleet.settings import SiteSettings
from fleet.store import faults
from fleet.store.database import Store
from fleet.store.tables import Artifact, Incident, Observation, Site
from tests.api_support import Api, served, three_sites
from tests.centre_support import Centre
from tests.fault_server import FaultServer
from tests.get_support import User, World
from tests.holdings_support import hold
from tests.redirect_support import label_of, redirecting, until
from workers.lease import Lease
from workers.storage.posix import PosixStorage
from workers.verify import verify

SAID = {
    "dataset": "held",
    "version": "1",
    "path": "00000.csv",
    "site": "amsterdam",
    "wrong": "its SHA-256 is another",
}


@pytest.fixture
def api(store: Store, tmp_path: Path) -> Iterator[Api]:
    centre = three_sites(store, tmp_path)
    hold(centre, 6, ("toronto", "amsterdam"))
    with served(centre) as one:
        yield one


def tell(api: Api, **changes: Any) -> tuple[int, str]:
    answer = api.client.post("/api/v1/reports", json=SAID | changes)
    return answer.status_code, answer.json()["detail"]


def noted(api: Api) -> list[Observation]:
    with api.centre.store.read() as session:
        return list(session.exec(select(Observation).where(Observation.kind == reports.KIND)).all())


def test_the_copy_is_read_soon_and_no_state_changes(api: Api) -> None:
    before = api.centre.replicas()

    assert tell(api) == (202, "it is checked soon")

    (reading,) = api.centre.transfers(kind="verify")
    assert (reading.target_id, reading.priority) == ("amsterdam", URGENT - 1)
    assert reading.reason == "a reader got wrong bytes of 00000.csv from it"
    assert api.centre.replicas() == before
    (word,) = noted(api)
    assert word.detail == {"path": "00000.csv", "wrong": "its SHA-256 is another"}
    api.centre.tick()
    assert len(api.centre.announced()) == 1


def test_a_copy_is_read_for_a_word_once_an_hour(api: Api) -> None:
    tell(api)
    api.centre.tick()
    (attempt,) = api.centre.announced()
    api.centre.report(api.centre.claim(*attempt))

    assert tell(api, wrong="again") == (202, "it was told of already, and is being seen to")
    assert len(api.centre.transfers(kind="verify")) == 1
    assert tell(api, site="toronto") == (202, "it is checked soon")
    assert len(api.centre.transfers(kind="verify")) == 2

    api.centre.advance(3601)
    assert tell(api) == (202, "it is checked soon")
    assert len(noted(api)) == 3


@pytest.mark.parametrize(
    "changes",
    [{"dataset": "none"}, {"version": "2"}, {"path": "no.csv"}, {"site": "netcup"}, {"site": "x"}],
)
def test_a_word_of_what_is_not_there_is_refused(api: Api, changes: dict[str, str]) -> None:
    code, _ = tell(api, **changes)

    assert code == 404
    assert (noted(api), api.centre.transfers(kind="verify")) == ([], [])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 422),
        (b"{}", 422),
        (b"[" * 8000, 422),
        (b'{"dataset": "held\\u0000", "version": "1", "path": "a", "site": "b"}', 422),
        (b'{"dataset": "h", "version": "1", "path": "a", "site": "b", "state": "bad"}', 422),
        (b" " * 8193, 413),
    ],
)
def test_a_word_that_makes_no_sense_is_refused(api: Api, body: bytes, code: int) -> None:
    answer = api.client.post("/api/v1/reports", content=body)

    assert answer.status_code == code
    assert len(answer.content) < 500
    assert noted(api) == []


def busy(api: Api, path: str) -> bool:
    """Whether a word is answered with when to say it again."""
    answer = api.client.post("/api/v1/reports", json=SAID | {"path": path})
    if answer.status_code != 429:
        return False
    assert answer.headers["retry-after"] == str(reports.LATER_SECONDS)
    assert answer.json()["detail"] == "amsterdam has enough to read for now: tell it again later"
    return True


def read(api: Api, path: str) -> None:
    """Have a copy read, as one that is right."""
    api.centre.tick()
    told = {api.centre.claim(*one) for one in api.centre.announced()}
    for order in told:
        if path in {item.path for item in order.items}:
            api.centre.report(order)


def test_what_a_site_has_no_room_for_is_not_kept_and_may_be_told_again(api: Api) -> None:
    assert [tell(api, path=f"{n:05}.csv")[0] for n in range(2)] == [202, 202]

    assert busy(api, "00002.csv")
    assert busy(api, "00002.csv")
    assert (len(noted(api)), len(api.centre.transfers(kind="verify"))) == (2, 2)
    assert tell(api, path="00002.csv", site="toronto") == (202, "it is checked soon")

    read(api, "00000.csv")
    assert tell(api, path="00002.csv") == (202, "it is checked soon")
    assert busy(api, "00003.csv")


def test_many_words_at_a_time_make_no_more_readings_than_are_allowed(api: Api) -> None:
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda n: tell(api, path=f"{n:05}.csv")[0], range(6)))

    assert sorted(codes) == [202, 202, 429, 429, 429, 429]
    assert len(noted(api)) == len(api.centre.transfers(kind="verify")) == reports.AT_ONCE


def test_a_site_that_reads_enough_already_gets_no_more_to_read(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports.health, "MANY", 1)
    tell(api)
    api.centre.tick()

    assert busy(api, "00001.csv")
    assert len(api.centre.transfers(kind="verify")) == 1


def test_a_site_that_is_looked_into_as_a_whole_gets_no_more_to_read(api: Api) -> None:
    with api.centre.store.write() as session:
        now = api.centre.store.now(session)
        session.add(
            Incident(
                site_id="amsterdam",
                kind=faults.JUDGED,
                reason="its disk is away",
                began_at=now,
                stage=incidents.SAMPLING,
            )
        )

    assert tell(api) == (202, "amsterdam is looked into as a whole already")
    assert (noted(api), api.centre.transfers(kind="verify")) == ([], [])


def test_a_copy_that_is_being_read_is_not_read_twice(api: Api) -> None:
    with api.centre.store.write() as session:
        shard = session.exec(select(Artifact.shard_id).where(Artifact.path == SAID["path"])).one()
        now = api.centre.store.now(session)
        replicas.want_verify(session, shard or "", "amsterdam", "its time has come", now)

    assert tell(api) == (202, "it is being read already")
    assert (noted(api), len(api.centre.transfers(kind="verify"))) == ([], 1)


def test_a_busy_site_does_not_keep_a_reader_from_telling_of_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_ALLOW_NETWORKS", "127.0.0.0/8")
    settings = SiteSettings(site="reader")
    offer = Offer("held", "1", superseded=False, count=4, centre=api.url)
    paths = [f"{n:05}.csv" for n in range(4)]
    every = [Lie(site, "", path, "") for path in paths for site in ("amsterdam", "toronto")]

    assert tell_all(every, offer, settings) == ""
    assert Counter(one.site_id for one in noted(api)) == {"amsterdam": 2, "toronto": 2}
    unheard = tell_all([Lie("toronto", "", paths[3], "")], offer, settings)
    assert unheard == "it has enough to check at toronto for now"


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[dict[str, tuple[Path, str]]]:
    """The folders of two sites, and where each is read."""
    found, servers = {}, []
    for site in ("amsterdam", "toronto"):
        (tmp_path / site).mkdir()
        handler = partial(_Quiet, directory=str(tmp_path / site))
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        Thread(target=servers[-1].serve_forever, args=(0.02,)).start()
        found[site] = (tmp_path / site, f"http://127.0.0.1:{servers[-1].server_address[1]}")
    yield found
    for server in servers:
        server.shutdown()
        server.server_close()


def lay(centre: Centre, root: Path) -> dict[str, Path]:
    """Put all files of the version into a site's folder."""
    places = {}
    with centre.store.read() as session:
        for one in session.exec(select(Artifact)).all():
            places[one.path] = root / "data" / label_of(centre) / one.path
            places[one.path].parent.mkdir(parents=True, exist_ok=True)
            kept = centre._kept.get(one.sha256 or "")
            places[one.path].write_bytes(kept or one.path.encode() * 100)
    return places


def test_a_mirror_gone_bad_is_out_of_rotation_within_one_check(
    sqlite_store: Store,
    tmp_path: Path,
    disks: dict[str, tuple[Path, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    centre = Centre(sqlite_store, tmp_path)
    centre.apply_sites("amsterdam", "toronto")
    with sqlite_store.write() as session:
        for site, (_, url) in disks.items():
            session.get_one(Site, site).read_url = url
    centre.open_doors()
    centre.mirror("a.csv")
    centre.prove()
    places = {site: lay(centre, root) for site, (root, _) in disks.items()}
    label = label_of(centre)
    with redirecting(centre, monkeypatch) as api, FaultServer() as unused:
        settings = centre.settings.model_copy(update={"centre_url": api.url})
        ours = World(tmp_path / "world", unused, {})
        with sqlite_store.read() as session:
            told = catalogue.dataset(session, settings, "data")
        assert told is not None
        ours.publish(told, base=f"{api.url}/catalogue")
        monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("FLEET_ALLOW_NETWORKS", "127.0.0.0/8")
        user = User(ours, tmp_path / "got", monkeypatch, capsys)
        good = places["amsterdam"]["a.csv"].read_bytes()
        places["amsterdam"]["a.csv"].write_bytes(good[:-1] + b"?")

        ended = user.get("data", "--json")

        assert ended.code == 0, ended
        assert user.files()["a.csv"] == good
        assert [(one["site"], one["path"]) for one in ended.json["corrupt"]] == [
            ("amsterdam", "a.csv")
        ]
        assert ended.json["reported"]
        assert centre.replicas() == {"amsterdam": ["available"], "toronto": ["available"]}

        centre.tick()
        (order,) = [one for one in centre.orders() if one.task == "verify"]
        assert order.site == "amsterdam"
        work = verify(order, PosixStorage(disks["amsterdam"][0]), Lease())
        centre.report(order, items=work.items)

        assert centre.replicas()["amsterdam"] != ["available"]
        until(lambda: places_of(api, label) == {disks["toronto"][1]})
        with sqlite_store.read() as session:
            after = catalogue.dataset(session, settings, "data")
        assert after is not None
        (entry,) = after.entries
        (data,) = [one for one in entry.artifacts if one.path == "a.csv"]
        assert [one.site for one in entry.mirrors if one.holds(data)] == ["toronto"]


def places_of(api: Api, label: str) -> set[str]:
    """Where the redirector sends those who ask for the file."""
    answer = api.get(f"/d/data/{label}/a.csv")
    links = [part.partition(">")[0] for part in answer.headers.get("link", "").split("<")]
    named = [one for one in links if one.endswith("/a.csv") and "/d/" not in one]
    return {one.rpartition("/data/")[0] for one in (answer.headers["location"], *named)}
