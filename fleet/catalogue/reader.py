"""Reading a catalogue that somebody has: its table, and nothing but files.

Rules this module keeps:

- What is not asked for is not read: rows are narrowed by the values that are noted for each row
  group, and only the columns that are needed are held, a batch at a time.
- A table may be anybody's: what it lacks, or has of another kind, is an error and no crash.  One of
  another release may have other columns beside those that are read.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute as pc
from pyarrow import dataset as datasets

from fleet.catalogue import columns
from fleet.catalogue.footprint import Box, bounds, from_wkb, meet
from fleet.catalogue.near import few, near
from fleet.catalogue.rows import to_items
from fleet.planning.states import VersionState

Json = dict[str, Any]

TABLE: Final = "catalogue.parquet"
SIDECAR: Final = "collections.parquet"
_ROWS_AT_ONCE: Final = 2_000
_TEXTS: Final = ("collection", "title", "fleet:title_fr", "keywords", "fleet:keywords_fr")
_TOLD: Final = (*("id", "version", "license", "sci:doi", "fleet:files", "fleet:size"), "geometry")
_NEEDED: Final = frozenset(
    {*_TEXTS, *_TOLD, "type", "geometry", "bbox", "links", "assets", "deprecated"}
    | {"stac_version", "stac_extensions"}
    | {"published", "fleet:state", "fleet:sequence", "fleet:mirrors"}
)
_SAID: Final = ("collection", "version", "license", "fleet:files", "fleet:size")  # by every row


class CatalogueError(ValueError):
    """A catalogue cannot be read, or has not what is asked for; the message says what."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for: all of it has to hold.

    Attributes:
        words: that all stand in the id, title or keywords, in either language.
        box: that it lies in, in part: west, south, east, north.
        licence: its id.
        site: that has a verified copy.
    """

    words: tuple[str, ...] = ()
    box: Box | None = None
    licence: str = ""
    site: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A version, or the dataset that was asked for, with all versions of it.

    Attributes:
        item: of the version.
        versions: all Items of the dataset, the oldest first.
        collection: of the dataset; empty if the table's footer and its sidecar have none.
        whole: whether no version was named.
    """

    item: Json
    versions: Sequence[Json]
    collection: Json = field(default_factory=dict)
    whole: bool = False


class Catalogue:
    """The table of a catalogue, and beside it the sidecar of its Collections, if it has one."""

    def __init__(self, table: Path) -> None:
        """Open it.

        Raises:
            CatalogueError: it is no catalogue.
        """
        self._place = table
        with _reading(table):
            self._rows = datasets.dataset(table, format="parquet")
        found = self._rows.schema
        for column in columns.schema(()):
            at = found.get_field_index(column.name)
            needed = column.name in _NEEDED
            if at < 0 and not needed:
                continue
            kind = found.field(at).type if at >= 0 else pa.null()
            if not (_fits(kind, column.type) or (pa.types.is_null(kind) and not needed)):
                raise CatalogueError(
                    f"{table} is no catalogue in both languages: it has no column {column.name} "
                    f"of {column.type}"
                )

    def find(self, name: str) -> Told:
        """Find a dataset, or a version as DATASET@LABEL or DATASET@latest.

        Raises:
            CatalogueError: there is none; names that are near are given.
        """
        versions = self._items(pc.field("collection") == name)
        if versions:
            return Told(_latest(versions), versions, self._collection(name), whole=True)
        named = self._items(pc.field("id") == name)
        dataset = named[0]["collection"] if named else name.removesuffix("@latest")
        versions = self._items(pc.field("collection") == dataset)
        if not versions:
            raise CatalogueError(self._unknown(name))
        return Told(named[0] if named else _latest(versions), versions, self._collection(dataset))

    def meant(self, name: str) -> Json:
        """Return the Item of what is to be taken: where no version is named, of the latest.

        Raises:
            CatalogueError: there is none of that name, or none that is meant to be taken now.
        """
        told = self.find(name)
        state = told.item["properties"].get("fleet:state")
        if name == told.item["id"] or state == VersionState.PUBLISHED:
            return told.item
        labels = [str(one["properties"]["version"]) for one in reversed(told.versions)]
        raise CatalogueError(
            f"{told.item['collection']} has no version that is meant to be taken now; an older one "
            f"may be named: {few(labels)}"
        )

    def search(self, asked: Asked) -> Iterator[Json]:
        """Yield what is told, in few columns, of the latest versions that are looked for."""
        wanted = [_folded(one) for one in asked.words]
        told = [*_TEXTS, *_TOLD, *(["fleet:mirrors"] if asked.site else [])]
        for row in self._scan(told, _narrowed(asked)):
            if asked.site and not _is_at(row.pop("fleet:mirrors"), asked.site):
                continue
            if wanted and not _holds(row, wanted):
                continue
            with _reading(self._place):
                box = bounds(from_wkb(row.pop("geometry")))
            if asked.box is None or meet(box, asked.box):
                yield {**row, "bbox": box}

    def _items(self, which: pc.Expression) -> list[Json]:
        with _reading(self._place):
            rows = self._rows.to_table(filter=which).to_batches()
            found = [item for some in rows for item in to_items(some)]
        return sorted(found, key=lambda one: one["properties"].get("fleet:sequence", 0))

    def _scan(self, names: Sequence[str], which: pc.Expression | None) -> Iterator[Json]:
        with _reading(self._place):
            batches = self._rows.scanner(
                columns=list(names),
                filter=which,
                batch_size=_ROWS_AT_ONCE,
                batch_readahead=1,
                fragment_readahead=1,
            ).to_batches()
            for batch in batches:
                for row in batch.to_pylist():
                    if lacking := [name for name in _SAID if row.get(name, "") is None]:
                        raise CatalogueError(f"{self._place} has a row without {lacking[0]}")
                    yield row

    def _collection(self, dataset: str) -> Json:
        """Read a Collection from the table's footer, or from the sidecar."""
        with _reading(self._place):
            footer = pq.read_metadata(self._place).metadata or {}
            told = footer.get(b"stac-geoparquet", b"{}")
            within: Json = json.loads(told).get("collections", {}).get(dataset, {})
            sidecar = self._place.with_name(SIDECAR)
            if within or not sidecar.exists():
                return within
            of = pc.field("id") == dataset
            found = pq.read_table(sidecar, columns=["collection"], filters=of).to_pylist()
            return json.loads(found[0]["collection"]) if found else {}

    def _unknown(self, name: str) -> str:
        """Say that there is no such dataset or version, and what is near."""
        dataset, _, label = name.rpartition("@")
        its = pc.field("collection") == dataset
        known = sorted((row["version"] for row in self._scan(["version"], its)), reverse=True)
        if known:
            return f"{dataset} has no version {label!r}{near(label, known)}; it has {few(known)}"
        wanted = name.partition("@")[0]
        every = dict.fromkeys(row["collection"] for row in self._scan(["collection"], None))
        return f"the catalogue has no dataset {wanted!r}{near(wanted, every)}"


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column has all that is read of it; one of a later release may have more."""
    if pa.types.is_list(wanted) and pa.types.is_list(found):
        return _fits(found.value_type, wanted.value_type)
    if not pa.types.is_struct(wanted) or not pa.types.is_struct(found):
        return bool(found == wanted)
    there = {one.name: one.type for one in found}
    return all(one.name in there and _fits(there[one.name], one.type) for one in wanted)


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, CatalogueError):
            raise
        why = str(error).partition("\n")[0] or type(error).__name__
        raise CatalogueError(f"{place} cannot be read as a catalogue: {why}") from error


def _latest(versions: Sequence[Json]) -> Json:
    published = [
        one for one in versions if one["properties"].get("fleet:state") == VersionState.PUBLISHED
    ]
    return (published or versions)[-1]


def _narrowed(asked: Asked) -> pc.Expression:
    """Narrow down what is read to what can be asked of the columns themselves."""
    which = pc.field("fleet:state") == str(VersionState.PUBLISHED)
    if asked.licence:
        which &= pc.field("license") == asked.licence
    if asked.box is not None:
        which &= _meets(asked.box)
    return which


def _meets(box: Box) -> pc.Expression:
    """Say that a row may have a place in common with a rectangle, which may cross the 180th."""
    west, south, east, north = box
    xmin, ymin, xmax, ymax = (pc.field("bbox", one) for one in ("xmin", "ymin", "xmax", "ymax"))
    starts, ends = xmin <= east, xmax >= west
    return (ymin <= north) & (ymax >= south) & (starts & ends if west <= east else starts | ends)


def _is_at(mirrors: Iterable[Json] | None, site: str) -> bool:
    return any(one["site"] == site for one in mirrors or ())


def _holds(row: Json, wanted: Iterable[str]) -> bool:
    """Whether all words stand somewhere in what a dataset is called by."""
    said = (row[name] for name in _TEXTS)
    text = _folded("\n".join(one if isinstance(one, str) else "\n".join(one or ()) for one in said))
    return all(one in text for one in wanted)


def _folded(text: str) -> str:
    """Write a text without accents or capitals, as people look for it."""
    apart = unicodedata.normalize("NFKD", text)
    return "".join(char for char in apart if not unicodedata.combining(char)).casefold()
