"""Items as rows of tables: nothing is lost on the way there and back."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from fleet.catalogue import columns, table, texts
from fleet.catalogue.entry import Dataset
from fleet.catalogue.listing import read_list, write_list
from fleet.catalogue.rows import in_language, to_items, to_rows
from fleet.descriptions import LANGUAGES
from tests.catalogue_strategies import any_dataset, unhurried
from tests.catalogue_support import SITES, Json, items_of, sample, sites_of

COLUMNS = columns.schema(SITES)


def _through_a_file(items: list[Json], sites: list[str]) -> list[Json]:
    file, own = io.BytesIO(), columns.schema(sites)
    table.write_items([(file, None)], [to_rows(items, own)], own, [])
    batches = pq.read_table(pa.BufferReader(file.getvalue())).to_batches()
    return [one for batch in batches for one in to_items(batch)]


@unhurried
@given(any_dataset)
def test_an_item_comes_back_from_a_file_exactly_as_it_was(dataset: Dataset) -> None:
    items = items_of(dataset)
    assert _through_a_file(items, sites_of(dataset)) == items


@unhurried
@given(any_dataset)
def test_the_rows_of_a_language_are_the_items_in_that_language(dataset: Dataset) -> None:
    items = items_of(dataset)
    for language in LANGUAGES:
        own = [
            {**one, "properties": texts.in_language(one["properties"], language)} for one in items
        ]
        assert to_items(in_language(to_rows(items, COLUMNS), language)) == own


@unhurried
@given(any_dataset)
def test_a_list_of_files_comes_back_exactly_as_it_was(dataset: Dataset) -> None:
    for entry in dataset.entries:
        assert read_list(write_list(entry)) == list(entry.artifacts)


def test_what_there_is_no_column_for_is_refused_by_name() -> None:
    item, *_ = items_of(sample(1))
    item["properties"]["fleet:mood"] = "good"
    with pytest.raises(ValueError, match=f"{item['id']}: there is no column for fleet:mood"):
        to_rows([item], COLUMNS)
    item, *_ = items_of(sample(1))
    with pytest.raises(ValueError, match="there is no column for"):
        to_rows([item], columns.schema(["nowhere"]))
    item["assets"]["thumbnail"] = {"href": "https://a.example"}
    with pytest.raises(ValueError, match="there is no column for thumbnail"):
        to_rows([item], COLUMNS)


def test_how_rows_are_batched_changes_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "CUT_ROWS", 7)
    monkeypatch.setattr(table, "GROUP_ROWS", 21)
    rows = to_rows(items_of(*map(sample, range(5))), COLUMNS)
    written = set()
    for size in (1, 3, 7, 8, 50):
        file = io.BytesIO()
        batches = [rows.slice(at, size) for at in range(0, 50, size)]
        table.write_items([(file, None)], batches, COLUMNS, None)
        written.add(file.getvalue())
    [data] = written
    groups = pq.ParquetFile(pa.BufferReader(data)).metadata
    assert [groups.row_group(one).num_rows for one in range(3)] == [21, 21, 8]
