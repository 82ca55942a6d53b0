"""`fleet catalogue query`: the datasets that the catalogue has, by what people look for."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.catalogue.footprint import Box
from fleet.catalogue.reader import Asked
from fleet.cli.catalogue import source
from fleet.cli.text import clean, size

NOTHING = 1
_NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"
_BOX = re.compile(",".join([_NUMBER] * 4))


def main(words: Sequence[str], given: str, box: str, asked: Asked, *, as_json: bool) -> int:
    """Print what is found, by id; the exit code says whether anything was.

    Raises:
        FleetError: the catalogue cannot be read.
        BadParameter: the box is none.
    """
    asked = Asked(tuple(words), _box(box), asked.licence, asked.site)
    with source.opened(given) as catalogue:
        found = [_row(one) for one in catalogue.search(asked)]
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    elif found:
        _show(found)
    else:
        sys.stderr.write("fleet: nothing in the catalogue is all of that\n")
    return 0 if found else NOTHING


def _box(text: str) -> Box | None:
    if not text:
        return None
    found = _BOX.fullmatch(text)
    if found is None:
        raise typer.BadParameter("--bbox: give west,south,east,north, as -75.9,45.2,-75.4,45.6")
    west, south, east, north = map(float, found.groups())
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise typer.BadParameter("--bbox: west, south, east and north are degrees, south first")
    return west, south, east, north


def _row(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": told["collection"],
        "version": told["version"],
        "title": told["title"] or "",
        "title_fr": told["fleet:title_fr"] or "",
        "licence": told["license"],
        "doi": told["sci:doi"] or "",
        "files": told["fleet:files"],
        "size": told["fleet:size"],
        "bbox": list(told["bbox"]),
    }


def _show(found: Sequence[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("dataset", "version", "title", "licence", "files", "size", "DOI"):
        table.add_column(
            name, justify="right" if name in {"files", "size"} else "left", overflow="fold"
        )
    for one in found:
        texts = (one["dataset"], one["version"], one["title"], one["licence"])
        numbers = (f"{one['files']:,}", size(one["size"]), one["doi"])
        table.add_row(*(Text(clean(text)) for text in (*texts, *numbers)))
    Console().print(table)
