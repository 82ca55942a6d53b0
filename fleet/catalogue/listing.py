"""The list of a version's files, as a Parquet file that lies beside its Item.

One row for each file, by path: what it is, what proves it, and where it lies in which torrent.
"""

import io
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.catalogue.entry import Artifact, Entry

COLUMNS: Final = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("md5", pa.string()),
        ("media_type", pa.string()),
        ("role", pa.string()),
        ("shard", pa.int32()),
        ("infohash", pa.string()),
        ("offset", pa.int64()),
    ]
)
_GROUP_ROWS: Final = 50_000
_ALIKE: Final = ["media_type", "role", "shard", "infohash"]


def write_list(entry: Entry) -> bytes:
    """Write a version's list; the same files in the same torrents always give the same bytes."""
    torrents = {one.position: one.infohash for one in entry.shards}
    files = entry.artifacts
    columns = (
        [one.path for one in files],
        [one.size for one in files],
        [one.sha256 for one in files],
        [one.md5 or None for one in files],
        [one.media_type or None for one in files],
        [one.role for one in files],
        [one.shard for one in files],
        [torrents.get(-1 if one.shard is None else one.shard) for one in files],
        [one.offset for one in files],
    )
    arrays = [pa.array(told, kind.type) for told, kind in zip(columns, COLUMNS, strict=True)]
    file = io.BytesIO()
    table = pa.Table.from_arrays(arrays, schema=COLUMNS)
    pq.write_table(table, file, _GROUP_ROWS, compression="zstd", use_dictionary=_ALIKE)
    return file.getvalue()


def read_list(data: bytes) -> list[Artifact]:
    """Read what ``write_list`` wrote."""
    rows = pq.read_table(pa.BufferReader(data)).drop_columns("infohash").to_pylist()
    for row in rows:
        row |= {name: row[name] or "" for name in ("md5", "media_type")}
    return [Artifact(**row) for row in rows]
