"""The catalogue as files: one table of all versions, one for each language, and a tree of pages.

Below the folder that is published::

    catalogue.parquet     every version of every dataset, in both languages
    catalogue.en.parquet catalogue.fr.parquet            the same in one of them
    collections.parquet   the Collections, where they are too many for the tables' footers
    catalogue.json        the STAC Catalog, which leads to all pages:
    datasets/DATASET/collection.json
    datasets/DATASET/versions/LABEL/item.json            and ``files.parquet``, if it has that
    datasets/DATASET/items.parquet items.en.parquet …    the same of one dataset

Rules this module keeps:

- The same values give the same bytes, whatever was written before.
- Of a dataset that did not change no page is written, and no row made.  What leads to others is
  replaced after them.
- A dataset that no rows can be made of keeps the pages that it has.  Of what is gone no page stays.
- A dataset's own tables are written after its pages, and until then tell what it was before.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fleet.catalogue import columns, item, pages, table
from fleet.catalogue.collection import catalog, collection
from fleet.catalogue.entry import Dataset, Entry
from fleet.catalogue.item import Listing
from fleet.catalogue.listing import write_list
from fleet.catalogue.rows import to_rows
from fleet.catalogue.shelf import Change, Shelf
from fleet.catalogue.whole import finish, remove, replacing
from fleet.descriptions import LANGUAGES

Json = dict[str, Any]

SIDECAR: Final = "collections.parquet"
IN_FOOTER: Final = 300  # Collections: each costs whoever opens a table a kilobyte and more


@dataclass(frozen=True, slots=True)
class _Made:
    """What was made of a dataset; neither Items nor a Collection if it is gone.

    ``lists`` are the lists of files, by the labels of versions.
    """

    dataset: str
    items: list[Json]
    collection: Json | None
    lists: dict[str, bytes]

    @property
    def weight(self) -> int:
        """How much there is of it, about as many Items."""
        return len(self.items) + sum(map(len, self.lists.values())) // _LIKE_AN_ITEM


class Edition:
    """A catalogue in a folder, and what it was last made of.

    A new one is empty, and so is one of another make or for other ``sites``: all datasets have to
    be put into it.
    """

    def __init__(self, folder: Path, memory: Path, base: str, sites: Sequence[str]) -> None:
        """Open it.

        Args:
            folder: what is published.
            memory: a folder of its own, which may be deleted at any time.
            base: URL of the folder.
            sites: ids of all sites where files may lie.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._base = folder, base.rstrip("/")
        self._shelf = Shelf(memory, columns.schema(sorted(sites)), self._base)
        self._anew = not len(self._shelf)

    def __len__(self) -> int:
        """Count the versions."""
        return len(self._shelf)

    def put(self, datasets: Iterable[tuple[str, Dataset | None]]) -> None:
        """Take datasets, by their ids and in the order of these; None for what is gone."""
        made = (self._made(*one) for one in datasets)
        self._shelf.put(change for some in _together(made) for change in self._changes(some))

    def write(self) -> None:
        """Write the tables, and the Catalog above all pages."""
        shelf, sidecar = self._shelf, self._folder / SIDECAR
        few = shelf.datasets <= IN_FOOTER
        footer = list(shelf.collections()) if few else None
        self._write_tables("catalogue", shelf.columns, shelf.rows(), footer)
        if few:
            sidecar.unlink(missing_ok=True)
        else:
            with replacing(sidecar) as file:
                table.write_collections(file, shelf.collections())
        with replacing(self._folder / item.CATALOG_FILE) as file:
            file.write(_json(catalog(shelf.collections(), self._base)))
        if self._anew:
            self._sweep({one["id"] for one in shelf.collections()})

    @property
    def files(self) -> dict[str, Path]:
        """The tables and the Catalog, by their names: what leads to all the rest, and proves it."""
        names = (*(f"catalogue{end}" for _, end in _ENDS), SIDECAR, item.CATALOG_FILE)
        found = {name: self._folder / name for name in names}
        return {name: path for name, path in found.items() if path.exists()}

    def write_dataset(self, dataset: str) -> None:
        """Write the tables of one dataset; of one that is not in the catalogue there are none."""
        place = self._folder / item.folder(dataset)
        try:
            whole = _read(place / item.COLLECTION_FILE)
        except FileNotFoundError:
            return
        found = place.glob(f"versions/*/{item.ITEM_FILE}")
        items = sorted(map(_read, found), key=lambda one: one["properties"]["fleet:sequence"])
        sites = {site for one in items for site in one["properties"].get("storage:schemes", ())}
        own = columns.schema(sorted(sites))
        self._write_tables(f"{item.folder(dataset)}/items", own, [to_rows(items, own)], [whole])

    def _write_tables(
        self,
        name: str,
        own: pa.Schema,
        rows: Iterable[pa.RecordBatch],
        collections: Sequence[Json] | None,
    ) -> None:
        with ExitStack() as stack:
            files = [
                (stack.enter_context(replacing(self._folder / f"{name}{end}")), language)
                for language, end in _ENDS
            ]
            table.write_items(files, rows, own, collections)
            for file, _ in files:
                finish(file)  # a full disk leaves no table newer than the others

    def _changes(self, made: Sequence[_Made]) -> Iterator[Change]:
        """Make rows of some datasets at once: of a few rows it would take as long."""
        starts = list(accumulate((len(one.items) for one in made), initial=0))
        rows = to_rows([item for one in made for item in one.items], self._shelf.columns)
        pairs = zip(starts, made, strict=False)
        collections = {at: one.collection for at, one in pairs if one.collection}
        whole = self._shelf.with_collections(rows, collections)
        for at, one in zip(starts, made, strict=False):
            self._write_pages(one)
            yield one.dataset, whole.slice(at, len(one.items)) if one.items else None

    def _made(self, name: str, dataset: Dataset | None) -> _Made:
        """Make a dataset's Items and Collection."""
        if dataset is None or not dataset.entries:
            return _Made(name, [], None, {})
        lists = dict[str, bytes]()

        def listed(entry: Entry) -> Listing:
            data = lists[entry.label] = write_list(entry)
            return Listing(len(data), hashlib.sha256(data).hexdigest())

        made = list(item.items(dataset, self._base, listed))
        return _Made(name, made, collection(dataset, self._base), lists)

    def _write_pages(self, made: _Made) -> None:
        """Write a dataset's pages, and remove those that it has no more."""
        place = self._folder / item.folder(made.dataset)
        if made.collection is None:
            shutil.rmtree(place, ignore_errors=True)
            return
        for label, data in made.lists.items():
            pages.put(self._folder / item.folder(made.dataset, label) / item.LIST_FILE, data)
        labels = [one["properties"]["version"] for one in made.items]
        for label, one in zip(labels, made.items, strict=True):
            pages.put(self._folder / item.folder(made.dataset, label) / item.ITEM_FILE, _json(one))
        pages.put(place / item.COLLECTION_FILE, _json(made.collection))
        for label in set(_names(place / "versions")).difference(labels):
            remove(place / "versions" / label)

    def _sweep(self, datasets: set[str]) -> None:
        """Remove the pages of what is gone since nobody remembers when."""
        above = self._folder / "datasets"
        for name in set(_names(above)).difference(datasets):
            remove(above / name)


def _together(made: Iterable[_Made]) -> Iterator[list[_Made]]:
    held: list[_Made] = []
    have = 0
    for one in made:
        held.append(one)
        have += one.weight
        if have >= _AT_ONCE:
            yield held
            held, have = [], 0
    if held:
        yield held


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _json(page: Json) -> bytes:
    return json.dumps(page, ensure_ascii=False).encode()


def _read(page: Path) -> Json:
    read: Json = json.loads(page.read_bytes())
    return read


_AT_ONCE: Final = 1_000  # Items
_LIKE_AN_ITEM: Final = 64 * 1024  # bytes of a list
_ENDS: Final = ((None, ".parquet"), *((one, f".{one}.parquet") for one in LANGUAGES))
