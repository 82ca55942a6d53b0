"""Reads a Parquet table of STAC Items in a process of its own, and writes its Items as lines.

A damaged or hostile Parquet file can end the process that reads it, or take all of its memory:
Arrow throws where nothing catches.  So this process has nothing to lose; it takes the table from
its standard input, within limits of memory and time, and writes an Item a line as JSON, or a line
with the reason why it cannot.  Of an Item only what tells of files is read.
"""

import json
import math
import resource
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pyarrow as pa
from pyarrow import parquet

MAX_ROWS = 1_000_000
_MAX_MEMORY = 2 * 1024**3  # bytes of addresses, most of which Arrow reserves and never touches
_MAX_SECONDS = 300  # of computing
_ROWS_AT_ONCE = 500
_WANTED = ("href", "file:size", "file:checksum", "roles")

Row = dict[str, Any]


def main() -> None:
    """Read the table on standard input."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_SECONDS, _MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        for row in _rows(sys.stdin.buffer.read()):
            print(json.dumps(row, default=repr))  # noqa: T201 - it is what this process is for
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        print(json.dumps({"refused": why}))  # noqa: T201 - as above


def _rows(data: bytes) -> Iterator[Row]:
    table = parquet.ParquetFile(BytesIO(data))
    if table.metadata.num_rows > MAX_ROWS:
        raise ValueError(f"it has {table.metadata.num_rows:,} rows, more than {MAX_ROWS:,}")
    columns = list(_columns(table.schema_arrow))
    if not columns:
        raise ValueError("it has no column of STAC assets, so it is data and no catalogue")
    for batch in table.iter_batches(_ROWS_AT_ONCE, columns=columns, use_threads=False):
        for row in batch.to_pylist():
            assets = {name: _bare(asset) for name, asset in (row.get("assets") or {}).items()}
            yield {
                "type": "Feature",
                "id": row.get("collection") or row.get("id"),
                "assets": {name: asset for name, asset in assets.items() if asset.get("href")},
            }


def _columns(schema: pa.Schema) -> Iterator[str]:
    """Yield the columns to be read, by their paths."""
    if "assets" not in schema.names or not pa.types.is_struct(schema.field("assets").type):
        return
    yield from (name for name in ("id", "collection") if name in schema.names)
    for asset in schema.field("assets").type:
        if not pa.types.is_struct(asset.type):
            continue
        for part in asset.type:
            if part.name in _WANTED:
                yield f"assets.{asset.name}.{part.name}"
            elif part.name == "alternate" and pa.types.is_struct(part.type):
                yield from (f"assets.{asset.name}.alternate.{one.name}.href" for one in part.type)


def _bare(asset: Row | None) -> Row:
    """Return an asset without the nulls of a table, in which every Item has every asset."""
    return {key: value for key, value in (asset or {}).items() if not _missing(value)}


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


if __name__ == "__main__":
    main()
