"""`fleet catalogue show`: one version as the catalogue tells it, or how it is cited."""

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.catalogue.citations.formats import BY_NAME
from fleet.catalogue.citations.told import work_told
from fleet.catalogue.citations.work import Work, address
from fleet.catalogue.reader import Told
from fleet.cli.catalogue import source
from fleet.cli.text import clean, size
from fleet.control.errors import FleetError

Json = dict[str, Any]


def main(name: str, given: str, cite: str, *, as_json: bool) -> None:
    """Show a version, or print its Item, or a citation.

    Raises:
        FleetError: it is not in the catalogue, or that cannot be read.
    """
    with source.opened(given) as catalogue:
        told = catalogue.find(name)
    try:
        work = work_told(told.versions, told.item, told.collection, whole=told.whole)
        if cite:
            sys.stdout.write(BY_NAME[cite].write(work))
            return
        shown = list(_shown(told, work))
        item = json.dumps(told.item, ensure_ascii=False)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FleetError(f"the catalogue tells nothing sensible of {clean(name)}") from error
    if as_json:
        sys.stdout.write(f"{item}\n")
    else:
        Console().print(*shown, sep="\n")


def _shown(told: Told, work: Work) -> Iterator[Text | Table]:
    """Yield what is printed one below the other."""
    yield Text(clean(work.title.in_("en")), style="bold")
    if work.title.in_("fr") != work.title.in_("en"):
        yield Text(clean(work.title.in_("fr")))
    facts = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _facts(told.item, work):
        facts.add_row(name, Text(clean(value), overflow="fold"))
    yield facts
    for made in (_versions(told), _files(told.item), _mirrors(told.item), _torrents(told.item)):
        if rows := list(made):
            yield Text()
            yield _table(rows)


def _facts(item: Json, work: Work) -> Iterator[tuple[str, str]]:
    said = item["properties"]
    yield "dataset", item["collection"]
    published = datetime.fromisoformat(said["published"])
    yield "version", f"{said['version']} ({said['fleet:state']}, {_local(published)})"
    when = said.get("fleet:licence_retrieved")
    licence = " ".join(
        one for one in (work.licence.title or work.licence.id, work.licence.url) if one
    )
    if licence:
        yield "licence", f"{licence} (as retrieved on {when})" if when else licence
    if doi := said.get("sci:doi"):
        yield "DOI", address(doi)
    if concept := said.get("fleet:concept_doi"):
        yield "all versions", address(concept)
    if work.page:
        yield "page", work.page
    if work.source:
        yield "from", work.source
    yield "files", f"{said['fleet:files']:,}, {size(said['fleet:size'])}"


def _versions(told: Told) -> Iterator[Json]:
    for one in reversed(told.versions):
        said = one["properties"]
        mark = "*" if one["id"] == told.item["id"] else ""
        yield {
            "version": f"{said['version']}{mark}",
            "state": said["fleet:state"],
            "published": _local(datetime.fromisoformat(said["published"])),
            "size": size(said["fleet:size"]),
            "DOI": said.get("sci:doi", ""),
        }


def _files(item: Json) -> Iterator[Json]:
    for role, one in item["assets"].items():
        yield {
            "file": one["title"],
            "role": role,
            "size": size(one["file:size"]),
            "sha256": one["file:checksum"].removeprefix("1220"),
        }


def _mirrors(item: Json) -> Iterator[Json]:
    for one in item["properties"].get("fleet:mirrors", ()):
        verified, shards = one.get("verified_at"), one.get("shards")
        yield {
            "mirror": one["site"],
            "kind": one["kind"],
            "country": one.get("country", ""),
            "verified": _local(datetime.fromisoformat(verified)) if verified else "",
            "has": f"shards {', '.join(map(str, shards))}" if shards else "all",
            "files at": one["url"],
        }


def _torrents(item: Json) -> Iterator[Json]:
    for one in item["links"]:
        if one.get("type") == "application/x-bittorrent":
            yield {"torrent": one["title"], "infohash": one["fleet:infohash"], "at": one["href"]}


def _table(rows: list[Json]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(str(one))) for one in row.values()))
    return table


def _local(moment: datetime) -> str:
    """Write a moment in the reader's own zone, which is named."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"
