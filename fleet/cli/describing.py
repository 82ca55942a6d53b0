"""`fleet dataset …`: what is said of datasets, and asked for them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fleet.cli import local
from fleet.cli.programs import Json, print_json

app = typer.Typer(help="What is said of datasets, and asked for them.", no_args_is_help=True)


@app.command()
def describe(
    dataset: Annotated[str, typer.Argument(help="The dataset's id.")],
    file: Annotated[Path, typer.Argument(help="What to say of it (YAML).")],
) -> None:
    """Say what a file says of a dataset, in place of what was said before.

    Its fields are those of `fleet dataset show`: title, summary, creators,
    publisher and licence, which no record can do without, and keywords,
    homepage and extent. What people read is in English, in French, or both.

    \b
      title: {en: Buildings of Canada, fr: Bâtiments du Canada}
      summary: {en: Every building of Canada., fr: Tous les bâtiments du Canada.}
      creators: [{name: Data for Canada}]
      publisher: Data for Canada
      licence: {id: CC-BY-4.0}
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.control import descriptions

    said = descriptions.read(file)
    name = descriptions.keep(local.store(), dataset, said)
    typer.echo(f"{name}: {', '.join(sorted(said.model_fields_set)) or 'nothing'} said")


@app.command()
def rule(
    dataset: Annotated[str, typer.Argument(help="The dataset's id.")],
    rule: Annotated[str, typer.Option(metavar="JSON", help="As `fleet mirror` takes it.")],
) -> None:
    """Have a rule hold for all versions of a dataset, in place of the one before.

    \b
      fleet dataset rule catalogue --rule '{"copies": 3, "min": 2, "selector": "kind=node"}'
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.cli import mirroring
    from fleet.control import rules

    name = rules.change(local.store(), dataset, mirroring.spec(rule))
    typer.echo(f"{name}: looked at anew by this rule")


@app.command()
def show(
    dataset: Annotated[str, typer.Argument(help="The dataset's id.")],
    as_json: Json = False,
) -> None:
    """Show what is said of a dataset, as `fleet dataset describe` reads it."""
    from fleet.cli.text import clean
    from fleet.control import descriptions

    with local.store().read() as session:
        found = descriptions.show(session, dataset)
    if as_json:
        print_json(found)
        return
    if found["doi"]:
        typer.echo(f"# all versions: https://doi.org/{clean(found['doi'])}")
    lines = _yaml(found["description"]).splitlines()
    for line in lines or [f"# nothing is said of it: fleet dataset describe {dataset} FILE"]:
        typer.echo(clean(line))


def _yaml(said: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(said, allow_unicode=True, sort_keys=False)) if said else ""
