from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from fleet.rehearsal.faults import parse
from fleet.rehearsal.zenodo import Switches, Zenodo
from fleet.rehearsal.zenodo.troubles import TROUBLES, line
from tests.zenodo_support import METADATA, Person, md5


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 28, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def zenodo(tmp_path: Path, clock: Clock) -> Iterator[Zenodo]:
    tokens = {"rehearsal": "1", "curator": "2"}
    with Zenodo(tmp_path / "bytes", tokens=tokens, now=clock) as zenodo:
        yield zenodo


@pytest.fixture
def me(zenodo: Zenodo) -> Person:
    return Person(zenodo)


@pytest.mark.parametrize("name", TROUBLES)
def test_every_trouble_is_a_line_of_a_script(name: str) -> None:
    fault = parse(line(name, skip=2, times=3))
    assert (fault.skip, fault.times) == (2, 3)


def test_a_publish_that_timed_out_may_have_published(zenodo: Zenodo, me: Person) -> None:
    draft = me.create()
    me.upload(draft, "a.csv", b"1")
    zenodo.script.add(line("publish_504_undone"), line("publish_504_done"))
    assert me.publish(draft).status_code == 504
    assert me.get(f"/api/records/{draft}").status_code == 404
    timed_out = me.publish(draft)
    assert (timed_out.status_code, timed_out.headers["content-type"]) == (504, "text/html")
    assert me.get(f"/api/records/{draft}").status_code == 200
    assert me.publish(draft).status_code == 404
    assert zenodo.records.counts()["dois"] == 1


def test_new_versions_may_be_broken_for_as_long_as_it_takes(zenodo: Zenodo, me: Person) -> None:
    record = me.published()
    zenodo.script.add(line("versions_500", times=100))
    broken = {me.version(record).status_code for _ in range(100)}
    assert broken == {500}
    assert zenodo.records.counts()["drafts"] == 0
    assert me.version(record).status_code == 201


def test_a_draft_of_which_no_one_was_told_is_found_by_what_is_in_it(
    zenodo: Zenodo, me: Person
) -> None:
    zenodo.script.add(line("create_lost"))
    with pytest.raises(httpx.TransportError):
        me.create(title="The one that was lost")
    me.create(title="Another one")
    query = 'is_published:false AND metadata.title:"the one that was lost"'
    (hit,) = me.get("/api/user/records", q=query).json()["hits"]["hits"]
    assert me.get(f"/api/records/{hit['id']}/draft").status_code == 200
    assert me.get("/api/user/records", q="lost").json()["hits"]["total"] == 1
    assert me.get("/api/user/records", q="version:2025").json()["hits"]["total"] == 2


def test_a_search_may_not_know_yet_what_was_written(
    zenodo: Zenodo, me: Person, clock: Clock
) -> None:
    zenodo.records.switches = Switches(index_lag=5)
    draft = me.create()
    assert me.get("/api/user/records").json()["hits"]["total"] == 0
    assert me.get(f"/api/records/{draft}/draft").status_code == 200
    clock.pass_by(5)
    assert me.get("/api/user/records").json()["hits"]["total"] == 1


def test_a_new_version_of_which_no_one_was_told_is_the_one_that_is_given_again(
    zenodo: Zenodo, me: Person
) -> None:
    record = me.published()
    zenodo.script.add(line("versions_lost"))
    with pytest.raises(httpx.TransportError):
        me.version(record)
    (hit,) = me.get("/api/user/records", q="is_published:false").json()["hits"]["hits"]
    assert me.version(record).json()["id"] == hit["id"]
    both = me.get("/api/user/records", allversions="true").json()["hits"]["hits"]
    assert [one["id"] for one in both] == [hit["id"], record]


def test_a_record_has_room_for_a_hundred_files(me: Person) -> None:
    draft = me.create()
    assert me.start(draft, *map(str, range(100))).status_code == 201
    assert me.start(draft, "100").status_code == 400


def test_an_upload_that_breaks_off_leaves_the_file_pending(zenodo: Zenodo, me: Person) -> None:
    draft = me.create()
    me.start(draft, "a.csv")
    zenodo.script.add(line("content_reset"))
    with pytest.raises(httpx.TransportError):
        me.put(draft, "a.csv", bytes(1 << 20))
    assert me.get(f"/api/records/{draft}/draft/files/a.csv").json()["status"] == "pending"
    assert me.publish(draft).status_code == 400


def test_what_was_damaged_on_the_way_shows_in_the_checksum(zenodo: Zenodo, me: Person) -> None:
    draft = me.create()
    me.start(draft, "a.csv")
    zenodo.script.add(line("content_damaged"))
    me.put(draft, "a.csv", b"bytes")
    assert me.commit(draft, "a.csv").json()["checksum"] != f"md5:{md5(b'bytes')}"
    me.delete(draft, "a.csv")
    me.upload(draft, "a.csv", b"bytes")


def test_rates_are_told_always_and_enforced_where_switched_on(
    zenodo: Zenodo, me: Person, clock: Clock
) -> None:
    first = me.get("/api/user/records")
    assert [first.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")] == [
        "100",
        "99",
        str(int(clock.time.timestamp()) + 60),
    ]
    assert first.headers["date"] == "Sat, 28 Nov 2026 00:00:00 GMT"
    assert {me.get("/api/user/records").status_code for _ in range(101)} == {200}
    zenodo.records.switches = Switches(rates=True)
    clock.pass_by(50)
    over = me.get("/api/user/records")
    assert (over.status_code, over.headers["retry-after"]) == (429, "10")
    assert over.json() == {"status": 429, "message": "100 per 1 minute"}
    guest = Person(zenodo, token=None)
    assert {guest.get("/api/records").status_code for _ in range(30)} == {200}
    assert guest.get("/api/records").json()["message"] == "30 per 1 minute"
    clock.pass_by(10)
    assert me.get("/api/user/records").status_code == 200


def test_a_community_takes_in_its_curators_draft_at_once(zenodo: Zenodo, me: Person) -> None:
    community = zenodo.reviews.found("open-data", "Open data", frozenset({"1"}))
    assert me.get("/api/communities/open-data").json()["id"] == community.id
    draft = me.create()
    me.upload(draft, "a.csv", b"1")
    path = f"/api/records/{draft}/draft/review"
    asked = {"type": "community-submission", "receiver": {"community": community.id}}
    assert me.get(path).status_code == 404
    assert me.http.put(path, json=asked).json()["status"] == "created"
    assert me.publish(draft).status_code == 400
    submitted = me.http.post(f"/api/records/{draft}/draft/actions/submit-review")
    assert (submitted.status_code, submitted.json()["status"]) == (202, "accepted")
    record = me.get(f"/api/records/{draft}").json()
    assert record["parent"]["communities"]["ids"] == [community.id]
    assert zenodo.records.counts()["dois"] == 1
    version = me.version(draft).json()["id"]
    assert me.http.put(f"/api/records/{version}/draft/review", json=asked).status_code == 400


def test_a_community_answers_to_what_others_submit(zenodo: Zenodo, me: Person) -> None:
    community = zenodo.reviews.found("open-data", "Open data", frozenset({"2"}))
    curator, draft = Person(zenodo, "curator"), me.create()
    path = f"/api/records/{draft}/draft"
    asked = {"type": "community-submission", "receiver": {"community": community.id}}
    for nonsense in ({}, {**asked, "type": "x"}, {**asked, "receiver": {"community": "x"}}):
        assert me.http.put(f"{path}/review", json=nonsense).status_code == 400
    request = me.http.put(f"{path}/review", json=asked).json()["links"]["self"]
    assert me.http.post(f"{path}/actions/submit-review").status_code == 400
    me.upload(draft, "a.csv", b"1")
    assert me.http.post(f"{path}/actions/submit-review").json()["is_open"] is True
    assert me.publish(draft).status_code == me.discard(draft).status_code == 400
    assert me.http.delete(f"{path}/review").status_code == 400
    assert me.http.post(f"{request}/actions/accept").status_code == 403
    assert me.http.post(f"{request}/actions/cancel").json()["status"] == "cancelled"
    request = me.http.put(f"{path}/review", json=asked).json()["links"]["self"]
    me.http.post(f"{path}/actions/submit-review")
    assert curator.http.post(f"{request}/actions/accept").json()["status"] == "accepted"
    assert curator.http.post(f"{request}/actions/accept").status_code == 400
    assert me.get(f"/api/records/{draft}").json()["metadata"] == METADATA
    assert zenodo.records.counts()["dois"] == 1
