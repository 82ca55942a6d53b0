"""Zenodo's records: real answers of both shapes, and what is refused."""

import json
from typing import Any

import pytest

from fleet.importers.draft import Draft, ImportRefused
from fleet.importers.place import Record
from fleet.importers.zenodo import read_record
from tests.real_data import real

BASE = "https://zenodo.org"
MD5 = "0123456789abcdef" * 2


def read(record: Any, number: str = "7") -> Draft:
    return read_record(json.dumps(record).encode(), Record(BASE, number))


def new_shape(**files: dict[str, Any]) -> dict[str, Any]:
    """As InvenioRDM's own media type has it."""
    return {
        "id": "7",
        "is_draft": False,
        "access": {"record": "public", "files": "public"},
        "pids": {"doi": {"identifier": "10.5281/zenodo.7", "provider": "datacite"}},
        "metadata": {"title": "Roads", "rights": [{"id": "cc-by-4.0", "title": {"en": "CC BY"}}]},
        "files": {
            "enabled": True,
            "count": len(files),
            "entries": {key: {"key": key} | details for key, details in files.items()},
        },
    }


def test_a_real_record_of_the_old_shape_gives_every_file_with_its_md5() -> None:
    data = real("zenodo/zenodo_record_7078768_legacy.json")
    answer = json.loads(data)
    draft = read_record(data, Record(BASE, "7078768"))
    listed = {one["key"]: (one["size"], one["checksum"]) for one in answer["files"]}
    assert {one.path: (one.size, f"md5:{one.md5}") for one in draft.artifacts} == listed
    assert (draft.name, draft.kind, draft.doi) == ("zenodo-7078768", "zenodo", answer["doi"])
    assert (draft.title, draft.licence) == (answer["metadata"]["title"], "CC-BY-4.0")
    assert not draft.notes
    for one in draft.artifacts:
        url = f"https://zenodo.org/records/7078768/files/{one.path}?download=1"
        assert one.sources == (url,)


def test_a_real_deposit_gives_its_md5_without_the_prefix() -> None:
    data = real("zenodo/d4c_sandbox_step06_283548_done.json")
    draft = read_record(data, Record("https://sandbox.zenodo.org", "283548"))
    (one,) = draft.artifacts
    assert (one.path, one.size, one.md5) == (
        "43100024.parquet",
        186230461,
        "ab89ee1b1f09834f78f8ad1b46e97659",
    )
    assert one.sources == (
        "https://sandbox.zenodo.org/records/283548/files/43100024.parquet?download=1",
    )
    assert (draft.title, draft.licence, draft.doi) == (
        "My second upload",
        "cc-zero",
        "10.5072/zenodo.283548",
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("d4c_sandbox_step05_283548_unsubmitted.json", "record 283548 is not published"),
        ("ropensci_deposition_412011.json", "record 412011 is not published"),
        ("zenodo_404.json", "describes no record"),
        ("ropensci_sandbox_records_search.json", "describes no record"),
    ],
)
def test_real_answers_that_nobody_can_mirror_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        read_record(real(f"zenodo/{name}"), Record(BASE, "7"))


@pytest.mark.parametrize("entries", ["named", "listed"])
def test_a_record_of_the_new_shape_gives_the_same(entries: str) -> None:
    record = new_shape(**{"a b.csv": {"size": 3, "checksum": f"md5:{MD5}"}})
    if entries == "listed":
        record["files"]["entries"] = list(record["files"]["entries"].values())
    draft = read(record)
    (one,) = draft.artifacts
    assert (one.path, one.size, one.md5) == ("a b.csv", 3, MD5)
    assert one.sources == ("https://zenodo.org/records/7/files/a%20b.csv?download=1",)
    assert (draft.title, draft.licence, draft.doi) == ("Roads", "cc-by-4.0", "10.5281/zenodo.7")


def test_a_record_that_stands_for_all_versions_says_which_was_taken() -> None:
    draft = read(new_shape(a={"size": 1}), "6")
    assert draft.notes == ("6 stands for all versions; taken is 7, the newest",)
    assert "/records/7/" in draft.artifacts[0].sources[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"access": {"files": "restricted"}}, "are restricted"),
        ({"metadata": {"access_right": "embargoed"}}, "are embargoed"),
        ({"is_draft": True}, "is not published"),
        ({"submitted": False}, "is not published"),
        ({"files": {"enabled": False}}, "there is no file to import"),
        ({"files": {"count": 9, "entries": {"a": {"size": 1}}}}, "1 of its 9 files only"),
        ({"id": "../7"}, "describes no record"),
        ({"id": None}, "describes no record"),
    ],
)
def test_a_record_that_cannot_be_had_whole_is_refused(change: Any, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        read(new_shape(a={"size": 1}) | change)


@pytest.mark.parametrize(
    ("key", "said", "reason"),
    [
        ("../a", {}, "segment '..'"),
        ("/etc/passwd", {}, "absolute path"),
        ("a\u0001b", {}, r"U\+0001"),
        ("", {}, "no address"),
        ("a", {"size": -1}, "-1 bytes, which is no size"),
        ("a", {"size": 2**63}, "which is no size"),
        ("a", {"size": True}, "which is no size"),
        ("a", {"size": 1.5}, "which is no size"),
        ("a", {"checksum": "md5:xyz"}, "md5 'xyz', which is none"),
        ("a", {"checksum": ["x"]}, "which is none"),
    ],
)
def test_a_hostile_file_is_refused_alone(key: str, said: dict[str, Any], reason: str) -> None:
    draft = read(new_shape(**{"good.csv": {"size": 1}, key: said}))
    good, bad = sorted(draft.artifacts, key=lambda one: bool(one.refused))
    assert good.path == "good.csv"
    assert not bad.path
    with pytest.raises(ImportRefused, match=reason):
        raise ImportRefused(bad.refused)
