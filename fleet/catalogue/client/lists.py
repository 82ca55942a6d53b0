"""The files of a version, from the table that lies beside its Item."""

from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.catalogue.client.offer import File, OfferError
from fleet.catalogue.listing import COLUMNS

_WANTED: Final = ("path", "size", "sha256", "role", "shard", "infohash", "offset")
_ALWAYS: Final = ("path", "size", "sha256", "role")


def read_table(data: bytes) -> list[File]:
    """Read a ``files.parquet``, whose digest was checked.

    Raises:
        OfferError: it is none.
    """
    try:
        table = pq.read_table(pa.BufferReader(data), columns=list(_WANTED))
        table = table.cast(pa.schema([COLUMNS.field(name) for name in _WANTED]))
        rows = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OfferError(f"the list of the files cannot be read: {str(error)[:200]}") from error
    if any(table[name].null_count for name in _ALWAYS):
        raise OfferError(f"the list of the files lacks one of {', '.join(_ALWAYS)}")
    return [File(**{**row, "infohash": row["infohash"] or ""}) for row in rows]
