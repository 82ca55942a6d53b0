"""Finding a version in the table of all versions, by the name that commands give it.

Only the columns and rows that are asked for are read, however large the table is.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.catalogue.rows import to_items
from fleet.planning.states import VersionState

Json = dict[str, Any]
LATEST: Final = "latest"
_MOST: Final = 3


class NotHereError(Exception):
    """The catalogue has nothing of that name; the message says what comes near it."""


def find(table: Path, name: str) -> Json:
    """Return the Item of ``DATASET``, ``DATASET@LABEL`` or ``DATASET@latest``.

    Raises:
        NotHereError: there is no such dataset or version.
        OSError, ValueError: the table cannot be read, or is none of versions.
    """
    try:
        return _found(table, name)
    except (KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        told = f"{type(error).__name__}: {error}"
        raise ValueError(f"{table.name} is no table of versions ({told[:150]})") from error


def _found(table: Path, name: str) -> Json:
    dataset, _, label = name.partition("@")
    rows = pq.read_table(table, filters=[("collection", "==", dataset)])
    if not len(rows):
        every = pq.read_table(table, columns=["collection"])["collection"].unique().to_pylist()
        raise NotHereError(f"the catalogue has no dataset {dataset!r}{near(dataset, every)}")
    items = sorted(
        (item for batch in rows.to_batches() for item in to_items(batch)),
        key=lambda item: int(item["properties"]["fleet:sequence"]),
    )
    if label in {"", LATEST}:
        return _latest(dataset, items)
    for item in items:
        if item["properties"]["version"] == label:
            return item
    labels = [str(item["properties"]["version"]) for item in reversed(items)]
    raise NotHereError(
        f"{dataset} has no version {label!r}{near(label, labels)}; it has {_few(labels)}"
    )


def near(name: str, names: Iterable[str]) -> str:
    """Say which names a name may have been meant for; empty where none is like it."""
    every = list(names)
    folded = name.casefold()
    like = [one for one in every if folded and folded in one.casefold()][:_MOST]
    like = like or get_close_matches(name, every, _MOST)
    return f": did you mean {' or '.join(like)}?" if like else ""


def _latest(dataset: str, items: Sequence[Json]) -> Json:
    published = [one for one in items if one["properties"]["fleet:state"] == VersionState.PUBLISHED]
    if not published:
        labels = [str(one["properties"]["version"]) for one in reversed(items)]
        raise NotHereError(
            f"{dataset} has no version that is meant to be taken now; "
            f"an older one may be named: {_few(labels)}"
        )
    return published[-1]


def _few(labels: Sequence[str]) -> str:
    more = len(labels) - _MOST
    return ", ".join(labels[:_MOST]) + (f" and {more} more" if more > 0 else "")
