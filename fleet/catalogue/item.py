"""Versions as STAC Items.

Rules this module keeps:

- An Item is in both languages: ``title`` is in English, or in French where that is all there is,
  and ``fleet:title_fr`` in French.  ``in_language`` makes one of a single language of it.
- The keys of assets are the roles of files and ``files``, those of alternates are sites, and
  nothing else is a key: each is a column of the table that Items become.
- A file that is the only one of its role is an asset, as long as a verified copy can be read.  A
  version with several of a role lists all its files in ``files.parquet``.
- No value is null, save ``datetime`` where a version is of a time from start to end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import quote

from fleet.catalogue.entry import Artifact, Dataset, Entry, Mirror, Shard
from fleet.catalogue.footprint import footprint, geometry
from fleet.catalogue.licences import Licence, licence_of
from fleet.catalogue.texts import ENGLISH, OTHERS, texts
from fleet.planning.states import VersionState

Json = dict[str, Any]

ROLES: Final = ("data", "metadata", "manifest", "source", "environment")
FILES: Final = "files"
ASSETS: Final = (*ROLES, FILES)
CATALOG_FILE: Final = "catalogue.json"
COLLECTION_FILE: Final = "collection.json"
ITEM_FILE: Final = "item.json"
LIST_FILE: Final = "files.parquet"
STAC_VERSION: Final = "1.1.0"
PARQUET: Final = "application/vnd.apache.parquet"
MOST_TORRENTS: Final = 16  # that an Item links to; ``files.parquet`` has the infohash of each

_EXTENSIONS: Final = "https://stac-extensions.github.io"
VERSION: Final = f"{_EXTENSIONS}/version/v1.2.0/schema.json"
SCIENTIFIC: Final = f"{_EXTENSIONS}/scientific/v1.0.0/schema.json"
FILE: Final = f"{_EXTENSIONS}/file/v2.1.0/schema.json"
ALTERNATES: Final = f"{_EXTENSIONS}/alternate-assets/v1.2.0/schema.json"
STORAGE: Final = f"{_EXTENSIONS}/storage/v2.0.0/schema.json"
PROCESSING: Final = f"{_EXTENSIONS}/processing/v1.2.0/schema.json"
TIMESTAMPS: Final = f"{_EXTENSIONS}/timestamps/v1.1.0/schema.json"
LANGUAGE: Final = f"{_EXTENSIONS}/language/v1.0.0/schema.json"


@dataclass(frozen=True, slots=True)
class Listing:
    """The ``files.parquet`` of a version: its size, and its sha256 in hex."""

    size: int
    sha256: str


def listed(entry: Entry) -> bool:
    """Whether a version lists its files, because one of its assets cannot be one of them."""
    roles = [one.role for one in entry.artifacts]
    return len(set(roles)) < len(roles)


def items(dataset: Dataset, base: str, listing: Callable[[Entry], Listing]) -> Iterator[Json]:
    """Make an Item of each version of a dataset.

    Args:
        dataset: it.
        base: URL that the catalogue is published at.
        listing: gives the list of a version whose files are ``listed``.
    """
    box, origin = footprint(dataset.id, dataset.description.extent.bbox)
    place = {"geometry": geometry(box), "bbox": list(box)}
    common = {**texts(dataset.description), **OTHERS[ENGLISH], "fleet:footprint": origin}
    for number, entry in enumerate(dataset.entries):
        assets = _assets(entry)
        if listed(entry):
            assets[FILES] = _list_asset(
                listing(entry), f"{base}/{quote(folder(dataset.id, entry.label))}"
            )
        yield {
            "type": "Feature",
            "stac_version": STAC_VERSION,
            "stac_extensions": _extensions(entry),
            "id": name(dataset, entry),
            "collection": dataset.id,
            **place,
            "properties": {**common, **_properties(dataset, entry)},
            "links": [*_links(dataset, number, base), *_torrents(entry)],
            "assets": assets,
        }


def name(dataset: Dataset, entry: Entry) -> str:
    """Name a version among those of all datasets, as commands do."""
    return f"{dataset.id}@{entry.label}"


def folder(dataset: str, label: str = "") -> str:
    """Return where, below the catalogue, a dataset's Collection lies, or a version's Item."""
    return f"datasets/{dataset}/versions/{label}" if label else f"datasets/{dataset}"


def collection_at(base: str, dataset: Dataset) -> str:
    """Return the address of a dataset's Collection."""
    return f"{base}/{quote(folder(dataset.id))}/{COLLECTION_FILE}"


def item_at(base: str, dataset: Dataset, entry: Entry) -> str:
    """Return the address of a version's Item."""
    return f"{base}/{quote(folder(dataset.id, entry.label))}/{ITEM_FILE}"


def moment(at: datetime) -> str:
    """Write a moment; whole seconds without a fraction."""
    return f"{at.astimezone(UTC).isoformat()[:-6]}Z"


def _extensions(entry: Entry) -> list[str]:
    used = [VERSION, FILE, TIMESTAMPS, LANGUAGE]
    used += [ALTERNATES, STORAGE] if entry.mirrors else []
    used += [SCIENTIFIC] if entry.doi else []
    return [*used, PROCESSING] if entry.source else used


def _properties(dataset: Dataset, entry: Entry) -> Json:
    said: Json = {
        **_times(dataset, entry),
        "published": moment(entry.published_at),
        "version": entry.label,
        "deprecated": entry.state != VersionState.PUBLISHED,
        "license": licence_of(dataset.description, entry.licence).id or "other",
        "fleet:state": str(entry.state),
        "fleet:sequence": entry.sequence,
        "fleet:files": len(entry.artifacts),
        "fleet:size": sum(one.size for one in entry.artifacts),
    }
    if entry.licence:
        said["fleet:licence"] = entry.licence
    if entry.licence_retrieved:
        said["fleet:licence_retrieved"] = entry.licence_retrieved.isoformat()
    if entry.doi:
        said["sci:doi"] = entry.doi
    if dataset.doi:
        said["fleet:concept_doi"] = dataset.doi
    if entry.source:
        said["processing:lineage"] = entry.source
    if entry.mirrors:
        said["fleet:mirrors"] = [_mirror(one) for one in entry.mirrors]
        said["storage:schemes"] = {one.site: _scheme(one) for one in entry.mirrors}
    return said


def _times(dataset: Dataset, entry: Entry) -> Json:
    """Say what time the data are of; where that is not said, when they were published."""
    extent = dataset.description.extent
    if extent.start and extent.end:
        start, end = first_moment(extent.start), last_moment(extent.end)
        return {"datetime": None, "start_datetime": start, "end_datetime": end}
    day = extent.start or extent.end
    return {"datetime": first_moment(day) if day else moment(entry.published_at)}


def first_moment(day: date) -> str:
    """Write when a day begins."""
    return f"{day.isoformat()}T00:00:00Z"


def last_moment(day: date) -> str:
    """Write the last second of a day."""
    return f"{day.isoformat()}T23:59:59Z"


def _mirror(mirror: Mirror) -> Json:
    told: Json = {"site": mirror.site, "kind": mirror.kind, "url": mirror.template}
    if mirror.region:
        told["region"] = mirror.region
    if mirror.country:
        told["country"] = mirror.country
    if mirror.verified_at:
        told["verified_at"] = moment(mirror.verified_at)
    if mirror.shards:
        told["shards"] = list(mirror.shards)
    return told


def _scheme(mirror: Mirror) -> Json:
    told = {"type": mirror.kind, "platform": mirror.root}
    return {**told, "region": mirror.region} if mirror.region else told


def _assets(entry: Entry) -> Json:
    """Offer the files that are the only ones of their roles."""
    number: dict[str, int] = {}
    for one in entry.artifacts:
        number[one.role] = number.get(one.role, 0) + 1
    alone = [one for one in entry.artifacts if number[one.role] == 1]
    offered = {one.role: _asset(one, entry.mirrors) for one in alone}
    return {role: asset for role, asset in offered.items() if asset}


def _asset(artifact: Artifact, mirrors: tuple[Mirror, ...]) -> Json | None:
    urls = {one.site: one.url(artifact.path) for one in mirrors if one.holds(artifact)}
    if not urls:
        return None
    asset: Json = {
        "href": next(iter(urls.values())),
        "title": artifact.path,
        "roles": [artifact.role],
        "file:size": artifact.size,
        "file:checksum": f"1220{artifact.sha256}",
        "alternate": {site: {"href": url, "storage:refs": [site]} for site, url in urls.items()},
    }
    if artifact.media_type:
        asset["type"] = artifact.media_type
    if artifact.md5:
        asset["fleet:md5"] = artifact.md5
    return asset


def _list_asset(listing: Listing, below: str) -> Json:
    return {
        "href": f"{below}/{LIST_FILE}",
        "title": LIST_FILE,
        "type": PARQUET,
        "roles": ["metadata"],
        "file:size": listing.size,
        "file:checksum": f"1220{listing.sha256}",
    }


def _links(dataset: Dataset, number: int, base: str) -> list[Json]:
    entries = dataset.entries
    entry, latest = entries[number], dataset.latest
    before = entries[number - 1] if number else None
    after = entries[number + 1] if number + 1 < len(entries) else None
    collection = collection_at(base, dataset)
    made = [
        _link("self", item_at(base, dataset, entry)),
        _link("root", f"{base}/{CATALOG_FILE}", "application/json"),
        _link("parent", collection, "application/json"),
        _link("collection", collection, "application/json"),
    ]
    others = (("predecessor", before), ("successor", after), ("latest", latest))
    made += [_link(f"{rel}-version", item_at(base, dataset, one)) for rel, one in others if one]
    if page := dataset.page(entry):
        made.append(_link("alternate", page, "text/html"))
    made += license_links(licence_of(dataset.description, entry.licence))
    if entry.doi:
        made.append({"rel": "cite-as", "href": f"https://doi.org/{quote(entry.doi)}"})
    return made


def license_links(licence: Licence) -> list[Json]:
    """Link to a licence, if it can be read anywhere."""
    named = {"title": licence.title} if licence.title else {}
    return [{"rel": "license", "href": licence.url, **named}] if licence.url else []


def _link(rel: str, href: str, media_type: str = "application/geo+json") -> Json:
    return {"rel": rel, "href": href, "type": media_type}


def _torrents(entry: Entry) -> Iterator[Json]:
    if len(entry.shards) <= MOST_TORRENTS:
        for shard in entry.shards:
            yield from _torrent(shard)


def _torrent(shard: Shard) -> Iterator[Json]:
    said = {"title": shard.name, "fleet:infohash": shard.infohash}
    if shard.torrent:
        yield {**_link("describedby", shard.torrent, "application/x-bittorrent"), **said}
    if shard.metalink:
        yield {**_link("describedby", shard.metalink, "application/metalink4+xml"), **said}
    if shard.magnet:
        yield {"rel": "enclosure", "href": shard.magnet, **said}
