from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fleet.rehearsal.zenodo import Limits, Switches, Zenodo
from tests.zenodo_support import METADATA, Person, md5

CSV = b"id,name\n1,Ottawa\n"


@pytest.fixture
def zenodo(tmp_path: Path) -> Iterator[Zenodo]:
    limits = Limits(size=1000, files=3)
    with Zenodo(tmp_path / "bytes", tokens={"rehearsal": "1", "other": "2"}, limits=limits) as it:
        yield it


@pytest.fixture
def me(zenodo: Zenodo) -> Person:
    return Person(zenodo)


def complaints(answer: Any, status: int = 400) -> set[str]:
    assert answer.status_code == status, answer.text
    return {complaint["field"] for complaint in answer.json()["errors"]}


def test_a_record_is_published_step_by_step_with_one_doi(zenodo: Zenodo, me: Person) -> None:
    draft = me.create()
    reserved = me.reserve(draft)
    assert reserved.status_code == 201
    doi = reserved.json()["pids"]["doi"]["identifier"]
    again = me.reserve(draft)
    assert (again.status_code, again.json()) == (
        400,
        {
            "status": 400,
            "message": "A validation error occurred.",
            "errors": [{"field": "pids.doi", "messages": ["A PID already exists for type doi"]}],
        },
    )
    assert me.start(draft, "a.csv").json()["entries"][0]["status"] == "pending"
    assert "checksum" not in me.put(draft, "a.csv", CSV).json()
    committed = me.commit(draft, "a.csv").json()
    assert (committed["status"], committed["checksum"], committed["size"]) == (
        "completed",
        f"md5:{md5(CSV)}",
        len(CSV),
    )
    assert zenodo.records.minted == []
    answer = me.publish(draft)
    assert (answer.status_code, answer.json()["pids"]["doi"]["identifier"]) == (202, doi)
    parent = answer.json()["parent"]["pids"]["doi"]["identifier"]
    assert zenodo.records.minted == [parent, doi]
    assert me.publish(draft).status_code == 404
    assert me.get(f"/api/records/{draft}/draft").status_code == 404
    assert me.get(f"/api/records/{draft}").json()["is_published"] is True
    assert zenodo.records.counts() == {
        "concepts": 1,
        "records": 1,
        "drafts": 0,
        "dois": 1,
        "files": 1,
    }


def test_files_are_downloaded_with_ranges_at_one_url_and_from_other_pages_at_another(
    zenodo: Zenodo, me: Person
) -> None:
    record = me.published(**{"a.csv": CSV})
    guest, ranged = Person(zenodo, token=None), {"Range": "bytes=3-6"}
    api = guest.http.get(f"/api/records/{record}/files/a.csv/content", headers=ranged)
    assert (api.status_code, api.content) == (200, CSV)
    assert api.headers["access-control-allow-origin"] == "*"
    page = guest.http.get(f"/records/{record}/files/a.csv", headers=ranged)
    assert (page.status_code, page.content) == (206, CSV[3:7])
    assert "access-control-allow-origin" not in page.headers
    listed = guest.get(f"/api/records/{record}/files").json()["entries"][0]
    assert guest.http.get(listed["links"]["content"]).content == CSV
    assert guest.get(f"/api/records/{record}/files/b.csv").status_code == 404


def test_a_draft_that_lacks_something_is_not_published_and_mints_nothing(
    zenodo: Zenodo, me: Person
) -> None:
    empty = me.http.post("/api/records", json={}).json()["id"]
    names = ("title", "creators", "resource_type", "publication_date")
    assert complaints(me.publish(empty)) == {f"metadata.{name}" for name in names}
    draft = me.create()
    assert complaints(me.publish(draft)) == {"files.enabled"}
    me.start(draft, "a.csv", "b.csv")
    me.put(draft, "a.csv", CSV)
    assert complaints(me.publish(draft)) == {"files"}
    me.commit(draft, "a.csv")
    assert complaints(me.publish(draft)) == {"files"}
    assert me.delete(draft, "b.csv").status_code == 204
    assert zenodo.records.minted == []
    bare = {name: value for name, value in METADATA.items() if name != "publisher"}
    me.update(draft, {"metadata": bare})
    assert complaints(me.publish(draft)) == {"metadata.publisher"}
    me.update(draft, {"metadata": METADATA})
    assert me.publish(draft).status_code == 202


def test_a_draft_is_saved_without_what_is_wrong_and_told_of_it(me: Person) -> None:
    wrong = METADATA | {
        "title": "ab",
        "publication_date": "yesterday",
        "colour": "red",
        "creators": [{"person_or_org": {"type": "personal", "given_name": "Ann"}}],
    }
    answer = me.update(draft := me.create(), {"metadata": wrong})
    assert complaints(answer, 200) == {
        "metadata.title",
        "metadata.publication_date",
        "metadata.colour",
        "metadata.creators.0.person_or_org.family_name",
        "files.enabled",
    }
    kept = me.get(f"/api/records/{draft}/draft").json()["metadata"]
    assert set(kept) == {"resource_type", "rights", "version", "publisher"}
    strange = {"metadata": METADATA | {"resource_type": {"id": "cake"}}}
    assert me.update(draft, strange).status_code == 400
    assert me.update(draft, ["metadata"]).status_code == 400
    assert me.http.put(f"/api/records/{draft}/draft", content=b"{").status_code == 400


def test_a_concept_has_one_draft_of_a_next_version(zenodo: Zenodo, me: Person) -> None:
    first = me.published(**{"a.csv": CSV, "b.csv": b""})
    before = me.get(f"/api/records/{first}").json()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: me.version(first), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    (draft,) = {answer.json()["id"] for answer in answers}
    fresh = me.get(f"/api/records/{draft}/draft").json()
    assert (fresh["pids"], fresh["files"]["entries"], fresh["versions"]["index"]) == ({}, {}, 2)
    assert {"publication_date", "version"}.isdisjoint(fresh["metadata"])
    assert me.link(draft).json()["entries"][0]["checksum"] == f"md5:{md5(CSV)}"
    assert complaints(me.link(draft)) == {"files.enabled"}
    me.delete(draft, "a.csv")
    me.upload(draft, "a.csv", b"new")
    me.update(draft, {"metadata": METADATA})
    with ThreadPoolExecutor(8) as threads:
        published = list(threads.map(lambda _: me.publish(draft).status_code, range(8)))
    assert sorted(published) == [202] + [404] * 7
    assert zenodo.records.counts()["dois"] == 2
    after = me.get(f"/api/records/{first}").json()
    assert after["versions"] == {"index": 1, "is_latest": False, "is_latest_draft": False}
    assert after | {"versions": before["versions"]} == before
    assert me.get(f"/records/{first}/files/a.csv").content == CSV
    assert me.get(f"/records/{draft}/files/a.csv").content == b"new"


def test_versions_and_dois_lead_to_the_latest(zenodo: Zenodo, me: Person) -> None:
    first = me.published()
    second = me.version(first).json()["id"]
    assert me.version(second).json()["message"] == "The persistent identifier is not registered."
    me.link(second)
    me.update(second, {"metadata": METADATA})
    last = me.publish(second).json()
    here = f"{zenodo.url}/api/records/{second}"
    concept, parent = last["parent"]["id"], last["parent"]["pids"]["doi"]["identifier"]
    for path, status in (
        (f"/api/records/{first}/versions/latest", 301),
        (f"/api/records/{concept}/versions/latest", 301),
        (f"/api/records/{concept}", 302),
    ):
        answer = me.get(path)
        assert (answer.status_code, answer.headers["location"]) == (status, here)
    assert me.get(f"/doi/{parent}").headers["location"] == f"{zenodo.url}/records/{second}"
    own = last["pids"]["doi"]["identifier"]
    assert me.get(f"/doi/{own}").headers["location"] == f"{zenodo.url}/records/{second}"
    assert me.get("/doi/10.5072/zenodo.1").status_code == 404
    listed = me.get(f"/api/records/{first}/versions").json()["hits"]
    assert [hit["id"] for hit in listed["hits"]] == [second, first]
    query = f'parent.pids.doi.identifier:"{parent}"'
    for every, found in (("", [second]), ("true", [second, first])):
        hits = me.get("/api/records", q=query, allversions=every).json()["hits"]
        assert ([hit["id"] for hit in hits["hits"]], hits["total"]) == (found, len(found))


def test_a_discarded_draft_leaves_nothing_behind(zenodo: Zenodo, me: Person) -> None:
    draft = me.create()
    me.upload(draft, "a.csv", CSV)
    assert me.discard(draft).status_code == 204
    assert me.get(f"/api/records/{draft}/draft").status_code == 404
    assert list(zenodo.folder.iterdir()) == []
    record = me.published()
    doomed = me.version(record).json()["id"]
    me.link(doomed)
    me.reserve(doomed)
    assert me.discard(doomed).status_code == 204
    assert me.version(record).json()["id"] != doomed
    assert me.get(f"/records/{record}/files/a.csv").status_code == 200
    assert me.discard(record).status_code == 404
    assert zenodo.records.counts()["dois"] == 1


def test_files_are_refused_beyond_what_a_record_may_hold(me: Person) -> None:
    draft = me.create()
    assert me.start(draft, "a", "b", "c", "d").status_code == 400
    assert me.get(f"/api/records/{draft}/draft/files").json()["entries"] == []
    assert me.start(draft, "a", "a").json()["message"] == "File with key a already exists."
    me.start(draft, "a", "b")
    assert me.start(draft, "a").status_code == 400
    assert me.put(draft, "a", bytes(600)).status_code == 200
    over = me.put(draft, "b", bytes(401))
    assert (over.status_code, over.json()["message"]) == (400, "Bucket quota exceeded.")
    assert me.put(draft, "a", bytes(599)).status_code == 200
    assert me.put(draft, "b", bytes(401)).status_code == 200
    assert me.put(draft, "z", b"").status_code == 404
    assert complaints(me.start(draft)) == {"_schema"}
    assert complaints(me.http.post(f"/api/records/{draft}/draft/files", json={"key": "a"})) == {
        "0._schema"
    }


def test_content_belongs_to_a_file_that_was_started_and_is_not_committed(me: Person) -> None:
    draft = me.create()
    me.start(draft, "a/b.csv", "a")
    assert me.put(draft, "a/b.csv", b"").json()["key"] == "a/b.csv"
    assert me.commit(draft, "a").status_code == 500
    me.put(draft, "a", b"one")
    me.put(draft, "a", b"two")
    assert me.commit(draft, "a").json()["checksum"] == f"md5:{md5(b'two')}"
    assert me.commit(draft, "a").status_code == 200
    late = me.put(draft, "a", b"three")
    assert (late.status_code, late.json()["errors"]) == (200, "File upload transfer failed.")
    assert me.get(f"/api/records/{draft}/draft/files/a").status_code == 404


def test_records_without_files_are_for_other_installations(zenodo: Zenodo, me: Person) -> None:
    draft = me.create()
    bare = {"metadata": METADATA, "files": {"enabled": False}}
    assert "files.enabled" in complaints(me.update(draft, bare), 200)
    assert complaints(me.publish(draft)) == {"files.enabled"}
    zenodo.records.switches = Switches(metadata_only=True)
    assert "errors" not in me.update(draft, bare).json()
    assert me.publish(draft).status_code == 202


def test_a_reserved_doi_outlives_an_update_unless_the_switch_says_otherwise(
    zenodo: Zenodo, me: Person
) -> None:
    draft = me.create()
    doi = me.reserve(draft).json()["pids"]
    assert me.update(draft, {"metadata": METADATA}).json()["pids"] == doi
    zenodo.records.switches = Switches(update_drops_doi=True)
    assert me.update(draft, {"metadata": METADATA, "pids": doi}).json()["pids"] == doi
    assert me.update(draft, {"metadata": METADATA}).json()["pids"] == {}
    assert me.reserve(draft).json()["pids"] == doi
    foreign = {"metadata": METADATA, "pids": {"doi": {"identifier": "10.1/x"}}}
    assert me.update(draft, foreign).status_code == 501
    path = f"/api/records/{draft}/draft/pids/doi"
    assert [me.http.delete(path).status_code for _ in range(2)] == [204, 404]


def test_only_the_owner_sees_a_draft(zenodo: Zenodo, me: Person) -> None:
    draft = me.create()
    path = f"/api/records/{draft}/draft"
    denied = {"status": 403, "message": "Permission denied."}
    for token in (None, "other"):
        answer = Person(zenodo, token).get(path)
        assert (answer.status_code, answer.json()) == (403, denied)
    assert Person(zenodo, "wrong").get(path).status_code == 401
    assert Person(zenodo, None).get(path, access_token="rehearsal").status_code == 200
    assert Person(zenodo, "other").get("/api/user/records").json()["hits"]["total"] == 0
    record = me.published()
    assert Person(zenodo, "other").version(record).status_code == 403


def test_what_is_no_request_of_the_api_is_refused(me: Person) -> None:
    record = me.published()
    assert me.get("/api/nothing").status_code == 404
    assert me.http.put(f"/api/records/{record}/files/a.csv").status_code == 405
    assert me.http.post(f"/api/records/{record}/draft/files", json=[]).status_code == 404
    big = b'{"metadata": "' + bytes(1 << 20) + b'"}'
    assert me.http.post("/api/records", content=big).status_code == 413
    for query in ("a OR b", "title:(a b)", 'title:"a', "doi:10.5072/zenodo.1"):
        answer = me.get("/api/records", q=query)
        assert answer.json()["message"] == "Invalid query string syntax.", query
    assert me.get("/api/records", size=0).status_code == 400
