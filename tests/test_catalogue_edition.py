"""The catalogue's files: the same bytes for the same state, and only what changed made anew."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fleet.catalogue import edition as editions
from fleet.catalogue import shelf
from fleet.catalogue.edition import Edition
from fleet.catalogue.entry import Artifact, Dataset
from fleet.catalogue.rows import to_items
from fleet.catalogue.texts import in_language
from tests.catalogue_support import BASE, SITES, Json, by_id, items_of, sample

TABLES = ("catalogue.parquet", "catalogue.en.parquet", "catalogue.fr.parquet")
DATASETS = [sample(number, versions=2) for number in range(12)]


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "SEGMENT_ROWS", 4)
    monkeypatch.setattr(editions, "IN_FOOTER", 5)


def opened(folder: Path, name: str = "a", sites: tuple[str, ...] = SITES) -> Edition:
    return Edition(folder / name, folder / f"{name}.memory", BASE, sites)


def written(folder: Path, *datasets: Dataset, name: str = "a") -> Edition:
    edition = opened(folder, name)
    edition.put(by_id(*datasets))
    edition.write()
    return edition


def files(folder: Path, name: str = "a") -> dict[str, bytes]:
    place = folder / name
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def items_in(path: Path) -> list[Json]:
    return [one for batch in pq.read_table(path).to_batches() for one in to_items(batch)]


def changed(dataset: Dataset) -> Dataset:
    """The same dataset after a copy of its newest version was lost."""
    *others, newest = dataset.entries
    return replace(dataset, entries=(*others, replace(newest, mirrors=newest.mirrors[1:])))


def listed(dataset: Dataset) -> Dataset:
    """The same dataset, whose newest version has three files of data."""
    *others, newest = dataset.entries
    more = tuple(Artifact(f"{name}.csv", 1, "a" * 64) for name in "ab")
    artifacts = (*newest.artifacts, *more)
    return replace(dataset, entries=(*others, replace(newest, artifacts=artifacts)))


def test_all_versions_are_in_one_table_sorted_by_dataset_and_version(tmp_path: Path) -> None:
    edition = written(tmp_path, *DATASETS)
    wanted = items_of(*(dataset for _, dataset in by_id(*DATASETS)))
    assert items_in(tmp_path / "a" / "catalogue.parquet") == wanted
    assert len(edition) == 24


@pytest.mark.parametrize("language", ["en", "fr"])
def test_each_language_has_a_table_of_its_own(tmp_path: Path, language: str) -> None:
    written(tmp_path, *DATASETS)
    items = items_in(tmp_path / "a" / f"catalogue.{language}.parquet")
    assert items == [
        {**one, "properties": in_language(one["properties"], language)}  # type: ignore[arg-type]
        for one in items_in(tmp_path / "a" / "catalogue.parquet")
    ]


def test_the_same_state_gives_the_same_bytes_however_it_came_about(tmp_path: Path) -> None:
    state = [*DATASETS[:-1], changed(DATASETS[-1])]
    written(tmp_path, *state)
    edition = opened(tmp_path, "b")
    for one in (DATASETS[7], DATASETS[0], changed(DATASETS[3]), sample(99)):
        edition.put([(one.id, one)])
        edition.write()
    edition.put(sorted([*by_id(*DATASETS[1:]), (sample(99).id, None)], key=lambda pair: pair[0]))
    edition.put(by_id(changed(DATASETS[-1])))
    edition.write()
    assert files(tmp_path, "b") == files(tmp_path, "a")


def test_a_second_write_changes_nothing(tmp_path: Path) -> None:
    written(tmp_path, *DATASETS)
    before = files(tmp_path)
    opened(tmp_path).write()
    assert files(tmp_path) == before


def test_only_what_changed_is_made_anew(tmp_path: Path) -> None:
    written(tmp_path, *DATASETS)
    memory, pages = tmp_path / "a.memory", tmp_path / "a" / "datasets"

    def inodes(folder: Path, pattern: str) -> dict[Path, int]:
        return {path: path.stat().st_ino for path in folder.rglob(pattern)}

    before = inodes(memory, "*.arrow") | inodes(pages, "*.json")
    written(tmp_path, changed(DATASETS[5]))
    after = inodes(memory, "*.arrow") | inodes(pages, "*.json")
    new = {path for path, inode in after.items() if before.get(path) != inode}
    place = pages / DATASETS[5].id
    assert {path for path in new if path.suffix == ".json"} == {
        place / "versions" / "v0.1.0" / "item.json"
    }
    assert len([path for path in new if path.suffix == ".arrow"]) == 1
    assert len([path for path in before if path.suffix == ".arrow"]) > 3


def test_every_page_leads_to_pages_that_are_there(tmp_path: Path) -> None:
    written(tmp_path, *DATASETS, listed(sample(50)))
    found = files(tmp_path)
    led = {
        href.removeprefix(f"{BASE}/")
        for name, data in found.items()
        if name.endswith(".json")
        for href in re.findall(rf'"({BASE}/[^"]*)"', data.decode())
    }
    assert led == {name for name in found if name.startswith("datasets/")} | {"catalogue.json"}


def test_a_list_of_files_lies_beside_its_item_as_that_says(tmp_path: Path) -> None:
    dataset = listed(sample(50))
    written(tmp_path, dataset)
    place = tmp_path / "a" / "datasets" / dataset.id / "versions" / "v0.9.0"
    asset = json.loads((place / "item.json").read_bytes())["assets"]["files"]
    assert asset["file:size"] == (place / "files.parquet").stat().st_size
    assert pq.read_table(place / "files.parquet")["path"].to_pylist()[-2:] == ["a.csv", "b.csv"]


def test_few_collections_are_in_the_footer_and_many_in_a_table(tmp_path: Path) -> None:
    few, sidecar = DATASETS[:5], tmp_path / "a" / "collections.parquet"

    def footer() -> Json:
        metadata = pq.read_metadata(tmp_path / "a" / "catalogue.fr.parquet").metadata
        told: Json = json.loads(metadata[b"stac-geoparquet"])
        return told

    edition = written(tmp_path, *few)
    assert footer()["version"] == "1.0.0"
    assert set(footer()["collections"]) == {one.id for one in few}
    assert footer()["collections"][few[0].id]["title"] == "Paquet de données 0"
    assert not sidecar.exists()
    written(tmp_path, *DATASETS)
    assert "collections" not in footer()
    told = [json.loads(one) for one in pq.read_table(sidecar)["collection"].to_pylist()]
    assert [one["id"] for one in told] == sorted(one.id for one in DATASETS)
    edition = opened(tmp_path)
    edition.put(sorted((one.id, None) for one in DATASETS[5:]))
    edition.write()
    assert not sidecar.exists()


def test_what_is_gone_is_in_no_table_and_has_no_page(tmp_path: Path) -> None:
    edition = written(tmp_path, *DATASETS)
    edition.put([(DATASETS[2].id, None)])
    edition.write()
    written(tmp_path, *DATASETS[:2], *DATASETS[3:], name="b")
    assert files(tmp_path) == files(tmp_path, "b")


def test_an_edition_without_versions_can_be_read(tmp_path: Path) -> None:
    edition = written(tmp_path)
    assert (len(edition), items_in(tmp_path / "a" / "catalogue.parquet")) == (0, [])


def test_a_dataset_has_tables_of_its_own(tmp_path: Path) -> None:
    edition = written(tmp_path, *DATASETS)
    edition.write_dataset(DATASETS[3].id)
    place = tmp_path / "a" / "datasets" / DATASETS[3].id
    assert items_in(place / "items.parquet") == items_of(DATASETS[3])
    french = items_in(place / "items.fr.parquet")
    assert french[0]["properties"]["title"] == "Paquet de données 3"
    edition.write_dataset("roads")
    assert not (tmp_path / "a" / "datasets" / "roads").exists()  # nobody told of it


def test_for_other_sites_or_from_a_damaged_memory_all_is_put_anew(tmp_path: Path) -> None:
    written(tmp_path, *DATASETS)
    assert len(opened(tmp_path)) == 24
    assert len(opened(tmp_path, sites=(*SITES, "zagreb"))) == 0
    segment = next((tmp_path / "a.memory").glob("*.arrow"))
    segment.rename(segment.with_suffix(".gone"))
    assert len(opened(tmp_path)) == 0
    (tmp_path / "a.memory" / "index.json").write_text("{")
    before = files(tmp_path)
    assert len(opened(tmp_path)) == 0
    written(tmp_path, *DATASETS)
    assert files(tmp_path) == before


def test_a_memory_with_a_flipped_bit_is_none(tmp_path: Path) -> None:
    written(tmp_path, *DATASETS)
    before = files(tmp_path)
    segment = next((tmp_path / "a.memory").glob("*.arrow"))
    body = bytearray(segment.read_bytes())
    body[len(body) // 2] ^= 1
    segment.write_bytes(body)
    assert len(opened(tmp_path)) == 0
    written(tmp_path, *DATASETS)
    assert files(tmp_path) == before
    assert len(opened(tmp_path)) == 24


def test_what_a_kill_left_in_the_memory_is_removed(tmp_path: Path) -> None:
    written(tmp_path, *DATASETS)
    (tmp_path / "a.memory" / ".abc.arrow.part").write_bytes(b"half")
    written(tmp_path, changed(DATASETS[1]))
    assert not list((tmp_path / "a.memory").glob(".*.part"))


def test_pages_of_a_version_that_is_gone_are_removed(tmp_path: Path) -> None:
    edition = written(tmp_path, *DATASETS)
    edition.write_dataset(DATASETS[3].id)
    less = replace(DATASETS[3], entries=DATASETS[3].entries[1:])
    edition.put(by_id(less))
    edition.write()
    edition.write_dataset(less.id)
    other = written(tmp_path, *DATASETS[:3], less, *DATASETS[4:], name="b")
    other.write_dataset(less.id)
    assert files(tmp_path) == files(tmp_path, "b")


def test_with_a_memory_that_was_lost_pages_of_what_is_gone_are_removed(tmp_path: Path) -> None:
    written(tmp_path, *DATASETS)
    shutil.rmtree(tmp_path / "a.memory")
    written(tmp_path, *DATASETS[1:])
    written(tmp_path, *DATASETS[1:], name="b")
    assert files(tmp_path) == files(tmp_path, "b")


def test_a_dataset_that_no_rows_can_be_made_of_keeps_its_pages(tmp_path: Path) -> None:
    edition = written(tmp_path, *DATASETS)
    before = files(tmp_path)
    *others, newest = listed(DATASETS[4]).entries
    strange = replace(newest.mirrors[0], site="atlantis")
    bad = replace(DATASETS[4], entries=(*others, replace(newest, mirrors=(strange,))))
    with pytest.raises(ValueError, match="there is no column for atlantis"):
        edition.put(by_id(bad))
    assert files(tmp_path) == before


def test_a_full_disk_leaves_no_table_newer_than_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, *DATASETS)
    before = files(tmp_path)
    sync, left = os.fsync, [1]

    def full(descriptor: int) -> None:
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left.pop()
        sync(descriptor)

    edition = opened(tmp_path)
    edition.put(by_id(changed(DATASETS[5])))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        edition.write()
    after = files(tmp_path)
    assert {name: after[name] for name in TABLES} == {name: before[name] for name in TABLES}
    assert not [name for name in after if name.endswith(".part")]


def test_datasets_out_of_order_are_refused_and_change_nothing(tmp_path: Path) -> None:
    edition = written(tmp_path, *DATASETS)
    before = files(tmp_path)
    with pytest.raises(ValueError, match="sort them by their ids"):
        edition.put(reversed(list(by_id(*DATASETS))))
    edition.write()
    assert files(tmp_path) == before
    assert len(opened(tmp_path)) == 24


def test_what_breaks_off_leaves_the_rows_as_they_were(tmp_path: Path) -> None:
    written(tmp_path, *DATASETS)
    before = (tmp_path / "a" / "catalogue.parquet").read_bytes()

    def broken() -> Iterator[tuple[str, Dataset]]:
        yield DATASETS[0].id, changed(DATASETS[0])
        raise OSError("the database is away")

    edition = opened(tmp_path)
    with pytest.raises(OSError, match="away"):
        edition.put(broken())
    opened(tmp_path).write()
    assert (tmp_path / "a" / "catalogue.parquet").read_bytes() == before
