"""What an Item says of how a version can be had: checked, since it decides what is written where.

Rules this module keeps:

- A name, size, digest or address that no honest catalogue has is refused, and so is all of it.
- Of a version that was withdrawn nothing is offered.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from fleet.catalogue.item import FILES, ITEM_FILE, folder
from fleet.planning.reading import SEGMENTS, WHOLE, expanded
from fleet.planning.states import VersionState
from fleet.torrent.paths import clash, path_fault

Json = dict[str, Any]
MOST_SIZE: Final = 2**53 - 1
_DIGEST = re.compile(r"1220([0-9a-f]{64})")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_INFOHASH = re.compile(r"[0-9a-f]{40}")
_MANIFEST: Final = "manifest"
_CATALOGUE: Final = "/catalogue"


class OfferError(Exception):
    """What a catalogue says cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a version.

    Attributes:
        path: within the version.
        size: in bytes.
        sha256: in hex.
        role: as of an artifact.
        shard: the position of the shard that it lies in, if that is said.
        infohash: of that shard's torrent, in hex, or empty.
        offset: where it begins in the torrent's content, if that is said.
    """

    path: str
    size: int
    sha256: str
    role: str = "data"
    shard: int | None = None
    infohash: str = ""
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A site that has a version, or some of its shards by their positions, and how it is read."""

    site: str
    template: str
    shards: tuple[int, ...] = ()

    def has(self, file: File) -> bool:
        """Whether it should have a file; what is not known of may be."""
        return not self.shards or file.shard is None or file.shard in self.shards

    def url(self, path: str) -> str:
        """Say where it has a file."""
        return expanded(self.template, path)


@dataclass(frozen=True, slots=True)
class Torrent:
    """A shard's torrent: where its file and a magnet link are, or empty."""

    infohash: str
    url: str = ""
    magnet: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A file that lists all others: its size, its digest, and where it can be read."""

    size: int
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """A version, and what is said of where it lies.

    Attributes:
        dataset: its id.
        label: the version's.
        superseded: whether there is a newer one.
        count: how many files it has.
        files: those that are told of outright; all of them where ``whole``.
        places: the sites that have it, the first to be asked first.
        torrents: by infohash.
        table: the Parquet file that lists all files, where there is one.
        manifest: the version's manifest, where it is told of.
        centre: URL of the centre that wrote it, or empty.
    """

    dataset: str
    label: str
    superseded: bool
    count: int
    files: tuple[File, ...] = ()
    places: tuple[Place, ...] = ()
    torrents: Mapping[str, Torrent] | None = None
    table: Document | None = None
    manifest: Document | None = None
    centre: str = ""

    @property
    def name(self) -> str:
        """Name it as commands do."""
        return f"{self.dataset}@{self.label}"

    @property
    def whole(self) -> bool:
        """Whether all files are told of outright."""
        return len(self.files) == self.count

    def with_files(self, files: Iterable[File]) -> "Offer":
        """Tell of these files and those that are told of already, all of them checked.

        Raises:
            OfferError: they cannot all be right, or lie in one folder.
        """
        known = {file.path: file for file in self.files}
        told = list(files)
        for file in told:
            before = known.get(file.path, file)
            if (before.size, before.sha256) != (file.size, file.sha256):
                raise OfferError(f"{self.name}: two digests are told of {file.path!r}")
        every = tuple((known | {file.path: file for file in told}).values())
        return _checked(replace(self, files=every, count=len(every)))

    def sources(self, file: File) -> list[tuple[str, str]]:
        """List the sites that have a file, each with its URL there."""
        return [(place.site, place.url(file.path)) for place in self.places if place.has(file)]


def read(item: Json) -> Offer:
    """Read an Item.

    Raises:
        OfferError: it was withdrawn, or is none that can be used.
    """
    try:
        return _checked(_read(item))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise OfferError(f"the catalogue's entry cannot be read ({told[:200]})") from error


def _read(item: Json) -> Offer:
    about, dataset = item["properties"], str(item["collection"])
    label, name = str(about["version"]), str(item["id"])
    if about["fleet:state"] == VersionState.WITHDRAWN:
        raise OfferError(
            f"{name} was withdrawn by those who made it, so nobody is sent to its files; "
            f"`fleet get {dataset}` has the version that is to be used, if there is one"
        )
    links = list(item["links"])
    own = next((str(one["href"]) for one in links if one["rel"] == "self"), "")
    base = own.removesuffix(f"/{quote(folder(dataset, label))}/{ITEM_FILE}")
    assets = {role: one for role, one in item["assets"].items() if role != FILES}
    places = tuple(_place(name, one) for one in about.get("fleet:mirrors", ()))
    return Offer(
        dataset=dataset,
        label=label,
        superseded=bool(about["deprecated"]),
        count=int(about["fleet:files"]),
        files=tuple(_file(name, role, one) for role, one in assets.items()),
        places=places,
        torrents={one.infohash: one for one in _torrents(name, links)},
        table=_document(name, item["assets"].get(FILES)),
        manifest=_document(name, assets.get(_MANIFEST)),
        centre=base.removesuffix(_CATALOGUE) if base.endswith(_CATALOGUE) else "",
    )


def _file(name: str, role: str, asset: Json) -> File:
    return File(str(asset["title"]), asset["file:size"], _digest(name, asset), role)


def _document(name: str, asset: Json | None) -> Document | None:
    if asset is None:
        return None
    others = [one["href"] for one in asset.get("alternate", {}).values()]
    urls = dict.fromkeys(_web(name, url) for url in (asset["href"], *others))
    return Document(_size(name, asset["file:size"]), _digest(name, asset), tuple(urls))


def _digest(name: str, asset: Json) -> str:
    found = _DIGEST.fullmatch(str(asset["file:checksum"]))
    if found is None:
        raise OfferError(f"{name}: {asset['title']!r} has no SHA-256")
    return found[1]


def _place(name: str, told: Json) -> Place:
    template, shards = _web(name, told["url"]), tuple(told.get("shards") or ())
    if not any(part in template for part in (SEGMENTS, WHOLE)):
        raise OfferError(f"{name}: the address at {told['site']!r} is of no file in particular")
    return Place(str(told["site"]), template, shards)


def _web(name: str, url: object) -> str:
    """Refuse what is no address that a mirror could have."""
    text = str(url)
    if not text.startswith(("http://", "https://")) or not text.isprintable():
        raise OfferError(f"{name}: {text[:80]!r} is no http or https URL")
    return text


def _torrents(name: str, links: Iterable[Json]) -> Iterator[Torrent]:
    found: dict[str, dict[str, str]] = {}
    for link in links:
        infohash = link.get("fleet:infohash")
        if infohash is None:
            continue
        if not _INFOHASH.fullmatch(str(infohash)):
            raise OfferError(f"{name}: {infohash!r} is no infohash")
        is_file = link.get("type") == "application/x-bittorrent"
        is_link = link["rel"] == "enclosure"
        if is_file or is_link:
            link_to = _web(name, link["href"]) if is_file else str(link["href"])
            found.setdefault(infohash, {})["url" if is_file else "magnet"] = link_to
    for infohash, told in found.items():
        yield Torrent(infohash, **told)


def _checked(offer: Offer) -> Offer:
    """Refuse files that cannot all be right, or lie in one folder."""
    for file in offer.files:
        _check(offer.name, file)
    if why := clash(file.path for file in offer.files):
        raise OfferError(f"{offer.name}: {why}")
    return offer


def _size(name: str, size: object) -> int:
    if type(size) is not int or not 0 <= size <= MOST_SIZE:
        raise OfferError(f"{name}: {size!r} is no size of a file")
    return size


def _check(name: str, file: File) -> None:
    """Refuse what no file of a version can be."""
    if fault := path_fault(file.path):
        raise OfferError(f"{name}: {fault}: no file of a version is called that")
    _size(name, file.size)
    if not _SHA256.fullmatch(file.sha256):
        raise OfferError(f"{name}: {file.path!r} has no SHA-256")
    if file.infohash and not _INFOHASH.fullmatch(file.infohash):
        raise OfferError(f"{name}: {file.infohash!r} is no infohash")
    if file.offset is not None:
        _size(name, file.offset)
