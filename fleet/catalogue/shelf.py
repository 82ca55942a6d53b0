"""The rows of all datasets as they were last written, so that only what changed is made anew.

Rules this module keeps:

- What lies here follows from what was put here; it may be deleted at any time, and all is put anew.
- Rows are in segments of whole datasets, in the order of their ids.  A change writes the segments
  that it touches under new names; the index that names them is replaced last, and whatever it does
  not name is nobody's.
- Rows for other columns, or of another make, are none: a shelf is empty for whom it does not fit,
  and so is one that is damaged: a segment is named by the digest of its bytes.
"""

import hashlib
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate, groupby, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import ipc

from fleet.catalogue import pages
from fleet.catalogue.whole import PART, replacing

Json = dict[str, Any]

MAKE: Final = 3  # to be raised when the same values give other rows
SEGMENT_ROWS: Final = 2_000  # at least, and less than twice that beside a dataset's own
_COLLECTION: Final = "_collection"
_INDEX: Final = "index.json"
_OPTIONS: Final = ipc.IpcWriteOptions(compression="zstd")


Change = tuple[str, pa.RecordBatch | None]
"""A dataset's id, and the rows that it has now; None if it is in the catalogue no more."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """A file of rows: the least id of the datasets in it, and how many there are of both."""

    name: str
    first: str
    datasets: int
    rows: int


class Shelf:
    """A folder of rows for certain columns, whose links lead below ``base``."""

    def __init__(self, folder: Path, columns: pa.Schema, base: str) -> None:
        """Open it, or make it."""
        self.columns = columns
        self._folder = folder
        self._own = columns.append(pa.field(_COLLECTION, pa.string()))
        made = f"{MAKE} {pa.__version__} {base} ".encode() + columns.serialize().to_pybytes()
        self._make = hashlib.sha256(made).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        self._segments = self._read_index()

    def __len__(self) -> int:
        """Count the rows."""
        return sum(one.rows for one in self._segments)

    @property
    def datasets(self) -> int:
        """How many datasets there are."""
        return sum(one.datasets for one in self._segments)

    def with_collections(
        self, rows: pa.RecordBatch, collections: Mapping[int, Json]
    ) -> pa.RecordBatch:
        """Add to rows, at the first one of each dataset, its Collection."""
        texts = {at: json.dumps(one, ensure_ascii=False) for at, one in collections.items()}
        told = [texts.get(at) for at in range(len(rows))]
        return pa.record_batch([*rows.columns, pa.array(told, pa.string())], schema=self._own)

    def put(self, changes: Iterable[Change]) -> None:
        """Take changed datasets ``with_collections``, each once, in the order of their ids.

        Raises:
            ValueError: they are in another order.
        """
        ahead, after = _Ahead(changes), list[_Segment]()
        limits = [*(one.first for one in self._segments[1:]), None]
        for segment, limit in zip_longest(self._segments, limits):
            if segment is not None and not ahead.any_before(limit):
                after.append(segment)
                continue
            theirs = self._split(segment) if segment else iter(())
            merged = _merged(ahead.before(limit), theirs)
            after += [self._write(piece) for piece in _pieces(merged)]
        self._replace_index(after)

    def rows(self) -> Iterator[pa.RecordBatch]:
        """Give the rows of all datasets, in the order of their ids."""
        for segment in self._segments:
            yield self._read(segment).drop_columns([_COLLECTION])

    def collections(self) -> Iterator[Json]:
        """Give the Collections of all datasets, in the order of their ids."""
        place = self._own.get_field_index(_COLLECTION)
        for segment in self._segments:
            [told] = self._read(segment, included_fields=[place]).columns
            yield from map(json.loads, told.drop_null().to_pylist())

    def _split(self, segment: _Segment) -> Iterator[Change]:
        rows, at = self._read(segment), 0
        for dataset, same in groupby(rows["collection"].to_pylist()):
            count = sum(1 for _ in same)
            yield dataset, rows.slice(at, count)
            at += count

    def _write(self, piece: Sequence[pa.RecordBatch]) -> _Segment:
        rows = pa.concat_batches(piece)
        sink = pa.BufferOutputStream()
        with ipc.new_file(sink, self._own, options=_OPTIONS) as file:
            file.write_batch(rows)
        data = sink.getvalue().to_pybytes()
        name = f"{_digest(data)}.arrow"
        pages.put(self._folder / name, data)
        return _Segment(name, rows["collection"][0].as_py(), len(piece), len(rows))

    def _read(self, segment: _Segment, **options: Any) -> pa.RecordBatch:
        with pa.memory_map(str(self._folder / segment.name)) as data:
            file = ipc.open_file(data, options=ipc.IpcReadOptions(**options))
            return file.get_batch(0)

    def _read_index(self) -> list[_Segment]:
        try:
            told = json.loads((self._folder / _INDEX).read_bytes())
            found = [_Segment(**one) for one in told["segments"]]
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return []
        fits = told.get("make") == self._make
        return found if fits and all(self._is_whole(one) for one in found) else []

    def _is_whole(self, segment: _Segment) -> bool:
        try:
            data = (self._folder / segment.name).read_bytes()
        except FileNotFoundError:
            return False
        return segment.name == f"{_digest(data)}.arrow"

    def _replace_index(self, segments: list[_Segment]) -> None:
        pages.settle()  # what the index names has to be there when the index is
        index = {"make": self._make, "segments": [asdict(one) for one in segments]}
        with replacing(self._folder / _INDEX) as file:
            file.write(json.dumps(index).encode())
        self._segments = segments
        named = {one.name for one in segments}
        for path in (*self._folder.glob("*.arrow"), *self._folder.glob(f".*{PART}")):
            if path.name not in named:
                path.unlink()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


class _Ahead:
    """Changes in the order of their ids, the next of which is known."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self._rest = iter(changes)
        self._next = next(self._rest, None)

    def any_before(self, limit: str | None) -> bool:
        """Whether the next one's id is less than ``limit``; None is above all."""
        return self._next is not None and (limit is None or self._next[0] < limit)

    def before(self, limit: str | None) -> Iterator[Change]:
        """Give all whose ids are less than ``limit``."""
        while self._next is not None and self.any_before(limit):
            one, self._next = self._next, next(self._rest, None)
            if self._next is not None and self._next[0] <= one[0]:
                raise ValueError(f"{self._next[0]} comes after {one[0]}: sort them by their ids")
            yield one


def _merged(new: Iterator[Change], old: Iterator[Change]) -> Iterator[pa.RecordBatch]:
    by_id = itemgetter(0)
    for _, same in groupby(heapq.merge(new, old, key=by_id), by_id):
        _, rows = next(same)  # the new ones come first
        if rows is not None:
            yield rows


def _pieces(datasets: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Put datasets together, so that no piece is a small one beside others."""
    held: list[pa.RecordBatch] = []
    have = 0
    for rows in datasets:
        held.append(rows)
        have += len(rows)
        if have >= 2 * SEGMENT_ROWS:
            sizes = accumulate(map(len, held))
            enough = 1 + next(at for at, size in enumerate(sizes) if size >= SEGMENT_ROWS)
            yield held[:enough]
            held = held[enough:]
            have = sum(map(len, held))
    if held:
        yield held
