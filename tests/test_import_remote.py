"""Sources that are asked over real sockets: what comes of them, and what is never asked."""

import json
from collections.abc import Iterator
from email.utils import formatdate
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from fleet.importers import Draft, ImportRefused, read_source, web
from fleet.importers.web import Web
from fleet.settings import CentreSettings
from tests.import_support import Answer, Server, serving
from tests.test_import_s3 import contents, page
from tests.test_import_stac import item
from tests.test_import_torrent import torrent
from tests.test_import_zenodo import new_shape

LISTING = "/bucket?encoding-type=url&list-type=2"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def read(server: Server, source: str) -> Draft:
    return read_source(source, import_root=Path("/nowhere"), settings=server.settings())


def get(server: Server, url: str, most: int = 1000) -> bytes:
    with Web(server.settings()) as client:
        return client.get(url, most=most).data


def paths(draft: Draft) -> list[str]:
    return [one.path for one in draft.artifacts]


def test_a_record_is_asked_for_by_its_page_with_a_name_and_a_contact(server: Server) -> None:
    record = json.dumps(new_shape(a={"size": 3})).encode()
    server.serve("/api/records/7", record)
    settings = server.settings(contact="ops@fleet.example")
    draft = read_source(f"{server.base}/records/7", import_root=None, settings=settings)
    assert draft.artifacts[0].sources == (f"{server.base}/records/7/files/a?download=1",)
    ((_, fields),) = server.asked
    assert fields["User-Agent"].startswith("DataFleet/")
    assert "ops@fleet.example" in fields["User-Agent"]
    assert fields["Host"] == server.netloc


def test_a_record_of_all_versions_is_followed_to_the_newest(server: Server) -> None:
    server.serve("/api/records/6", Answer(status=301, headers={"Location": "/api/records/7"}))
    server.serve("/api/records/7", json.dumps(new_shape(a={"size": 3})).encode())
    draft = read(server, f"{server.base}/record/6")
    assert draft.name == "zenodo-7"
    assert "stands for all versions" in draft.notes[0]


def test_an_item_is_asked_for_by_its_page(server: Server) -> None:
    file = {"name": "a.zip", "source": "original", "size": "3"}
    server.serve("/metadata/abc", json.dumps({"files": [file], "metadata": {}}).encode())
    draft = read(server, f"{server.base}/details/abc")
    assert draft.artifacts[0].sources == (f"{server.base}/download/abc/a.zip",)


def test_a_listing_is_read_to_its_last_page(server: Server) -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>1/</NextContinuationToken>"
    first = server.serve(f"{LISTING}&prefix=data%2F", page(more, contents("data/a.csv")))
    server.serve(f"{LISTING}&continuation-token=1%2F&prefix=data%2F", page(contents("data/b.csv")))
    for source in ("s3://bucket/data/", f"{server.base}/bucket/data/"):
        draft = read(server, source)
        assert paths(draft) == ["a.csv", "b.csv"]
        assert draft.artifacts[0].sources == (f"{server.base}/bucket/data/a.csv",)
    assert first.endswith(server.targets()[0])


def test_a_listing_that_goes_round_in_circles_is_refused(server: Server) -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>1</NextContinuationToken>"
    server.serve("/bucket", page(more, contents("a")))
    with pytest.raises(ImportRefused, match="round in circles"):
        read(server, "s3://bucket")


def test_a_url_that_ends_in_a_slash_must_be_a_listing(server: Server) -> None:
    server.serve("/data", b"<html><body>Index of /data</body></html>")
    with pytest.raises(ImportRefused, match="ends in / is read as a bucket's listing"):
        read(server, f"{server.base}/data/")


def test_a_collection_is_read_with_its_items_and_every_page_of_them(server: Server) -> None:
    links = [{"rel": "item", "href": "./1.json"}, {"rel": "items", "href": "/items"}]
    collection = {"type": "Collection", "id": "c", "license": "CC0-1.0", "links": links}
    server.serve("/c.json", json.dumps(collection).encode())
    server.serve("/1.json", json.dumps(item({"href": "1.tif"})).encode())
    again = [{"rel": "next", "href": "/items?page=2"}]
    for target, asset, links in (("/items", "2.tif", again), ("/items?page=2", "3.tif", again)):
        document = {
            "type": "FeatureCollection",
            "features": [item({"href": asset})],
            "links": links,
        }
        server.serve(target, json.dumps(document).encode())
    draft = read(server, f"stac+{server.base}/c.json")
    assert paths(draft) == ["1.tif", "2.tif", "3.tif"]
    assert (draft.name, draft.licence) == ("c", "CC0-1.0")
    assert server.targets() == ["/c.json", "/1.json", "/items", "/items?page=2"]


def test_a_table_of_items_and_a_torrent_come_by_their_urls(server: Server) -> None:
    file = BytesIO()
    rows = [{"id": "x", "assets": {"data": {"href": "./1.tif"}}}]
    parquet.write_table(pa.Table.from_pylist(rows), file)
    server.serve("/d/items.parquet", file.getvalue())
    draft = read(server, f"stac+{server.base}/d/items.parquet")
    assert draft.artifacts[0].sources == (f"{server.base}/d/1.tif",)
    server.serve("/x.torrent", torrent({b"length": 5}, f"{server.base}/roads"))
    assert paths(read(server, f"{server.base}/x.torrent")) == ["roads"]


def test_a_plain_url_is_not_asked(server: Server) -> None:
    assert paths(read(server, f"{server.base}/item.json")) == ["item.json"]
    assert server.asked == []


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "0"],
)
def test_private_addresses_are_not_asked(server: Server, host: str) -> None:
    port = server.netloc.rpartition(":")[2]
    for source in (f"http://{host}:{port}/bucket/", f"stac+http://{host}:{port}/x.json"):
        with pytest.raises(ImportRefused, match="is not public; FLEET_ALLOW_NETWORKS"):
            read_source(source, import_root=None, settings=CentreSettings())
    assert server.asked == []


def test_a_redirect_to_a_private_address_is_not_followed(server: Server) -> None:
    url = server.serve(
        "/x", Answer(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
    )
    with pytest.raises(ImportRefused, match=r"169\.254\.169\.254 is not public"):
        get(server, url)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/x", "redirects more than 5 times"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("http://user:pw@127.0.0.1/", "user name or password"),
        ("http://[x/", "cannot be had|not a readable URL"),
    ],
)
def test_a_redirect_is_judged_like_any_url(server: Server, location: str, reason: str) -> None:
    url = server.serve("/x", Answer(status=307, headers={"Location": location}))
    with pytest.raises(ImportRefused, match=reason):
        get(server, url)


def test_who_asks_for_patience_gets_it_twice(server: Server) -> None:
    busy = Answer(status=429, headers={"Retry-After": "0"})
    late = Answer(status=503, headers={"Retry-After": formatdate(1, usegmt=True)})
    assert get(server, server.serve("/x", busy, late, b"there")) == b"there"
    with pytest.raises(ImportRefused, match=r"/y answers 503"):
        get(server, server.serve("/y", late))
    assert server.targets() == ["/x"] * 3 + ["/y"] * 3


def test_who_asks_for_too_much_patience_is_not_waited_for(server: Server) -> None:
    url = server.serve("/x", Answer(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(ImportRefused, match="answers 429 and asks to wait 3,600 s"):
        get(server, url)
    assert server.targets() == ["/x"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"x" * 1001), "is larger than 1,000 bytes"),
        (Answer(b"", 404), "answers 404"),
        (Answer(b"", 204), "answers 204"),
        (Answer(b"x", headers={"Content-Encoding": "gzip"}), "an encoding not asked for"),
        (Answer(b"x", headers={"Content-Length": "5", "Connection": "close"}), "cannot be had"),
    ],
)
def test_what_does_not_come_within_bounds_is_refused(
    server: Server, answer: Answer, reason: str
) -> None:
    with pytest.raises(ImportRefused, match=reason):
        get(server, server.serve("/x", answer))


def test_an_import_asks_no_longer_than_its_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "MAX_SECONDS", 0.0)
    with pytest.raises(ImportRefused, match="takes longer than 0 s"):
        get(server, server.serve("/x", b"there"))


def test_a_source_that_must_be_asked_is_named_in_the_refusal(server: Server) -> None:
    server.serve("/api/records/7", b"<html>")
    with pytest.raises(ImportRefused, match=r"/api/records/7: the document is no JSON"):
        read(server, f"{server.base}/records/7")
