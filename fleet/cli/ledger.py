"""`fleet ledger …`: what is known of every file, written for other programs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli import local
from fleet.cli.programs import Json
from fleet.control.errors import FleetError

app = typer.Typer(help="What is known of every file, and where it lies.", no_args_is_help=True)


@app.command()
def export(
    to: Annotated[Path, typer.Option(metavar="FILE", help="The Parquet file to write.")],
    dataset: Annotated[str | None, typer.Argument(help="A dataset's id; else all.")] = None,
    as_json: Json = False,
) -> None:
    """Write a Parquet file: a row for each file and site that has it or is to have it.

    Its columns are url, dataset_id, status, http_status, etag, error,
    started_at, finished_at, part_size and part_count, as ingests keep them, and
    size, sha256, md5, site, verified_at, version and path. What is not known is
    null.

    \b
      fleet ledger export --to ledger.parquet
      fleet ledger export census-2021 --to census.parquet
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.cli.text import clean, size

    rows = _write(dataset, _checked(to), quiet=as_json)
    written = to.stat().st_size
    if as_json:
        typer.echo(json.dumps({"file": str(to), "rows": rows, "bytes": written}))
    else:
        typer.echo(f"{clean(str(to))}: {rows:,} rows, {size(written)}")


def _checked(place: Path) -> Path:
    """Refuse a place that nothing can be written to, before the store is asked for anything."""
    from fleet.cli.text import clean

    shown = clean(str(place))
    if place.suffix != ".parquet":
        raise FleetError(f"--to {shown}: a ledger is written as Parquet; end its name in .parquet")
    if place.is_dir():
        raise FleetError(f"--to {shown} is a folder; name a file in it")
    if not place.parent.is_dir():
        raise FleetError(f"--to {shown}: there is no folder {clean(str(place.parent))}; make it")
    return place


def _write(dataset: str | None, place: Path, *, quiet: bool) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from fleet.cli.files import replacing
    from fleet.control import exports

    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    opened = local.store()
    with opened.read() as session:
        chosen = exports.select(session, dataset)
        bar = Progress(*columns, console=Console(stderr=True), disable=quiet)
        with replacing(place) as file, bar:
            task = bar.add_task("", total=chosen.rows)
            exports.write(session, chosen, file, lambda done: bar.update(task, completed=done))
    return chosen.rows
