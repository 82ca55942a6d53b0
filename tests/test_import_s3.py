"""A bucket's listing: folders and keys, sizes, and which ETags are checksums."""

from typing import Any

import pytest

from fleet.importers.draft import Draft, ImportRefused
from fleet.importers.place import Prefix
from fleet.importers.s3 import Object, draft_of_objects, read_page

MD5, OTHER = "0123456789abcdef" * 2, "f" * 32
OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def contents(key: str, size: Any = 3, etag: str = f"&quot;{MD5}&quot;", more: str = "") -> str:
    return (
        f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>{etag}</ETag>"
        f"<StorageClass>STANDARD</StorageClass>{more}</Contents>"
    )


def page(*inside: str) -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f"{head}<ListBucketResult {NAMESPACE}>{''.join(inside)}</ListBucketResult>".encode()


def read(*inside: str, prefix: str = "") -> Draft:
    found = read_page(page(*inside))
    return draft_of_objects(found.objects, Prefix("https://s3.example", "bucket", prefix))


def md5s(draft: Draft) -> list[str | None]:
    return [one.md5 for one in draft.artifacts]


def test_a_prefix_is_a_folder_and_paths_lie_below_it() -> None:
    draft = read(
        contents("data/"),
        contents("data/a.csv", 5),
        contents("data/sub/b c.csv"),
        contents("data-old/a.csv"),
        prefix="data",
    )
    assert [(one.path, one.size, one.md5) for one in draft.artifacts] == [
        ("a.csv", 5, None),
        ("sub/b c.csv", 3, None),
    ]
    assert draft.artifacts[1].sources == ("https://s3.example/bucket/data/sub/b%20c.csv",)
    assert (draft.name, draft.kind) == ("data", "s3")
    assert draft.notes[0] == "left out 1 key that only stand for folders"


def test_a_whole_key_is_one_file() -> None:
    draft = read(contents("data/a.csv"), contents("data/a.csv.md5", 9, OTHER), prefix="data/a.csv")
    assert [(one.path, one.md5) for one in draft.artifacts] == [("a.csv", MD5)]


def test_an_etag_of_one_part_is_an_md5_and_one_of_several_never_is() -> None:
    draft = read(
        contents("a", 3),
        contents("b", 4, f"&quot;{OTHER}-2&quot;"),
        contents("c", 4, "&quot;123&quot;"),
        contents("d", 6 * 1024**3, OTHER),
        contents("e", 4, OTHER, "<ChecksumType>COMPOSITE</ChecksumType>"),
        contents("f", 0, OF_NOTHING),
    )
    assert md5s(draft) == [MD5, None, None, None, None, OF_NOTHING]
    assert draft.notes == ("4 objects without a published checksum: the size alone is known",)


@pytest.mark.parametrize(
    "telling",
    [
        pytest.param(contents("b", 4), id="one ETag for two sizes"),
        pytest.param(contents("b", 0, OTHER), id="an empty object that is not the md5 of nothing"),
        pytest.param(contents("b", 4, OF_NOTHING), id="the md5 of nothing for something"),
    ],
)
def test_a_listing_whose_etags_cannot_be_md5s_gives_none(telling: str) -> None:
    assert md5s(read(contents("a", 3), telling)) == [None, None]


def test_pages_go_on_until_one_says_that_it_is_the_last() -> None:
    more = "<IsTruncated>true</IsTruncated>"
    found = read_page(page(more, "<NextContinuationToken>x/y=</NextContinuationToken>"))
    assert found.token == "x/y="
    assert read_page(page("<IsTruncated>false</IsTruncated>", contents("a"))).token == ""
    with pytest.raises(ImportRefused, match="breaks off"):
        read_page(page(more))


def test_keys_may_be_encoded() -> None:
    found = read_page(page("<EncodingType>url</EncodingType>", contents("a+b%2Bc%C3%A9")))
    assert found.objects == (Object("a b+cé", "3", MD5),)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    "<ListBucketResult><Contents><Key>&b;</Key></Contents></ListBucketResult>"
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (BOMB.encode(), "declares a type or entities"),
        (BOMB.encode("utf-16"), "no XML in UTF-8"),
        (BOMB.replace("lolz [", 'lolz SYSTEM "file:///etc/passwd" [').encode(), "declares a type"),
        (b"<html><body>Index of /data</body></html>", "no listing of a bucket"),
        (b"<!doctype html><p>Index<br>", "no XML"),
        (b"<ListBucketResult>", "no XML"),
        (b"", "no XML"),
        (b"<a>" * 100_000, "no XML"),
    ],
)
def test_what_is_no_listing_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        read_page(data)


@pytest.mark.parametrize(
    "bad", [contents("../a"), contents("a//b"), contents("b", -1), contents("b", "1e3")]
)
def test_a_hostile_object_is_refused_alone(bad: str) -> None:
    draft = read(contents("good"), bad)
    assert sorted(one.path for one in draft.artifacts) == ["", "good"]


def test_a_prefix_without_objects_is_refused() -> None:
    with pytest.raises(ImportRefused, match="holds no object"):
        read(contents("data-old/a.csv"), contents("data/"), prefix="data/")
