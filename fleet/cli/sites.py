"""`fleet site …`: the sites that can hold replicas, and the tokens that they have."""

from pathlib import Path
from typing import Annotated

import typer

from fleet.cli import local
from fleet.cli.programs import Json, print_json
from fleet.control.errors import UndoneError

app = typer.Typer(help="Sites that can hold replicas.", no_args_is_help=True)


@app.command()
def apply(path: Annotated[Path, typer.Argument(help="The sites file (YAML).")]) -> None:
    """Make the sites what a file says."""
    from fleet.control import sites

    specs, providers = sites.read(path), sites.read_providers(path)
    try:
        changes = sites.apply(local.store(), specs, providers)
    except UndoneError as error:
        for change in error.done:
            typer.echo(change)
        raise
    for change in changes or ["nothing changed"]:
        typer.echo(change)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the sites and what they hold."""
    from fleet.cli import tables

    data = local.status()["sites"]
    if as_json:
        print_json(data)
    else:
        tables.show_sites(data)


@app.command()
def token(site: str) -> None:
    """Make a new token for a site, in place of the old one; it is shown only now."""
    from fleet.control import sites

    typer.echo(sites.make_token(local.store(), site))
