"""Datasets as STAC Collections, in both languages as Items are, and the Catalog above them."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from fleet.catalogue.entry import Dataset, Entry
from fleet.catalogue.footprint import footprint
from fleet.catalogue.item import (
    CATALOG_FILE,
    LANGUAGE,
    SCIENTIFIC,
    STAC_VERSION,
    VERSION,
    collection_at,
    first_moment,
    item_at,
    last_moment,
    license_links,
    moment,
)
from fleet.catalogue.licences import licence_of
from fleet.catalogue.texts import ENGLISH, OTHERS, texts
from fleet.descriptions import Creator, Description

Json = dict[str, Any]

_TITLE: Final = "Datasets and their mirrors / Jeux de données et leurs miroirs"
_ABOUT: Final = (
    "Every version of every dataset, with its checksums, its mirrors and its torrents. / Chaque "
    "version de chaque jeu de données, avec ses sommes de contrôle, ses miroirs et ses torrents."
)


def collection(dataset: Dataset, base: str) -> Json:
    """Make the Collection of a dataset that has a version.

    Args:
        dataset: it.
        base: URL that the catalogue is published at.
    """
    description, newest = dataset.description, dataset.latest or dataset.entries[-1]
    box, origin = footprint(dataset.id, description.extent.bbox)
    said = texts(description)
    made: Json = {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [VERSION, LANGUAGE, *([SCIENTIFIC] if dataset.doi else ())],
        "id": dataset.id,
        "title": dataset.id,
        **said,
        "description": description.summary.in_("en") or said.get("title", dataset.id),
        **OTHERS[ENGLISH],
        "license": licence_of(description, newest.licence).id or "other",
        "version": newest.label,
        "deprecated": dataset.latest is None,
        "extent": {
            "spatial": {"bbox": [list(box)]},
            "temporal": {"interval": [_interval(dataset)]},
        },
        "fleet:footprint": origin,
        "links": _links(dataset, newest, base),
    }
    if description.summary.fr:
        made["fleet:description_fr"] = description.summary.fr
    if providers := _providers(description):
        made["providers"] = providers
    if description.creators:
        made["fleet:creators"] = [
            one.model_dump(exclude_defaults=True) for one in description.creators
        ]
    if dataset.doi:
        made["sci:doi"] = dataset.doi
    return made


def catalog(collections: Iterable[Json], base: str) -> Json:
    """Make the Catalog that leads to all Collections."""
    return {
        "type": "Catalog",
        "stac_version": STAC_VERSION,
        "id": "catalogue",
        "title": _TITLE,
        "description": _ABOUT,
        "links": [
            _link("self", f"{base}/{CATALOG_FILE}"),
            _link("root", f"{base}/{CATALOG_FILE}"),
            *(_child(one) for one in collections),
        ],
    }


def _child(collection: Json) -> Json:
    address = next(one["href"] for one in collection["links"] if one["rel"] == "self")
    return {**_link("child", address), "title": collection["title"]}


def _interval(dataset: Dataset) -> list[str | None]:
    """Tell what time the data are of; where that is not said, from when to when they came out."""
    extent = dataset.description.extent
    if extent.start or extent.end:
        start, end = extent.start, extent.end
        return [first_moment(start) if start else None, last_moment(end) if end else None]
    published = [one.published_at for one in dataset.entries]
    return [moment(min(published)), moment(max(published))]


def _links(dataset: Dataset, newest: Entry, base: str) -> list[Json]:
    description = dataset.description
    made = [
        _link("self", collection_at(base, dataset)),
        _link("root", f"{base}/{CATALOG_FILE}"),
        _link("parent", f"{base}/{CATALOG_FILE}"),
        {**_link("latest-version", item_at(base, dataset, newest)), "type": "application/geo+json"},
    ]
    for entry in dataset.entries:
        at = item_at(base, dataset, entry)
        made.append({"rel": "item", "href": at, "type": "application/geo+json"})
    if page := dataset.page():
        made.append({"rel": "alternate", "href": page, "type": "text/html"})
    made += license_links(licence_of(description, newest.licence))
    if url := description.homepage:
        made.append({"rel": "about", "href": url})
    if dataset.doi:
        made.append({"rel": "cite-as", "href": f"https://doi.org/{quote(dataset.doi)}"})
    return made


def _link(rel: str, href: str) -> Json:
    return {"rel": rel, "href": href, "type": "application/json"}


def _providers(description: Description) -> list[Json]:
    found = [_provider(one) for one in description.creators]
    if description.publisher:
        found.append({"name": description.publisher, "roles": ["host"]})
    return found


def _provider(creator: Creator) -> Json:
    name = f"{creator.given} {creator.name}" if creator.given else creator.name
    told: Json = {"name": name, "roles": ["producer"]}
    return {**told, "url": creator.url} if creator.url else told
