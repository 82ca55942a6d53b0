"""STAC in JSON and as GeoParquet: real documents, the specifications' examples, hostile ones."""

import contextlib
import json
from io import BytesIO
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from fleet.importers.documents import read_json
from fleet.importers.draft import Draft, ImportRefused
from fleet.importers.stac import Found, read_document
from fleet.importers.stac_table import draft_of_stac
from tests.real_data import real

BASE = "https://stac.example/roads/item.json"
SHA256, MD5 = "0123456789abcdef" * 4, "f" * 32


def read(document: Any, base: str = BASE, s3_endpoint: str = "") -> tuple[Draft, list[str]]:
    found = Found()
    read_document(json.dumps(document).encode(), base, s3_endpoint, found)
    return found.draft(), list(found.links)


def item(*assets: dict[str, Any], **more: Any) -> dict[str, Any]:
    named = {f"a{number}": asset for number, asset in enumerate(assets)}
    return {"type": "Feature", "id": "x", "properties": {}, "links": [], "assets": named} | more


def test_an_asset_comes_with_its_size_and_its_checksum() -> None:
    draft, _ = read(
        item(
            {"href": "./a.tif", "file:size": 7, "file:checksum": f"1220{SHA256.upper()}"},
            {"href": "https://b.example/b.tif", "file:checksum": f"d50110{MD5}"},
            {"href": "/c.tif", "file:checksum": "90e4021044a8995dd50b6657a037a7839304535b"},
            properties={"title": "Roads", "license": "CC0-1.0"},
        )
    )
    assert [(one.path, one.size, one.sha256, one.md5) for one in draft.artifacts] == [
        ("a.tif", 7, SHA256, None),
        ("b.tif", None, None, MD5),
        ("c.tif", None, None, None),
    ]
    assert [one.sources[0] for one in draft.artifacts] == [
        "https://stac.example/roads/a.tif",
        "https://b.example/b.tif",
        "https://stac.example/c.tif",
    ]
    assert (draft.name, draft.kind, draft.title, draft.licence) == ("x", "stac", "Roads", "CC0-1.0")
    assert draft.notes == ("ignored 1 checksum that are neither sha-256 nor md5",)


def test_alternates_are_further_sources_and_a_bucket_needs_its_endpoint() -> None:
    data = real("stac/ext_alternate-assets_collection.json")
    draft = draft_of_stac(data, "")
    assert [one.sources for one in draft.artifacts] == [
        (
            "https://example.com/collection/items.zip",
            "https://source.coop/example/collection/items.zip",
        )
    ]
    assert "left out 1 alternate not had over HTTP" in draft.notes
    assert (draft.name, draft.title, draft.licence) == (
        "collection-1",
        "Ode to the Collection",
        "Apache-2.0",
    )
    (one,) = draft_of_stac(data, "https://s3.example").artifacts
    assert one.sources[1] == "https://s3.example/mycoolsat-bucket/collection/items.zip"


def test_a_real_page_of_items_gives_files_and_not_what_a_service_renders() -> None:
    draft = draft_of_stac(real("stac/pc_nrcan-landcover_items.json"), "")
    assert [(one.path, one.size) for one in draft.artifacts] == [
        ("4e615eae-b90c-420b-adee-2ca35896caf6.jsonld", None),
        ("CAN_LC_2015_CAL_16_13_cog.tif", 1307648),
    ]
    assert draft.name == "nrcan-landcover"
    assert draft.notes == (
        "left out 1 document that it leads to: import it by its URL",
        "left out 2 assets that a service renders when asked",
    )


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("stac/pc_naip-pc.json", 8),
        ("stac/pc_cop-dem-glo-30-pc.json", 4),
        ("stac/ext_file_item.json", 5),
        ("stac/ext_scientific_item.json", 1),
        ("stac/pc_3dep-lidar-copc-pc-collection.json", 1),
        ("parquet/stac-geoparquet_naip.parquet", 10),
    ],
)
def test_real_documents_give_every_file(name: str, files: int) -> None:
    draft = draft_of_stac(real(name), "")
    assert len({one.path for one in draft.artifacts if one.sources}) == files
    assert not any(one.refused for one in draft.artifacts)


def test_a_collection_leads_to_its_items_and_a_page_of_them_to_the_next() -> None:
    links = [
        {"rel": "item", "href": "./1/item.json"},
        {"rel": "items", "href": "https://api.example/items"},
        {"rel": "next", "href": "https://api.example/items?page=2"},
        {"rel": "next", "href": "https://api.example/search", "method": "POST"},
        {"rel": "item", "href": "file:///etc/passwd"},
        {"rel": "parent", "href": "https://api.example/"},
    ]
    collection = {"type": "Collection", "id": "c", "links": links, "assets": {"a": {"href": "a"}}}
    assert read(collection)[1] == [
        "https://stac.example/roads/1/item.json",
        "https://api.example/items",
    ]
    page = {"type": "FeatureCollection", "features": [item({"href": "a"})], "links": links}
    assert read(page)[1] == ["https://api.example/items?page=2"]
    assert read(item({"href": "a"}, links=links))[1] == []


def test_the_same_asset_of_two_items_is_one_file_and_others_never_collide() -> None:
    features = [
        item({"href": "https://a.example/licence.txt"}, {"href": f"https://a.example/{n}/B01.tif"})
        for n in (1, 2)
    ]
    draft, _ = read({"type": "FeatureCollection", "features": features})
    assert sorted(one.path for one in draft.artifacts) == ["1/B01.tif", "2/B01.tif", "licence.txt"]


def test_a_document_on_a_disk_says_itself_where_it_is() -> None:
    links = [{"rel": "self", "href": BASE}]
    assert read(item({"href": "./a.tif"}, links=links), "")[0].artifacts[0].sources == (
        "https://stac.example/roads/a.tif",
    )
    draft, _ = read(item({"href": "../../../etc/passwd"}), "")
    assert "is not an http or https URL" in draft.artifacts[0].refused
    assert draft.notes == (
        "1 reference relative to nobody knows what: import the document by its URL",
    )


@pytest.mark.parametrize(
    "asset",
    [
        {"href": "https://a.example/%2e%2e"},
        {"href": "https://a.example/x%2f..%2fy"},
        {"href": "https://[a/x"},
        {"href": "javascript:alert(1)"},
        {"href": "https://user:hunter2@a.example/x"},
        {"href": "https://a.example/"},
        {"href": 7},
        {},
        {"href": "https://a.example/x", "file:size": -1},
        {"href": "https://a.example/x", "file:size": 2**64},
        {"href": "https://a.example/x", "file:checksum": "1220abcd"},
    ],
)
def test_a_hostile_asset_is_refused_alone(asset: dict[str, Any]) -> None:
    draft, _ = read(item({"href": "good.tif"}, asset))
    assert sorted(one.path for one in draft.artifacts) == ["", "good.tif"]
    assert not any("hunter2" in one.refused for one in draft.artifacts)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"type": "Catalog"}', "name one of its collections"),
        (b'{"type": "Feature", "geometry": null}', "no STAC"),
        (b'{"type": "FeatureCollection", "features": [{"type": "Feature"}]}', "no STAC"),
        (b'{"type": "FeatureCollection", "features": []}', "no file to import"),
        (b'{"name": "x"}', "no STAC"),
        (b'["x"]', "no file to import"),
        (b"{", "no JSON"),
        (b'{"a": NaN}', "no JSON"),
        (b"\xff{}", "no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no JSON"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
        (b"[" * 200_000 + b"]" * 200_000, "nested too deeply"),
        (b"[" + b"[]," * 5_000_000 + b"[]]", "more than 8,000,000 values"),
        (b"PAR1 and no more", "cannot be read"),
        (b"PAR1", "cannot be read"),
    ],
)
def test_what_is_no_stac_document_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        draft_of_stac(data, "")


def test_what_is_just_within_bounds_is_read() -> None:
    assert read_json(b"[" * 64 + b"]" * 64)


def table(rows: list[dict[str, Any]]) -> bytes:
    file = BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def test_a_row_of_a_table_is_an_item() -> None:
    rows = [
        {
            "id": str(number),
            "collection": "roads",
            "assets": {
                "data": {
                    "href": f"https://a.example/{number}.tif",
                    "file:size": float(number),
                    "file:checksum": f"1220{SHA256}",
                    "alternate": {"b": {"href": f"https://b.example/{number}.tif"}},
                },
                "thumbnail": None
                if number
                else {"href": "https://a.example/t.png?x", "roles": ["thumbnail"]},
            },
        }
        for number in range(2)
    ]
    draft = draft_of_stac(table(rows), "")
    assert [(one.path, one.size, one.sha256, len(one.sources)) for one in draft.artifacts] == [
        ("0.tif", 0, SHA256, 2),
        ("1.tif", 1, SHA256, 2),
    ]
    assert draft.name == "roads"
    assert draft.notes == ("left out 1 asset that a service renders when asked",)


def test_a_table_of_data_is_no_catalogue() -> None:
    for data in (real("parquet/d4c-vancouver-2022-index.parquet"), table([{"assets": "x"}])):
        with pytest.raises(ImportRefused, match="no column of STAC assets, so it is data"):
            draft_of_stac(data, "")


def test_a_small_table_that_unfolds_without_bounds_takes_its_reader_only() -> None:
    href = "https://a.example/" + "a" * (16 << 20)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([href]))
    asset = pa.StructArray.from_arrays([column], ["href"])
    items = pa.table({"assets": pa.StructArray.from_arrays([asset], ["data"])})
    file = BytesIO()
    parquet.write_table(items, file, compression="zstd", write_statistics=False)
    assert len(file.getvalue()) < 10_000
    with pytest.raises(ImportRefused, match="the table cannot be read"):
        draft_of_stac(file.getvalue(), "")


@pytest.mark.parametrize("at", [4, 100, 300])
def test_a_damaged_table_is_refused_or_read_and_nothing_else(at: int) -> None:
    whole = table([{"id": "x", "assets": {"data": {"href": "https://a.example/x"}}}])
    for data in (whole[:at], whole[: -at - 8] + bytes(8) + whole[-at:]):
        with contextlib.suppress(ImportRefused):
            assert draft_of_stac(data + whole[-8:], "").artifacts
