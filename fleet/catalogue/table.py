"""Tables of Items, and of Collections, as GeoParquet files.

Rules this module keeps:

- The same rows give the same bytes, in whatever batches they come: they are cut anew.
- No more rows are held than go into one row group.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleet.catalogue import texts
from fleet.catalogue.columns import NARROWING, SORTED, alike, of_one_language
from fleet.catalogue.footprint import Box, covering, geometry, to_wkb
from fleet.catalogue.rows import in_language
from fleet.descriptions import Language

Json = dict[str, Any]

GROUP_ROWS: Final = 50_000
CUT_ROWS: Final = 5_000
_CODEC: Final[dict[str, Any]] = {"compression": "zstd", "compression_level": 3}
_SIDES: Final = ("xmin", "ymin", "xmax", "ymax")
_COLLECTIONS: Final = pa.schema(
    [
        ("id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("license", pa.string()),
        ("version", pa.string()),
        ("sci:doi", pa.string()),
        ("geometry", pa.binary()),
        ("bbox", pa.struct([(side, pa.float64()) for side in _SIDES])),
        ("collection", pa.string()),
    ]
)


def write_items(
    files: Sequence[tuple[BinaryIO, Language | None]],
    rows: Iterable[pa.RecordBatch],
    columns: pa.Schema,
    collections: Sequence[Json] | None,
) -> None:
    """Write sorted rows of Items, in both languages, into several files at once.

    Args:
        files: each with the language that it shall be in; none: both.
        rows: in the order of ``columns.SORTED``.
        columns: of the rows.
        collections: of these Items, where the files shall have them.
    """
    kinds = set[str]()
    with ExitStack() as stack:
        writers = [
            (stack.enter_context(_writer(file, columns, language)), language)
            for file, language in files
        ]
        for group in _groups(rows):
            kinds.update(*(_kinds(batch["geometry"]) for batch in group))
            for writer, language in writers:
                writer.write_table(
                    pa.Table.from_batches(_in(language, batch) for batch in group), GROUP_ROWS
                )
            group.clear()  # or it would be held until the next one is whole
        for writer, language in writers:
            writer.add_key_value_metadata(
                {"geo": _geo(kinds), "stac-geoparquet": _stac(collections, language)}
            )


def _writer(file: BinaryIO, columns: pa.Schema, language: Language | None) -> pq.ParquetWriter:
    own = columns if language is None else of_one_language(columns)
    return pq.ParquetWriter(
        file,
        own,
        **_CODEC,
        use_dictionary=alike(own),
        write_statistics=list(NARROWING),
        sorting_columns=[pq.SortingColumn(own.get_field_index(name)) for name in SORTED],
    )


def _kinds(geometries: pa.Array) -> list[str]:
    """Name the types of geometries, which readers would else have to guess."""
    kinds = pc.unique(pc.binary_slice(geometries, 1, 2)).to_pylist()
    return ["MultiPolygon" if kind == b"\6" else "Polygon" for kind in kinds]


def _geo(kinds: Iterable[str]) -> str:
    geometry = {
        # of no stated reference system, it is in longitudes and latitudes (CRS84)
        "encoding": "WKB",
        "geometry_types": sorted(kinds) or ["Polygon"],
        "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
    }
    told = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    return json.dumps(told)


def _stac(collections: Sequence[Json] | None, language: Language | None) -> str:
    told: Json = {"version": "1.0.0"}
    if collections is not None:
        told["collections"] = {
            one["id"]: one if language is None else texts.in_language(one, language)
            for one in collections
        }
    return json.dumps(told, ensure_ascii=False)


def _in(language: Language | None, rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows if language is None else in_language(rows, language)


def write_collections(file: BinaryIO, collections: Iterable[Json]) -> None:
    """Write Collections, each with the whole of it as JSON."""
    rows, kinds = map(_collection_row, collections), set[str]()
    with pq.ParquetWriter(file, _COLLECTIONS, **_CODEC) as writer:
        while some := pa.RecordBatch.from_pylist(list(islice(rows, CUT_ROWS)), _COLLECTIONS):
            kinds.update(_kinds(some["geometry"]))
            writer.write_batch(some)
        writer.add_key_value_metadata({"geo": _geo(kinds)})


def cut(rows: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """Cut rows into batches of ``size``, each in one piece, and a last one of the rest."""
    held: list[pa.RecordBatch] = []
    have = 0
    for batch in rows:
        at = 0
        while have + len(batch) - at >= size:
            held.append(batch.slice(at, size - have))
            at += size - have
            yield pa.concat_batches(held)
            held, have = [], 0
        if at < len(batch):
            held.append(batch.slice(at))
            have += len(batch) - at
    if held:
        yield pa.concat_batches(held)


def _groups(rows: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    batches = cut(rows, CUT_ROWS)
    while group := list(islice(batches, GROUP_ROWS // CUT_ROWS)):
        yield group


def _collection_row(one: Json) -> Json:
    [box] = one["extent"]["spatial"]["bbox"]
    rectangle: Box = (box[0], box[1], box[2], box[3])
    return {
        **{name: one.get(name) for name in ("id", "title", "description", "license", "version")},
        "sci:doi": one.get("sci:doi"),
        "geometry": to_wkb(geometry(rectangle)),
        "bbox": dict(zip(_SIDES, covering(rectangle), strict=True)),
        "collection": json.dumps(one, ensure_ascii=False),
    }
