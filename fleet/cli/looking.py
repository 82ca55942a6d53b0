"""`fleet import --dry-run`: what a source holds, for people and for programs."""

from collections.abc import Iterator
from typing import Any

import typer

from fleet import importers
from fleet.cli.text import size
from fleet.control.errors import FleetError
from fleet.importers.draft import ImportRefused, counted
from fleet.settings import CentreSettings


def look(source: str) -> dict[str, Any]:
    """Read ``source`` as the admin of this machine; return what it holds.

    Raises:
        FleetError: it cannot be read.
    """
    try:
        draft = importers.read_source(source, import_root=None, settings=CentreSettings())
    except ImportRefused as error:
        raise FleetError(str(error)) from error
    return importers.as_json(draft)


def tell(held: dict[str, Any]) -> None:
    """Print what a source holds: its files, then what is odd, then the sum of it."""
    for line in _files(held["artifacts"]):
        typer.echo(line)
    for refused in held["refused"]:
        typer.echo(f"refused: {refused['reason']}", err=True)
    for note in held["notes"]:
        typer.echo(f"note: {note}", err=True)
    about = (("title", held["title"]), ("licence", held["licence"]), ("doi", held["doi"]))
    for name, value in about:
        if value:
            typer.echo(f"{name}: {value}")
    typer.echo(_sum(held["artifacts"]))


def _files(artifacts: list[dict[str, Any]]) -> Iterator[str]:
    for one in artifacts:
        known = "?" if one["size"] is None else size(one["size"])
        digests = "+".join(kind for kind in ("sha256", "md5") if one[kind]) or "-"
        sources = counted(len(one["sources"]), "source")
        yield f"{known:>8}  {digests:<10}  {one['path']}  ({sources})"


def _sum(artifacts: list[dict[str, Any]]) -> str:
    files = counted(len(artifacts), "file")
    sizes = [one["size"] for one in artifacts if one["size"] is not None]
    unknown = len(artifacts) - len(sizes)
    told = f"{size(sum(sizes))} in {len(sizes):,} of them" if unknown else size(sum(sizes))
    checked = sum(bool(one["sha256"] or one["md5"]) for one in artifacts)
    checks = f"{checked:,} with a published checksum"
    return f"{files}, {told}; {checks}" if sizes or checked else files
