"""The catalogue over HTTP: by ranges, kept for as long as it may be, and nothing else."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.catalogue.client import Fetcher, Home, Mirror, Trust, sync
from fleet.catalogue.whole import replacing
from fleet.settings import CentreSettings
from fleet.store.database import Store
from tests.api_support import Api, served, three_sites
from tests.signing_support import LOOPBACK, ONE, Client, Office

TABLE = b"PAR1" + bytes(range(256)) * 4000 + b"PAR1"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "catalogue"
    made.mkdir()
    (made / "catalogue.parquet").write_bytes(TABLE)
    (made / "catalogue.json").write_text("{}")
    return made


@pytest.fixture
def api(sqlite_store: Store, tmp_path: Path, place: Path) -> Iterator[Api]:
    settings = CentreSettings(home=tmp_path, catalogue_root=place)
    with served(three_sites(sqlite_store, tmp_path, settings)) as one:
        yield one


def test_a_table_is_read_by_ranges_and_not_again_while_it_is_the_same(
    api: Api, place: Path
) -> None:
    url = "/catalogue/catalogue.parquet"
    head = api.client.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(TABLE)))
    assert head.headers["content-type"] == "application/vnd.apache.parquet"
    assert head.headers["accept-ranges"] == "bytes"
    assert "must-revalidate" in head.headers["cache-control"]
    assert head.headers["access-control-allow-origin"] == "*"
    end = api.get(url, {"Range": "bytes=-4"})
    assert (end.status_code, end.content) == (206, b"PAR1")
    assert end.headers["content-range"].endswith(f"/{len(TABLE)}")
    assert api.get(url, {"Range": f"bytes={len(TABLE)}-"}).status_code == 416
    etag = head.headers["etag"]
    assert api.get(url, {"If-None-Match": f'"other", {etag}'}).status_code == 304
    with replacing(place / "catalogue.parquet") as file:
        file.write(TABLE[::-1])
    changed = api.get(url, {"If-None-Match": etag, "If-Range": etag, "Range": "bytes=0-3"})
    assert (changed.status_code, changed.content) == (200, TABLE[::-1])


def test_an_answer_is_of_one_file_though_another_takes_its_place(api: Api, place: Path) -> None:
    went_on = threading.Event()
    with api.client.stream("GET", "/catalogue/catalogue.parquet") as answer:
        blocks = answer.iter_raw(1000)
        got = next(blocks)
        with replacing(place / "catalogue.parquet") as file:
            file.write(b"short")
        went_on.set()
        got += b"".join(blocks)
    assert went_on.is_set()
    assert got == TABLE


@pytest.mark.parametrize(
    "path",
    [
        "",
        "nothing.parquet",
        "datasets",
        ".lock",
        ".catalogue.parquet.part",
        "catalogue.parquet.part",
        "datasets/.hidden/x.json",
        "%2e%2e/secret",
        "..%2fsecret",
        "datasets/%2e%2e/%2e%2e/secret",
        "%2fetc/passwd",
        "a%00b",
        "link",
        "folder/secret",
    ],
)
def test_nothing_but_whole_files_of_the_folder_is_served(api: Api, place: Path, path: str) -> None:
    (place.parent / "secret").write_text("secret")
    (place / "datasets" / ".hidden").mkdir(parents=True)
    for name in (".lock", ".catalogue.parquet.part", "catalogue.parquet.part"):
        (place / name).write_text("secret")
    (place / "datasets" / ".hidden" / "x.json").write_text("secret")
    (place / "link").symlink_to(place.parent / "secret")
    (place / "folder").symlink_to(place.parent)
    answer = api.get(f"/catalogue/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_what_is_signed_is_kept_by_its_name(api: Api, place: Path, tmp_path: Path) -> None:
    (tmp_path / "office").mkdir()
    office = Office(tmp_path / "office")
    office.publish(ONE)
    for folder in ("metadata", "targets"):
        (office.place / folder).rename(place / folder)
    for path in ("metadata/1.root.json", "metadata/1.snapshot.json"):
        assert "immutable" in api.get(f"/catalogue/{path}").headers["cache-control"]
    for path in (place / "targets").iterdir():
        kept = api.get(f"/catalogue/targets/{path.name}").headers["cache-control"]
        assert "immutable" in kept
    stamp = api.get("/catalogue/metadata/timestamp.json")
    assert stamp.headers["cache-control"] == "no-cache"
    client = Client(office, tmp_path / "client")
    with Fetcher("DataFleet/test", LOOPBACK) as fetcher:
        mirror = Mirror.at(f"{api.url}/catalogue")
        sync(Home(client.root), [mirror], Trust(sha256=office.first.sha256), office.now, fetcher)
    assert client.files == ONE


def test_pages_are_served_by_their_own_types(api: Api, place: Path) -> None:
    page = place / "datasets" / "roads" / "versions" / "1" / "item.json"
    page.parent.mkdir(parents=True)
    page.write_text("{}")
    types = {
        name: api.get(f"/catalogue/{name}").headers["content-type"]
        for name in ("catalogue.json", "datasets/roads/versions/1/item.json")
    }
    assert list(types.values()) == ["application/json", "application/geo+json"]


@pytest.mark.parametrize(("language", "said"), [("en", "The catalogue"), ("fr", "Le catalogue")])
def test_the_home_page_leads_to_it_once_it_is_written(
    api: Api, place: Path, language: str, said: str
) -> None:
    page = api.get(f"/{language}/").text
    assert said in page
    assert f"/catalogue/catalogue.{language}.parquet" in page
    (place / "catalogue.json").unlink()
    assert said not in api.get(f"/{language}/").text
