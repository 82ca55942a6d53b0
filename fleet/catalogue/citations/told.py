"""Works, from what the catalogue tells of them: Items and their Collection.

They are what ``work`` makes of a dataset's values, but for the addresses of files: an Item knows
mirrors, and only of files that are the only ones of their roles.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from pydantic import ValidationError

from fleet.catalogue.citations.work import Contents, Download, Related, Work
from fleet.catalogue.item import FILES
from fleet.catalogue.licences import Licence
from fleet.descriptions import Creator, Extent, Keywords, Summary, Title
from fleet.planning.states import VersionState

Json = dict[str, Any]

_TORRENT = "application/x-bittorrent"


def work_told(versions: Sequence[Json], chosen: Json, collection: Json, *, whole: bool) -> Work:
    """Make a work of what is told.

    Args:
        versions: the Items of all versions of the dataset, the oldest first.
        chosen: the one that is meant, or the latest.
        collection: of the dataset, or empty if it is not told.
        whole: whether the dataset is meant with all of its versions.

    Raises:
        ValueError: it says what no catalogue of ours does.
    """
    try:
        return _work(versions, chosen, collection, whole=whole)
    except (KeyError, TypeError, AttributeError, IndexError, ValidationError) as error:
        raise ValueError(f"the catalogue tells nothing sensible of {chosen.get('id')}") from error


def _work(versions: Sequence[Json], item: Json, collection: Json, *, whole: bool) -> Work:
    said = item["properties"]
    came_out = min(_published(one) for one in versions) if whole else _published(item)
    related = _versions(versions) if whole else _neighbours(versions, item, collection)
    providers = collection.get("providers", ())
    hosts = [one["name"] for one in providers if "host" in one.get("roles", ())]
    creators = tuple(map(Creator.model_validate, collection.get("fleet:creators", ())))
    license_link = _link(item, "license")
    licence = said["license"]
    return Work(
        id=item["collection"] if whole else item["id"],
        page=_page(collection if whole else item),
        doi=said.get("fleet:concept_doi", "") if whole else said.get("sci:doi", ""),
        title=_both(said, "title", Title) or Title(en=item["collection"]),
        summary=_summary(said, collection),
        creators=creators,
        publisher=hosts[0] if hosts else "",
        published=came_out,
        version="" if whole else said["version"],
        state=VersionState(said["fleet:state"]),
        licence=Licence(
            "" if licence == "other" else licence,
            license_link.get("title", ""),
            license_link.get("href", ""),
        ),
        keywords=_both(said, "keywords", Keywords) or Keywords(),
        extent=_extent(item, collection),
        homepage=_link(collection, "about").get("href", ""),
        source=said.get("processing:lineage", ""),
        catalog=_link(item, "root").get("href", ""),
        contents=Contents(said["fleet:files"], said["fleet:size"], _formats(item)),
        downloads=tuple(_downloads(item)),
        related=tuple(one for one in related if one.address),
    )


def _published(item: Json) -> date:
    return datetime.fromisoformat(item["properties"]["published"]).date()


def _both(said: Json, name: str, kind: Any) -> Any:
    """Read what is in both languages; what is the same in both was said in French alone."""
    first, french = said.get(name), said.get(f"fleet:{name}_fr")
    given = {"en": first if first != french else None, "fr": french}
    given = {language: text for language, text in given.items() if text}
    return kind.model_validate(given) if given else None


def _summary(said: Json, collection: Json) -> Summary:
    """Read the whole summary, which the Collection has, or else its first paragraph."""
    if not collection or "description" not in said:
        return _both(said, "description", Summary) or Summary()
    return _both(collection, "description", Summary) or Summary()


def _extent(item: Json, collection: Json) -> Extent:
    said = item["properties"]
    box = item["bbox"] if said.get("fleet:footprint") == "described" else None
    days = [said.get("start_datetime"), said.get("end_datetime")]
    if collection and not all(days):
        days = collection["extent"]["temporal"]["interval"][0]
        days = [] if all(days) else days  # when versions came out
    start, end = (day and day[:10] for day in days or (None, None))
    return Extent(bbox=box, start=start, end=end)


def _formats(item: Json) -> tuple[str, ...]:
    files = (one for role, one in item["assets"].items() if role != FILES)
    return tuple(sorted({one["type"] for one in files if "type" in one}))


def _downloads(item: Json) -> Iterator[Download]:
    for one in item["assets"].values():
        media_type = one.get("type", "application/octet-stream")
        sha256 = one["file:checksum"].removeprefix("1220")
        yield Download(one["title"], one["href"], media_type, one["file:size"], sha256)
    for link in item["links"]:
        if link.get("type") == _TORRENT:
            yield Download(f"{link['title']}.torrent", link["href"], _TORRENT)


def _versions(versions: Sequence[Json]) -> Iterator[Related]:
    for one in versions:
        yield _related("HasVersion", one)


def _neighbours(versions: Sequence[Json], item: Json, collection: Json) -> Iterator[Related]:
    concept = item["properties"].get("fleet:concept_doi", "")
    yield Related("IsVersionOf", concept, _page(collection))
    at = [one["id"] for one in versions].index(item["id"])
    for relation, near in (
        ("IsNewVersionOf", versions[max(at - 1, 0) : at]),
        ("IsPreviousVersionOf", versions[at + 1 : at + 2]),
    ):
        yield from (_related(relation, one) for one in near)


def _related(relation: str, item: Json) -> Related:
    return Related(relation, item["properties"].get("sci:doi", ""), _page(item))


def _page(told: Json) -> str:
    address: str = _link(told, "alternate").get("href", "")
    return address


def _link(told: Json, relation: str) -> Json:
    return next((one for one in told.get("links", ()) if one["rel"] == relation), {})
