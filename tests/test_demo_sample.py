import csv
import hashlib
import io
import json
import struct
import time
import zipfile
from pathlib import Path
from random import Random
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest

from fleet.cli.demo import large
from fleet.cli.demo.paths import ADDRESSES, BOUNDARIES, ORTHOIMAGERY, PROFILE
from fleet.cli.demo.sample import SampleFile, make_sample

SCALE = 0.01


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[SampleFile]]:
    folder = tmp_path_factory.mktemp("sample")
    return folder, make_sample(folder, scale=SCALE)


def test_what_is_said_of_each_file_is_so(sample: tuple[Path, list[SampleFile]]) -> None:
    folder, files = sample
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert on_disk == {file.path for file in files}
    assert len(files) == len(on_disk)
    for file in files:
        content = (folder / file.path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)
    assert len({file.sha256 for file in files}) == len(files)


def test_the_same_seed_makes_the_same_bytes_and_another_makes_others(
    sample: tuple[Path, list[SampleFile]], tmp_path: Path
) -> None:
    _, files = sample
    assert make_sample(tmp_path, scale=SCALE) == files
    others = make_sample(tmp_path, scale=SCALE, seed=1)
    assert [file.path for file in others] == [file.path for file in files]
    assert not {file.sha256 for file in others} & {file.sha256 for file in files}


def test_there_are_four_larger_files_and_about_300_small_ones_in_folders(
    sample: tuple[Path, list[SampleFile]],
) -> None:
    _, files = sample
    larger = {ORTHOIMAGERY, ADDRESSES, PROFILE, BOUNDARIES}
    assert larger < {file.path for file in files}
    assert 280 <= len(files) - len(larger) <= 320
    assert {"csv", "geojson", "xml", "md", "txt"} <= {file.path.split(".")[-1] for file in files}
    assert any(not file.path.isascii() for file in files)
    assert len({file.path.rpartition("/")[0] for file in files}) > 20


def varints(data: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number, shift = 0, 0
    return numbers


def test_the_orthoimagery_is_a_pmtiles_archive(sample: tuple[Path, list[SampleFile]]) -> None:
    data = (sample[0] / ORTHOIMAGERY).read_bytes()
    assert data[:8] == b"PMTiles\x03"
    root_at, root, meta_at, meta, _, leaves, tiles_at, tiles, *counts = struct.unpack_from(
        "<11Q", data, 8
    )
    assert (root_at, leaves) == (127, 0)
    assert (meta_at, tiles_at) == (root_at + root, meta_at + meta)
    assert len(data) == tiles_at + tiles
    assert root_at + root <= 16384
    assert "name" in json.loads(data[meta_at : meta_at + meta])
    count, *columns = varints(data[root_at : root_at + root])
    assert counts == [count] * 3
    assert sum(columns[2 * count : 3 * count]) == tiles
    assert columns[3 * count :] == [1] + [0] * (count - 1)
    west, south, east, north = struct.unpack_from("<4i", data, 102)
    assert west < east
    assert south < north


def test_the_addresses_are_geoparquet(sample: tuple[Path, list[SampleFile]]) -> None:
    table = pq.read_table(sample[0] / ADDRESSES)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    column = geo["columns"][geo["primary_column"]]
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Point"])
    west, south, east, north = column["bbox"]
    for wkb in table[geo["primary_column"]].to_pylist()[:100]:
        order, kind, longitude, latitude = struct.unpack("<BIdd", wkb)
        assert (order, kind) == (1, 1)
        assert west <= longitude <= east
        assert south <= latitude <= north


def test_archives_and_small_files_can_be_read(sample: tuple[Path, list[SampleFile]]) -> None:
    folder, files = sample
    for path in (PROFILE, BOUNDARIES):
        assert zipfile.ZipFile(folder / path).testzip() is None
    for file in files:
        text = (folder / file.path).read_bytes()
        if file.path.endswith(".geojson"):
            assert json.loads(text)["type"] == "FeatureCollection"
        elif file.path.endswith(".csv"):
            rows = list(csv.DictReader(io.StringIO(text.decode())))
            assert rows[0]["dguid"].startswith("2021S0512")
        elif file.path.endswith(".xml"):
            assert ET.fromstring(text).tag == "metadata"


def test_at_full_scale_the_largest_file_has_over_100_mb_and_is_made_quickly() -> None:
    begun = time.process_time()
    size = sum(len(chunk) for chunk in large.pmtiles(Random(1), 1.0))
    assert size > 100_000_000
    assert time.process_time() - begun < 1.5
