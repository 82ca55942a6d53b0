"""A work that can be cited: one version of a dataset, or the dataset with all that it will have.

Rules this module keeps:

- What is not known is left empty; nothing is made up but a title, which is the id then.
- Files are told at the addresses that they have for good, and no more of them than ``MOST_FILES``.
- Of a version that was withdrawn no file is told.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final
from urllib.parse import quote

from fleet.catalogue.entry import Dataset, Entry
from fleet.catalogue.licences import Licence, licence_of
from fleet.descriptions import Creator, Description, Extent, Keywords, Summary, Title
from fleet.planning.states import VersionState

MOST_FILES: Final = 100
_TORRENT: Final = "application/x-bittorrent"


@dataclass(frozen=True, slots=True)
class Download:
    """A file, and where it is read; the sha256 of what is made anew for each reader is empty."""

    name: str
    url: str
    media_type: str
    size: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a version has in all, however few of its files are told."""

    files: int = 0
    size: int = 0
    formats: tuple[str, ...] = ()

    @classmethod
    def of(cls, entry: Entry) -> "Contents":
        """Count all files of an entry."""
        every = entry.artifacts
        formats = sorted({one.media_type for one in every if one.media_type})
        return cls(len(every), sum(one.size for one in every), tuple(formats))


@dataclass(frozen=True, slots=True)
class Related:
    """Another work: how this one stands to it (as DataCite has it), and its DOI, or else a URL."""

    relation: str
    doi: str = ""
    url: str = ""

    @property
    def address(self) -> str:
        """Where it leads."""
        return address(self.doi) or self.url


@dataclass(frozen=True, slots=True)
class Work:
    """A work.

    Attributes:
        id: of the dataset, or DATASET@LABEL.
        page: URL of its page, or empty.
        doi: of this very work, or empty.
        version: label, or empty for a whole dataset.
        published: the day on which the version, or the first of all, came out.
        state: of the version, or of the latest.
        catalog: URL of the catalogue that it is told in, or empty.
        source: what it was copied from, or empty.
    """

    id: str
    page: str
    doi: str
    title: Title
    summary: Summary
    creators: tuple[Creator, ...]
    publisher: str
    published: date
    version: str
    state: VersionState
    licence: Licence
    keywords: Keywords
    extent: Extent
    homepage: str = ""
    source: str = ""
    catalog: str = ""
    contents: Contents = Contents()
    downloads: tuple[Download, ...] = ()
    related: tuple[Related, ...] = ()

    @property
    def url(self) -> str:
        """What it is cited by: its DOI as a URL, or else its page."""
        return address(self.doi) or self.page


def address(doi: str) -> str:
    """Write a DOI as the URL that it is cited by (DOI Handbook, 3.8); empty for none."""
    return f"https://doi.org/{quote(doi, safe='/:;()._-')}" if doi else ""


def of_version(dataset: Dataset, entry: Entry, contents: Contents | None = None) -> Work:
    """Make a work of a version.

    Args:
        dataset: whose version it is.
        entry: the version.
        contents: of it, where the entry has not all files.
    """
    return _work(dataset, entry, contents, whole=False)


def of_dataset(dataset: Dataset, contents: Contents | None = None) -> Work:
    """Make a work of a dataset with all of its versions; its files are those of the latest.

    Args:
        dataset: it; it has a version.
        contents: of the latest version, where its entry has not all files.
    """
    return _work(dataset, dataset.latest or dataset.entries[-1], contents, whole=True)


def _work(dataset: Dataset, entry: Entry, contents: Contents | None, *, whole: bool) -> Work:
    said = dataset.description
    related = _versions(dataset) if whole else _neighbours(dataset, entry)
    came_out = min(one.published_at for one in dataset.entries) if whole else entry.published_at
    return Work(
        id=dataset.id if whole else f"{dataset.id}@{entry.label}",
        page=dataset.page() if whole else dataset.page(entry),
        doi=dataset.doi if whole else entry.doi,
        title=title(said, dataset.id),
        summary=said.summary,
        creators=said.creators,
        publisher=said.publisher,
        published=came_out.date(),
        version="" if whole else entry.label,
        state=entry.state,
        licence=licence_of(said, entry.licence),
        keywords=said.keywords,
        extent=said.extent,
        homepage=said.homepage,
        source=entry.source,
        catalog=dataset.catalog,
        contents=contents or Contents.of(entry),
        downloads=tuple(_downloads(dataset, entry)),
        related=tuple(one for one in related if one.address),
    )


def title(said: Description, name: str) -> Title:
    """Return a dataset's title; what has none is called by its name."""
    return said.title if said.title != Title() else Title(en=name)


def _versions(dataset: Dataset) -> Iterator[Related]:
    for one in dataset.entries:
        yield Related("HasVersion", one.doi, dataset.page(one))


def _neighbours(dataset: Dataset, entry: Entry) -> Iterator[Related]:
    yield Related("IsVersionOf", dataset.doi, dataset.page())
    at = dataset.entries.index(entry)
    for relation, near in (
        ("IsNewVersionOf", dataset.entries[at - 1 : at]),
        ("IsPreviousVersionOf", dataset.entries[at + 1 : at + 2]),
    ):
        yield from (Related(relation, one.doi, dataset.page(one)) for one in near)


def _downloads(dataset: Dataset, entry: Entry) -> Iterable[Download]:
    if entry.state == VersionState.WITHDRAWN or not dataset.centre:
        return ()
    files = (
        Download(
            one.path,
            dataset.address(entry, one.path),
            one.media_type or "application/octet-stream",
            one.size,
            one.sha256,
        )
        for one in entry.artifacts[:MOST_FILES]
    )
    torrents = (
        Download(f"{one.name}.torrent", one.torrent, _TORRENT)
        for one in entry.shards[:MOST_FILES]
        if one.torrent
    )
    return (*files, *torrents)
