"""What was uploaded to a stand-in of each service comes back as it was put there."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from fleet.importers import Draft, ImportRefused, read_source
from fleet.rehearsal.archive.server import Archive
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import Strictness
from fleet.rehearsal.zenodo import Switches, Zenodo
from fleet.settings import CentreSettings
from tests.s3_support import Signed, completion, element, path
from tests.zenodo_support import Person

FILES = {"a b+c.csv": b"x,y\n", "été.txt": b"une ligne\n"}


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def read(source: str, url: str) -> Draft:
    """Import a source where ``url`` stands in for every service."""
    host = url.removeprefix("http://")
    settings = CentreSettings.model_validate(
        {
            "allow_networks": "127.0.0.0/8",
            "zenodo_hosts": (host,),
            "archive_hosts": (host,),
            "s3_endpoint": url,
        }
    )
    return read_source(source, import_root=None, settings=settings)


def told(draft: Draft) -> dict[str, tuple[int | None, str | None]]:
    return {one.path: (one.size, one.md5) for one in draft.artifacts}


def arrived(draft: Draft) -> dict[str, bytes]:
    """Fetch what the draft names, as a worker would."""
    found = {}
    for one in draft.artifacts:
        answer = httpx.get(one.sources[0], follow_redirects=True)
        assert answer.status_code == 200
        found[one.path] = answer.content
    return found


@pytest.mark.parametrize("old", [False, True])
def test_a_published_record_comes_back_in_either_shape(tmp_path: Path, old: bool) -> None:
    with Zenodo(tmp_path / "bytes", switches=Switches(old_shape=old)) as zenodo:
        record = Person(zenodo).published(**FILES)
        draft = read(f"{zenodo.url}/records/{record}", zenodo.url)
        assert told(draft) == {key: (len(data), md5(data)) for key, data in FILES.items()}
        assert arrived(draft) == FILES
        assert (draft.title, draft.licence) == ("Buildings of Canada", "cc-by-4.0")
        assert draft.doi.endswith(f"zenodo.{record}")


def test_a_concept_gives_its_newest_version_and_a_draft_gives_nothing(tmp_path: Path) -> None:
    with Zenodo(tmp_path / "bytes") as zenodo:
        me = Person(zenodo)
        record = me.published(**FILES)
        concept = me.get(f"/api/records/{record}").json()["parent"]["id"]
        draft = read(f"{zenodo.url}/records/{concept}", zenodo.url)
        assert draft.name == f"zenodo-{record}"
        assert f"{concept} stands for all versions" in draft.notes[0]
        with pytest.raises(ImportRefused, match="answers 404"):
            read(f"{zenodo.url}/records/{me.create()}", zenodo.url)


def test_an_item_comes_back_without_what_the_archive_adds(tmp_path: Path) -> None:
    with Archive(tmp_path / "bytes", {"key": "secret"}) as archive:
        made = {"Authorization": "LOW key:secret", "x-archive-auto-make-bucket": "1"}
        for name, data in FILES.items():
            given = made | {"x-archive-meta-title": "Census", "x-archive-keep-old-version": "1"}
            for content in (b"before", data):
                put = httpx.put(archive.url + path(name, "item-1"), content=content, headers=given)
                assert put.status_code == 200
        draft = read(f"{archive.url}/details/item-1", archive.url)
        assert told(draft) == {key: (len(data), md5(data)) for key, data in FILES.items()}
        assert arrived(draft) == FILES
        assert draft.title == "Census"
        with pytest.raises(ImportRefused, match="describes no item"):
            read(f"{archive.url}/details/item-2", archive.url)


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    rules = Strictness(public=frozenset({"open"}))
    with S3Server(tmp_path / "bytes", ["open", "closed"], {"id": Key("secret")}, rules) as server:
        yield server


def test_a_listing_comes_back_over_several_pages(s3: S3Server) -> None:
    many = {f"data/{number:04}.csv": b"the same" for number in range(1100)}
    with httpx.Client(base_url=s3.url, auth=Signed()) as client:
        for name, data in (FILES | {"data/0000.csv": b"the same"}).items():
            assert client.put(path(name, "open"), content=data).status_code == 200
    bucket = s3.buckets["open"]
    for name in many:  # a thousand signed requests would take a minute
        bucket.put(name, bucket.get("data/0000.csv"))
    draft = read("s3://open", s3.url)
    assert told(draft) == {key: (len(data), md5(data)) for key, data in (FILES | many).items()}
    below = read(f"{s3.url}/open/data/", s3.url)
    assert [one.path for one in below.artifacts] == [f"{number:04}.csv" for number in range(1100)]
    few = replace(draft, artifacts=tuple(one for one in draft.artifacts if one.path in FILES))
    assert arrived(few) == FILES
    with pytest.raises(ImportRefused, match="answers 403"):
        read("s3://closed", s3.url)


def test_what_was_put_in_parts_has_no_checksum(s3: S3Server) -> None:
    data = bytes(5 * 1024 * 1024)
    with httpx.Client(base_url=s3.url, auth=Signed()) as client:
        upload = element(client.post("/open/big?uploads"), "UploadId")
        part = client.put(f"/open/big?partNumber=1&uploadId={upload}", content=data)
        done = completion({1: part.headers["ETag"]})
        assert client.post(f"/open/big?uploadId={upload}", content=done).status_code == 200
    assert told(read("s3://open", s3.url)) == {"big": (len(data), None)}
