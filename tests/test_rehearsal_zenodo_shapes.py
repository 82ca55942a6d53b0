"""The rehearsal's answers beside real ones: each key of those, of the same type, at its place."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.rehearsal.zenodo import Switches, Zenodo
from tests.zenodo_support import METADATA, Person, md5

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "zenodo"
JSON = "application/json"
# What is not rehearsed: a person's decorations, and metadata that Fleet neither writes nor reads.
UNREAD = {
    *("aggregations", "badge", "conceptbadge", "contributors", "count", "keywords", "language"),
    *("last_child", "latest_draft_html", "notes", "orcid", "references", "related_identifiers"),
    *("subtype", "thumb250", "thumbs"),
}

LINKS = (
    *("self", "self_html", "latest", "latest_html", "versions", "files"),
    *("access_links", "communities", "requests"),
)
WHO = {"type": "personal", "family_name": "Tester", "given_name": "Ann"}
DESCRIBED = {
    "description": "A table of tables.",
    "creators": [{"person_or_org": WHO, "affiliations": [{"name": "Testing"}]}],
}


def real(name: str) -> Any:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"there is no real answer {name} beside the project")
    return json.loads(path.read_text())


def shape(value: Any, path: str = "") -> dict[str, str]:
    """Name the type at each path; a checksum's tells whether ``md5:`` stands before it."""
    if isinstance(value, dict):
        parts = [(f"{path}.{key}", item) for key, item in value.items() if key not in UNREAD]
    elif isinstance(value, list):
        parts = [(f"{path}[]", item) for item in value]
    elif path.endswith(".checksum"):
        return {path: "md5:" if value.startswith("md5:") else "bare"}
    else:
        return {} if value is None else {path: "number" if _number(value) else type(value).__name__}
    return {key: kind for part, item in parts for key, kind in shape(item, part).items()}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(real: Any, ours: Any) -> None:
    wanted, got = shape(real), shape(ours)
    assert {path: got.get(path) for path in wanted} == wanted


@pytest.fixture
def zenodo(tmp_path: Path) -> Iterator[Zenodo]:
    with Zenodo(tmp_path / "bytes") as zenodo:
        yield zenodo


@pytest.fixture
def me(zenodo: Zenodo) -> Person:
    return Person(zenodo, accept=JSON)


@pytest.fixture
def record(me: Person) -> str:
    """A second version, which has all that a record can have."""
    first = me.create(**DESCRIBED)
    me.upload(first, "a.csv", b"1")
    me.publish(first)
    second = str(me.version(first).json()["id"])
    me.link(second)
    me.update(second, {"metadata": METADATA | DESCRIBED})
    assert me.publish(second).status_code == 202
    return second


@pytest.mark.parametrize("number", [7078760, 7078768])
def test_a_record_has_the_old_shape_on_demand(
    zenodo: Zenodo, me: Person, record: str, number: int
) -> None:
    zenodo.records.switches = Switches(old_shape=True)
    ours = me.get(f"/api/records/{record}").json()
    same(real(f"zenodo_record_{number}_legacy.json"), ours)
    assert me.http.get(ours["files"][0]["links"]["self"]).content == b"1"


@pytest.mark.parametrize(
    "name", ["zenodo_search_all_versions_legacy.json", "ropensci_sandbox_records_search.json"]
)
def test_a_search_has_the_old_shape_on_demand(
    zenodo: Zenodo, me: Person, record: str, name: str
) -> None:
    zenodo.records.switches = Switches(old_shape=True)
    found = real(name)
    same({**found, "links": {"self": ""}}, me.get("/api/records", all_versions="true").json())


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("d4c_sandbox_step01_283543_unsubmitted.json", False),
        ("d4c_sandbox_step03_283548_unsubmitted.json", False),
        ("d4c_sandbox_step05_283548_unsubmitted.json", False),
        ("zenodo_deposit_created_7098751.json", False),
        ("ropensci_deposition_412011.json", False),
        ("d4c_sandbox_step06_283548_done.json", True),
    ],
)
def test_a_deposition_has_the_shape_observed(
    me: Person, record: str, name: str, published: bool
) -> None:
    found = real(name)
    if not published:
        record = str(me.version(record).json()["id"])
        me.link(record)
        me.update(record, {"metadata": METADATA | DESCRIBED})
        me.reserve(record)
    ours = me.get(f"/api/deposit/depositions/{record}").json()
    same(found, ours)
    assert (ours["state"], ours["submitted"]) == (found["state"], found["submitted"])
    assert ours in me.get("/api/deposit/depositions").json()


def test_a_deposited_file_has_the_shape_observed(me: Person, record: str) -> None:
    ours = me.get(f"/api/deposit/depositions/{record}").json()["files"][0]
    same(real("zenodo_deposit_file_created.json"), ours)


def test_refusals_have_the_shapes_observed(zenodo: Zenodo, me: Person) -> None:
    answer = Person(zenodo, token="wrong").get("/api/user/records")
    assert answer.json() == real("zenodo_401.json")
    answer = me.get("/api/records/1")
    assert answer.status_code == 404
    same(real("zenodo_404.json"), answer.json())


def test_one_record_says_the_same_in_each_shape(zenodo: Zenodo, me: Person, record: str) -> None:
    path, total = f"/api/records/{record}", md5(b"1")
    new = Person(zenodo).get(path).json()
    today, deposit = me.get(path).json(), me.get(f"/api/deposit/depositions/{record}").json()
    zenodo.records.switches = Switches(old_shape=True)
    old = me.get(path).json()
    assert Person(zenodo).get(path).json() == new
    for body in (today, old, deposit):
        assert str(body["id"]) == new["id"]
        assert body["conceptrecid"] == new["parent"]["id"]
        assert body["doi"] == new["pids"]["doi"]["identifier"]
        assert body["conceptdoi"] == new["parent"]["pids"]["doi"]["identifier"]
    names = {"filename": "key", "filesize": "size"}
    files = [*new["files"]["entries"].values(), today["files"][0], old["files"][0]]
    files += [{names.get(key, key): value for key, value in deposit["files"][0].items()}]
    for file in files:
        assert (file["key"], file["size"], file["checksum"].removeprefix("md5:")) == (
            "a.csv",
            1,
            total,
        )
    assert (today["status"], today["state"], today["submitted"]) == ("published", "done", True)
    assert me.http.get(today["files"][0]["links"]["self"]).content == b"1"


def test_the_new_shape_has_what_is_documented(zenodo: Zenodo, me: Person, record: str) -> None:
    # inveniordm.docs.cern.ch, reference/rest_api_drafts_records: "Get a record", "List … files".
    person = Person(zenodo)
    body = person.get(f"/api/records/{record}").json()
    documented = {
        "access": {"record": "", "files": "", "embargo": {"active": False}},
        "created": "",
        "files": {"enabled": True},
        "id": "",
        "is_published": True,
        "links": dict.fromkeys(LINKS, ""),
        "metadata": {"resource_type": {"id": ""}, "title": "", "publication_date": ""},
        "parent": {"id": "", "access": {"owned_by": {"user": ""}}},
        "revision_id": 3,
        "updated": "",
        "versions": {"index": 2, "is_latest": True, "is_latest_draft": True},
    }
    same(documented, body)
    entry = {
        "key": "",
        "created": "",
        "updated": "",
        "checksum": "md5:",
        "mimetype": "",
        "size": 1,
        "status": "",
        "file_id": "",
        "version_id": "",
        "bucket_id": "",
        "storage_class": "",
        "links": {"content": "", "self": ""},
    }
    same({"enabled": True, "entries": [entry]}, person.get(f"/api/records/{record}/files").json())
