"""What Items and Collections say of datasets, and that STAC's own schemas find nothing wrong."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import shapely
from hypothesis import given

from fleet.catalogue import item
from fleet.catalogue.collection import catalog, collection
from fleet.catalogue.entry import Artifact, Dataset, Entry, Mirror, Shard
from fleet.catalogue.footprint import (
    CANADA,
    PROVINCES,
    bounds,
    covering,
    footprint,
    from_wkb,
    geometry,
    to_wkb,
)
from fleet.descriptions import Description
from fleet.importers import read_source
from fleet.planning.reading import SEGMENTS
from fleet.planning.states import VersionState
from tests.catalogue_strategies import any_dataset, unhurried
from tests.catalogue_support import BASE, Json, items_of, sample
from tests.real_data import DATA, wanted
from tests.stac_schemas import faults

LISTS = DATA / "url_lists"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def own_faults(one: Json) -> list[str]:
    """What no schema sees: alternates without an address, and storage that is not told of."""
    schemes = one["properties"].get("storage:schemes", {})
    alternates = [
        (site, alternate)
        for asset in one["assets"].values()
        for site, alternate in asset.get("alternate", {}).items()
    ]
    return [
        f"{one['id']}: {site}"
        for site, alternate in alternates
        if not alternate.get("href") or {site, *alternate["storage:refs"]} - schemes.keys()
    ] + [f"{one['id']}: {key}" for key in one["assets"].keys() - set(item.ASSETS)]


def a_dataset(*artifacts: Artifact, dataset: str = "roads", **entry: Any) -> Dataset:
    told = {"label": "v1", "sequence": 1, "state": VersionState.PUBLISHED, "published_at": NOON}
    return Dataset(dataset, (Entry(**{**told, "artifacts": artifacts, **entry}),))


def a_file(path: str, role: str = "data", shard: int = 0) -> Artifact:
    return Artifact(path, 5, "a" * 64, role=role, shard=shard)


def a_mirror(site: str, *shards: int) -> Mirror:
    root = f"https://{site}.example"
    return Mirror(site, "node", root, f"{root}/roads/v1{SEGMENTS}", NOON, shards=shards)


@wanted
def test_the_schemas_find_nothing_wrong_with_what_is_made_of_a_dataset() -> None:
    datasets = [sample(number) for number in range(20)]
    collections = [collection(one, BASE) for one in datasets]
    documents = [*items_of(*datasets), *collections, catalog(collections, BASE)]
    assert [fault for one in documents for fault in faults(one)] == []
    assert [fault for one in items_of(*datasets) for fault in own_faults(one)] == []


@wanted
@unhurried
@given(any_dataset)
def test_nor_with_what_is_made_of_any_other(dataset: Dataset) -> None:
    documents = [*items_of(dataset), collection(dataset, BASE)]
    assert [fault for one in documents for fault in faults(one)] == []
    assert [fault for one in items_of(dataset) for fault in own_faults(one)] == []


@wanted
def test_the_schemas_would_find_what_is_wrong() -> None:
    [one] = items_of(a_dataset(a_file("a.csv"), mirrors=(a_mirror("toronto"),)))
    one["assets"]["data"]["file:checksum"] = "sha256"
    del one["assets"]["data"]["alternate"]["toronto"]["href"]
    one["properties"]["license"] = "two words"
    assert len(faults(one)) == 2
    assert own_faults(one) == ["roads@v1: toronto"]


@wanted
@pytest.mark.parametrize("name", sorted(path.stem for path in LISTS.glob("*.txt")))
def test_the_real_lists_make_a_valid_catalogue(name: str) -> None:
    draft = read_source(str(LISTS / f"{name}.txt"), import_root=LISTS)
    files = [a_file(one.path) for one in draft.artifacts]
    dataset = a_dataset(*files, dataset=draft.name, mirrors=(a_mirror("toronto"), a_mirror("r2")))
    [one] = items_of(dataset)
    assert faults(one) + faults(collection(dataset, BASE)) + own_faults(one) == []
    assert one["properties"]["fleet:files"] == len(draft.artifacts)
    assert set(one["assets"]) == {"files" if len(files) > 1 else "data"}


def test_a_lone_file_is_an_asset_with_every_mirror_as_an_alternate() -> None:
    data = replace(a_file("bâti/a b.csv"), md5="b" * 32, media_type="text/csv")
    mirrors = (a_mirror("toronto"), a_mirror("amsterdam"))
    [one] = items_of(a_dataset(data, a_file("m.json", "manifest"), mirrors=mirrors))
    asset = one["assets"]["data"]
    assert set(one["assets"]) == {"data", "manifest"}
    assert asset["href"] == "https://toronto.example/roads/v1/b%C3%A2ti/a%20b.csv"
    assert asset["alternate"]["amsterdam"] == {
        "href": "https://amsterdam.example/roads/v1/b%C3%A2ti/a%20b.csv",
        "storage:refs": ["amsterdam"],
    }
    assert list(asset["alternate"]) == ["toronto", "amsterdam"]
    assert asset["file:checksum"] == "1220" + "a" * 64
    assert (asset["file:size"], asset["fleet:md5"], asset["type"]) == (5, "b" * 32, "text/csv")


def test_a_version_of_several_files_lists_them_beside_its_item() -> None:
    many = a_dataset(*map(a_file, ("a", "b")), a_file("m.json", "manifest"), mirrors=())
    [one] = items_of(many)
    assert set(one["assets"]) == {"files"}
    assert one["assets"]["files"]["href"] == f"{BASE}/datasets/roads/versions/v1/files.parquet"


def test_a_mirror_offers_only_the_shards_that_it_holds() -> None:
    files = (a_file("a"), a_file("m.json", "manifest", shard=1))
    [one] = items_of(a_dataset(*files, mirrors=(a_mirror("toronto", 0), a_mirror("r2"))))
    assert list(one["assets"]["data"]["alternate"]) == ["toronto", "r2"]
    assert list(one["assets"]["manifest"]["alternate"]) == ["r2"]
    assert [m.get("shards") for m in one["properties"]["fleet:mirrors"]] == [[0], None]


def test_a_file_that_can_be_had_nowhere_is_no_asset() -> None:
    [one] = items_of(a_dataset(a_file("a")))
    assert one["assets"] == {}
    assert "storage:schemes" not in one["properties"]


def test_versions_lead_to_each_other() -> None:
    first, second, third = items_of(sample(1, versions=3))

    def led(one: Json) -> dict[str, str]:
        links = [link for link in one["links"] if link["rel"].endswith("-version")]
        return {link["rel"]: link["href"].split("/")[-2] for link in links}

    assert led(first) == {"successor-version": "v0.1.0", "latest-version": "v0.2.0"}
    assert led(second) == {
        "predecessor-version": "v0.0.0",
        "successor-version": "v0.2.0",
        "latest-version": "v0.2.0",
    }
    assert led(third) == {"predecessor-version": "v0.1.0", "latest-version": "v0.2.0"}
    assert [one["properties"]["deprecated"] for one in (first, second, third)] == [1, 1, 0]


def test_torrents_are_linked_to_while_they_are_few() -> None:
    def shard(number: int) -> Shard:
        torrent, meta4 = "https://f.example/a.torrent", "https://f.example/a.meta4"
        return Shard(number, f"{number:040x}", "roads", torrent, meta4, "magnet:?xt=urn:btih:0")

    few, many = (tuple(map(shard, range(n))) for n in (item.MOST_TORRENTS, 17))
    [one] = items_of(a_dataset(a_file("a"), shards=few))
    links = [link for link in one["links"] if "fleet:infohash" in link]
    assert [link["rel"] for link in links[:3]] == ["describedby", "describedby", "enclosure"]
    assert len(links) == 3 * item.MOST_TORRENTS
    [one] = items_of(a_dataset(a_file("a"), shards=many))
    assert not [link for link in one["links"] if "fleet:infohash" in link]


def test_both_languages_are_told_and_one_stands_in_for_the_other() -> None:
    french = Description.model_validate(
        {"title": {"fr": "Routes"}, "summary": {"en": "All\nroads.\n\nMore.", "fr": "Toutes."}}
    )
    [one] = items_of(replace(a_dataset(a_file("a")), description=french))
    told = one["properties"]
    assert (told["title"], told["fleet:title_fr"]) == ("Routes", "Routes")
    assert (told["description"], told["fleet:description_fr"]) == ("All roads.", "Toutes.")
    whole = collection(replace(a_dataset(a_file("a")), description=french), BASE)
    assert whole["description"] == "All\nroads.\n\nMore."


@pytest.mark.parametrize(
    ("dataset", "box", "origin"),
    [
        ("ca-qc_montreal-2021A0005_roads", PROVINCES["qc"], "province"),
        ("CA-YT_x", PROVINCES["yt"], "province"),
        ("ca_statcan_roads", CANADA, "country"),
        ("ca-xx_roads", CANADA, "country"),
        ("yt_roads", CANADA, "country"),
    ],
)
def test_a_footprint_is_made_up_of_the_region_that_a_dataset_is_named_by(
    dataset: str, box: tuple[float, ...], origin: str
) -> None:
    assert footprint(dataset, None) == (box, origin)
    [one] = items_of(a_dataset(a_file("a"), dataset=dataset))
    assert one["properties"]["fleet:footprint"] == origin
    assert one["bbox"] == list(box)
    assert footprint(dataset, (1.0, 2.0, 3.0, 4.0)) == ((1.0, 2.0, 3.0, 4.0), "described")


def test_a_rectangle_across_the_180th_meridian_is_drawn_in_two_parts() -> None:
    drawn = geometry((170.0, -10.0, -170.0, 10.0))
    assert [part[0][0] for part in drawn["coordinates"]] == [[170.0, -10.0], [-180.0, -10.0]]
    assert from_wkb(to_wkb(drawn)) == drawn


@pytest.mark.parametrize(
    ("described", "kind"),
    [
        ((-75.0, 45.0, -75.0, 45.0), "Polygon"),
        ((-75.0, 45.0, -74.0, 45.0), "Polygon"),
        ((180.0, 90.0, 180.0, 90.0), "Polygon"),
        ((-180.0, -90.0, -180.0, -90.0), "Polygon"),
        ((170.0, 50.0, -180.0, 60.0), "Polygon"),
        ((180.0, 50.0, -170.0, 60.0), "Polygon"),
        ((180.0, 50.0, -180.0, 60.0), "Polygon"),
        ((-180.0, -90.0, 180.0, 90.0), "Polygon"),
        ((170.0, 50.0, -170.0, 60.0), "MultiPolygon"),
        ((170.0, 50.0, -170.0, 50.0), "MultiPolygon"),
    ],
)
def test_every_geometry_is_valid_and_within_its_rectangle(
    described: tuple[float, float, float, float], kind: str
) -> None:
    box, origin = footprint("roads", described)
    drawn = geometry(box)
    shape = shapely.geometry.shape(drawn)
    assert (drawn["type"], shape.is_valid, shape.area > 0, origin) == (
        kind,
        True,
        True,
        "described",
    )
    assert shapely.box(-180, -90, 180, 90).covers(shape)
    assert shapely.box(*covering(box)).covers(shape)
    assert bounds(drawn) == box
    assert all(abs(one - other) % 360 < 1e-5 for one, other in zip(box, described, strict=True))


@pytest.mark.parametrize("between", ["\n\n", "\r\n\r\n", "\n \t\n"])
def test_a_description_is_the_first_paragraph_without_control_characters(between: str) -> None:
    summary = f"One\r\nline\x07 of\u200d it.{between}Another."
    described = Description.model_validate({"summary": {"en": summary}})
    [one] = items_of(replace(a_dataset(a_file("a")), description=described))
    assert one["properties"]["description"] == "One line of\u200d it."


def test_data_are_of_the_time_that_is_told_and_else_of_when_they_were_published() -> None:
    def times(**extent: str) -> Json:
        described = Description.model_validate({"extent": extent})
        [one] = items_of(replace(a_dataset(a_file("a")), description=described))
        return {key: value for key, value in one["properties"].items() if "datetime" in key}

    assert times() == {"datetime": "2026-03-01T12:00:00Z"}
    assert times(start="2021-05-11") == {"datetime": "2021-05-11T00:00:00Z"}
    assert times(start="2021-05-11", end="2021-06-01") == {
        "datetime": None,
        "start_datetime": "2021-05-11T00:00:00Z",
        "end_datetime": "2021-06-01T23:59:59Z",
    }
    until = Description.model_validate({"extent": {"end": "2021-06-01"}})
    told = collection(replace(a_dataset(a_file("a")), description=until), BASE)
    assert told["extent"]["temporal"]["interval"] == [[None, "2021-06-01T23:59:59Z"]]


def test_a_moment_is_told_in_utc_to_the_microsecond() -> None:
    assert item.moment(NOON + timedelta(microseconds=7)) == "2026-03-01T12:00:00.000007Z"


def test_what_is_told_is_json() -> None:
    for one in (*items_of(sample(3)), collection(sample(3), BASE)):
        assert json.loads(json.dumps(one)) == one
