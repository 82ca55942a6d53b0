"""The ledger as a Parquet file, for programs: what was fetched from where, and where it lies now.

It is told here; ``fleet.control.ledger`` is what writes it.  One row for each artifact of a version
and site that has a copy of it or is to have one; one without a site for an artifact that is nowhere
yet.  A null says that it is not known, or not kept.  The columns, the first ten as in the ledgers
that ingests keep:

- ``url``: where the file is fetched from first; null where it came from a folder of the centre.
- ``dataset_id``: the dataset's own id, whatever name was asked for.
- ``status``: the state of the copy of the shard that the file lies in (``pending``, ``copying``,
  ``available``, ``suspect``, ``bad``, ``missing``, ``leaving``); a copy at a site that is at fault
  as a whole is ``suspect`` until it was read anew.  Without a site it is the artifact's own:
  ``expected``, ``known`` or ``excluded``.
- ``http_status``: null; an answer that was no file is told in ``error``, in words.
- ``etag``: null; those of mirrors depend on the size of their parts, and identify no bytes.
- ``error``: why the copy does not count, or what the last attempt to bring it failed for; null
  where nothing is wrong.
- ``started_at``, ``finished_at``: the last attempt that was to bring the file to the site: from
  ``url`` where that was done there, else from another copy.
- ``part_size``, ``part_count``: null; how an upload was cut into parts is not kept.
- ``size``, ``sha256``, ``md5``: of the file, as its source said or as it was read; a file's md5
  stays null where nobody asked for it.
- ``site``: where the copy lies or is to lie.
- ``verified_at``: when the copy was last read there from end to end and proved.
- ``version``, ``path``: which file it is: one URL may be in several versions.

Rules this module keeps:

- One view of the store gives all rows, sorted by dataset, version, path and site; the same state
  gives the same bytes.
- Rows are streamed: no more of them than one row group's are held at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from sqlmodel import Session

from fleet.control import incidents
from fleet.control.errors import NotFoundError
from fleet.importers import CENTRE
from fleet.planning.states import AttemptState, ReplicaState
from fleet.store import exports, versioning

GROUP_ROWS = 20_000

_MOMENT = pa.timestamp("us", tz="UTC")
SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("dataset_id", pa.string()),
        ("status", pa.string()),
        ("http_status", pa.int16()),
        ("etag", pa.string()),
        ("error", pa.string()),
        ("started_at", _MOMENT),
        ("finished_at", _MOMENT),
        ("part_size", pa.int64()),
        ("part_count", pa.int32()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("md5", pa.string()),
        ("site", pa.string()),
        ("verified_at", _MOMENT),
        ("version", pa.string()),
        ("path", pa.string()),
    ]
)
_FAILED = frozenset({AttemptState.FAILED, AttemptState.EXPIRED})
_COMING = frozenset({ReplicaState.PENDING, ReplicaState.COPYING})  # their reasons are why
NOT_KEPT = ("http_status", "etag", "part_size", "part_count")
_KEPT = [name for name in SCHEMA.names if name not in NOT_KEPT]


@dataclass(frozen=True)
class Selection:
    """What is to be exported: versions (dataset, id and label), and how many rows they give."""

    versions: tuple[tuple[str, str, str], ...]
    rows: int


def select(session: Session, dataset: str | None) -> Selection:
    """Find what there is of a dataset, by its id or an old name of it; or of all.

    Raises:
        NotFoundError: there is no such dataset.
    """
    owner = None
    if dataset is not None:
        found = versioning.find_dataset(session, dataset)
        if found is None:
            raise NotFoundError(f"there is no dataset {dataset!r}; `fleet status` lists them")
        owner = found.id
    versions = exports.versions(session, owner)
    return Selection(tuple(versions), sum(exports.count(session, one) for _, one, _ in versions))


def write(
    session: Session, selection: Selection, file: BinaryIO, progress: Callable[[int], None]
) -> None:
    """Write what was selected in this same view of the store to ``file``, as Parquet.

    ``progress`` is told how many rows are written so far.
    """
    rows, done = _rows(session, selection), 0
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        while group := list(islice(rows, GROUP_ROWS)):
            writer.write_batch(_batch(group))
            done += len(group)
            progress(done)


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    kept = dict(zip(_KEPT, zip(*rows, strict=True), strict=True))
    return pa.record_batch(
        [
            pa.array(kept[field.name], field.type)
            if field.name in kept
            else pa.nulls(len(rows), field.type)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )


def _rows(session: Session, selection: Selection) -> Iterator[tuple[Any, ...]]:
    """Give the rows, in the order of ``_KEPT``."""
    at_fault = {site: one.reason for site, one in incidents.judged(session).items()}
    for dataset, version, label in selection.versions:
        for copy in exports.copies(session, version):
            path, site, origin, size, sha256, md5, verified, began, ended, *rest = copy
            status, error = _Standing(*rest).told(at_fault.get(site, ""))
            url = None if origin is None or origin.startswith(CENTRE) else origin
            yield (
                *(url, dataset, status, error or None, began, ended, size, sha256, md5),
                *(site, verified, label, path),
            )


class _Standing(NamedTuple):
    """How a file stands, its copy, and the last attempt to bring it there: the end of a row."""

    file: str
    file_reason: str
    copy: str | None
    copy_reason: str
    counts: bool
    attempt: str | None
    attempt_reason: str

    def told(self, incident: str) -> tuple[str, str]:
        """Tell ``status`` and ``error``; ``incident`` is what is wrong with the whole site."""
        if self.counts:
            return ReplicaState.AVAILABLE, ""
        failed = self.attempt_reason if self.attempt in _FAILED else ""
        if self.copy is None:
            return self.file, self.file_reason or failed
        if self.copy in _COMING:
            return self.copy, failed
        if self.copy == ReplicaState.AVAILABLE:
            return ReplicaState.SUSPECT, incident
        return self.copy, self.copy_reason
