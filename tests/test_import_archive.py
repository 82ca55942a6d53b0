"""Items of the Internet Archive, from answers made after its documented fields."""

import json
from typing import Any

import pytest

from fleet.importers.archive import read_item
from fleet.importers.draft import Draft, ImportRefused
from fleet.importers.place import Item

PLACE = Item("https://archive.org", "canadas-2021-census")
MD5, SHA1 = "0123456789abcdef" * 2, "0" * 40


def original(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "source": "original",
        "size": "12",
        "md5": MD5,
        "sha1": SHA1,
        "format": "ZIP",
    } | more


def derived(name: str) -> dict[str, Any]:
    return original(name) | {"source": "derivative", "original": "a.zip"}


def read(*files: Any, **more: Any) -> Draft:
    metadata = {
        "identifier": PLACE.id,
        "title": "Census",
        "licenseurl": "https://open.canada.ca/en/open-government-licence-canada",
    }
    return read_item(json.dumps({"metadata": metadata, "files": files} | more).encode(), PLACE)


def test_what_was_put_there_comes_with_its_size_and_md5() -> None:
    draft = read(original("98-401 X.zip"), original("sub/b.zip", size="0"))
    assert [(one.path, one.size, one.md5) for one in draft.artifacts] == [
        ("98-401 X.zip", 12, MD5),
        ("sub/b.zip", 0, MD5),
    ]
    assert [one.sources for one in draft.artifacts] == [
        ("https://archive.org/download/canadas-2021-census/98-401%20X.zip",),
        ("https://archive.org/download/canadas-2021-census/sub/b.zip",),
    ]
    assert (draft.name, draft.kind, draft.title) == (PLACE.id, "archive", "Census")
    assert draft.licence == "https://open.canada.ca/en/open-government-licence-canada"
    assert draft.notes == ()


def test_what_the_archive_made_of_it_is_left_out_with_a_note() -> None:
    draft = read(
        original("a.zip"),
        derived("a_thumb.jpg"),
        derived("a.txt"),
        original(f"{PLACE.id}_meta.xml"),
        original("history/files/a.zip.~1~", old_version="true"),
        original("hidden.zip", private="true"),
    )
    assert [one.path for one in draft.artifacts] == ["a.zip"]
    assert draft.notes == (
        "left out 2 files that archive.org made of the others",
        "left out 2 files of archive.org's own, such as metadata and earlier states",
        "left out 1 private file",
    )


def test_where_there_is_nothing_else_what_was_derived_is_taken() -> None:
    draft = read(derived("a.txt"), original(f"{PLACE.id}_files.xml"))
    assert [one.path for one in draft.artifacts] == ["a.txt"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"is_dark": True}, "not given to everybody"),
        ({"files": []}, "describes no item with files"),
        ({"files": "x"}, "describes no item with files"),
    ],
)
def test_an_item_that_is_not_for_everybody_is_refused(more: Any, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        read(original("a.zip"), **more)


def test_an_item_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ImportRefused, match="describes no item with files"):
        read_item(b"{}", PLACE)


@pytest.mark.parametrize(
    "file",
    [
        original("../a"),
        original("a/../../b"),
        original("a", size="-1"),
        original("a", size="9" * 30),
        original("a", md5="x"),
        original(["a"]),
        original(None),
    ],
)
def test_a_hostile_file_is_refused_alone(file: Any) -> None:
    draft = read(original("good.zip"), file)
    assert sorted(one.path for one in draft.artifacts) == ["", "good.zip"]
