"""Others' readers open the catalogue, and find in it what was written."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import _duckdb
import duckdb
import geopandas
import pyarrow.parquet as pq
import pyogrio
import pytest
import rustac
import shapely
import stac_geoparquet.arrow
from pyarrow import dataset as datasets

from fleet.catalogue.edition import Edition
from fleet.descriptions import Description
from fleet.importers import read_source
from tests.catalogue_support import BASE, SITES, Json, by_id, items_of, sample

DATASETS = [sample(number, versions=3) for number in range(7)]
NEWEST = DATASETS[4].entries[-1]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    edition = Edition(folder / "public", folder / "memory", BASE, SITES)
    edition.put(by_id(*DATASETS))
    edition.write()
    return folder / "public" / "catalogue.parquet"


@pytest.fixture(scope="module")
def items() -> list[Json]:
    return items_of(*(one for _, one in by_id(*DATASETS)))


def plain(item: Json) -> Json:
    """An Item without what readers add: nulls, a link to the file, how a moment is written."""

    def bare(value: object) -> object:
        if isinstance(value, dict):
            told = {key: bare(one) for key, one in value.items() if one is not None}
            return {key: one for key, one in told.items() if one not in ({}, [])}
        return [bare(one) for one in value] if isinstance(value, list | tuple) else value

    told = json.loads(json.dumps(bare(item)))
    for name in ("datetime", "published"):
        at = datetime.fromisoformat(told["properties"][name])
        told["properties"][name] = at.isoformat()
    return told


def test_stac_geoparquet_reads_the_same_items(catalogue: Path, items: list[Json]) -> None:
    table = pq.read_table(catalogue)
    read = list(stac_geoparquet.arrow.stac_table_to_items(table))
    assert list(map(plain, read)) == list(map(plain, items))


def test_rustac_reads_the_same_items(catalogue: Path, items: list[Json]) -> None:
    read = rustac.read_sync(str(catalogue), set_self_link=False)["features"]
    assert list(map(plain, read)) == list(map(plain, items))


def test_duckdb_finds_the_mirrors_of_a_version_by_plain_sql(catalogue: Path) -> None:
    rows = duckdb.sql(
        f"""SELECT mirror.site, mirror.url, assets.data."file:checksum", published
        FROM '{catalogue}', unnest("fleet:mirrors") AS held(mirror)
        WHERE collection = '{DATASETS[4].id}' AND NOT deprecated"""
    ).fetchall()
    assert [row[:2] for row in rows] == [(one.site, one.template) for one in NEWEST.mirrors]
    assert {row[2:] for row in rows} == {(f"1220{NEWEST.artifacts[1].sha256}", NEWEST.published_at)}


def test_duckdb_finds_the_address_of_a_file_at_a_site(catalogue: Path) -> None:
    mirror, path = NEWEST.mirrors[-1], NEWEST.artifacts[1].path
    query = f"""SELECT assets.data.alternate."{mirror.site}".href FROM '{catalogue}'
        WHERE id = '{DATASETS[4].id}@{NEWEST.label}'"""
    assert duckdb.sql(query).fetchall() == [(mirror.url(path),)]


def test_duckdb_finds_what_lies_in_a_rectangle(catalogue: Path, items: list[Json]) -> None:
    query = f"""SELECT id FROM '{catalogue}'
        WHERE bbox.xmin < -120 AND bbox.xmax > -125 AND bbox.ymin < 50"""
    inside = [one["id"] for one in items if one["bbox"][0] < -120 and one["bbox"][2] > -125]
    assert [row[0] for row in duckdb.sql(query).fetchall()] == inside
    assert len(inside) > 0


def test_pyarrow_filters_it(catalogue: Path) -> None:
    asked = datasets.field("collection") == DATASETS[4].id
    table = datasets.dataset(catalogue).to_table(columns=["id", "version"], filter=asked)
    assert table["version"].to_pylist() == ["v0.0.0", "v0.1.0", "v0.2.0"]


def test_geopandas_draws_it(catalogue: Path, items: list[Json]) -> None:
    frame = geopandas.read_parquet(catalogue)
    assert frame.crs.to_string() == "OGC:CRS84"
    assert frame.geometry.bounds.to_numpy().tolist() == [one["bbox"] for one in items]


def test_gdal_without_its_parquet_driver_reads_it_through_duckdb(
    catalogue: Path, items: list[Json]
) -> None:
    if "ADBC" not in pyogrio.list_drivers():
        pytest.skip("this GDAL has no ADBC driver")
    frame = pyogrio.read_dataframe(
        f"ADBC:{catalogue}", ADBC_DRIVER=_duckdb.__file__, columns=["id", "sci:doi", "published"]
    )
    assert frame["id"].tolist() == [one["id"] for one in items]
    assert frame.geometry.bounds.to_numpy().tolist() == [one["bbox"] for one in items]
    assert frame["sci:doi"].tolist() == [one["properties"]["sci:doi"] for one in items]


def test_no_column_is_of_a_file_or_a_dataset(catalogue: Path) -> None:
    assert pq.read_metadata(catalogue).num_columns < 300


def test_rectangles_in_one_part_and_in_two_are_told_apart(tmp_path: Path) -> None:
    far = Description.model_validate({"extent": {"bbox": [170.0, -10.0, -170.0, 10.0]}})
    edition = Edition(tmp_path / "public", tmp_path / "memory", BASE, SITES)
    edition.put(by_id(*DATASETS, replace(sample(9), description=far)))
    edition.write()
    catalogue = tmp_path / "public" / "catalogue.parquet"
    frame = geopandas.read_parquet(catalogue)
    assert set(frame.geometry.geom_type) == {"Polygon", "MultiPolygon"}
    assert duckdb.sql(f"SELECT count(*) FROM '{catalogue}'").fetchall() == [(len(frame),)]
    for there in ((171.0, 0.0, 172.0, 1.0), (-172.0, 0.0, -171.0, 1.0)):
        near = geopandas.read_parquet(catalogue, bbox=there)
        found = near[near.geometry.intersects(shapely.box(*there))]
        assert set(found.collection) == {sample(9).id}


def test_fleet_imports_what_it_published(tmp_path: Path) -> None:
    dataset = sample(3, versions=1)
    edition = Edition(tmp_path / "public", tmp_path / "memory", BASE, SITES)
    edition.put(by_id(dataset))
    edition.write()
    table = tmp_path / "public" / "catalogue.parquet"
    draft = read_source(str(table), import_root=table.parent)
    [version] = dataset.entries
    assert {one.path: (one.size, one.sha256) for one in draft.artifacts} == {
        one.path: (one.size, one.sha256) for one in version.artifacts
    }
    wanted = {one.path: {m.url(one.path) for m in version.mirrors} for one in version.artifacts}
    assert {one.path: set(one.sources) for one in draft.artifacts} == wanted
