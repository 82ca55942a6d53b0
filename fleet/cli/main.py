"""`fleet …`: the commands, each a few lines that call the room that does the work.

Exit codes: 0 done; 1 refused or failed, with one line on standard error; 2 wrong usage; 3 it was
carried out, but not everything that was asked for is there (`fleet why` tells what and why).
`fleet pull` and `fleet get`, which a signal may end at any time without harm, then end with 128 and
its number.

Imports stand inside the commands, so that each starts as fast as what it needs.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet.cli import describing, ledger, local, running, sites
from fleet.cli.catalogue.app import app as catalogue_app
from fleet.cli.programs import Json, print_json
from fleet.cli.torrent.app import app as torrent_app
from fleet.control.errors import FleetError

INCOMPLETE = 3
app = typer.Typer(
    help="Fleet keeps open data alive: mirrored, verified, seeded, cited.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(running.app)
app.add_typer(catalogue_app, name="catalogue")
app.add_typer(describing.app, name="dataset")
app.add_typer(ledger.app, name="ledger")
app.add_typer(sites.app, name="site")
app.add_typer(torrent_app, name="torrent")

_SOURCE = (
    "A URL; a record, item or DOI of Zenodo's or archive.org's; s3://BUCKET/PREFIX, or a bucket's "
    "URL that ends in /; stac+URL; or the path of a list, folder, torrent or STAC document."
)


@app.command()
def mirror(
    source: Annotated[str, typer.Argument(help=_SOURCE)],
    dataset: Annotated[str, typer.Option(help="The dataset's id; else named after it.")] = "",
    label: Annotated[str, typer.Option(help="The version's label; else today's date.")] = "",
    rule: Annotated[
        str, typer.Option(help='What must hold, as JSON: {"copies": 2, "selector": "kind=node"}.')
    ] = "",
    key: Annotated[str, typer.Option(help="Asked for twice under one key, it is done once.")] = "",
    code: Annotated[
        Path | None, typer.Option(help="The code that made it: a folder, or a git repository.")
    ] = None,
    commit: Annotated[str, typer.Option(help="The repository's commit, by its full id.")] = "",
    environment: Annotated[
        list[Path] | None, typer.Option(help="A file that defines the code's environment.")
    ] = None,
    sources: Annotated[
        Path | None, typer.Option(help="What it was made from: a sha256 and a URL on each line.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
    as_json: Json = False,
) -> None:
    """Mirror a dataset: import it, prove every byte, copy it to every site its rule names.

    With --code, a bundle of what made it goes along as one of its files: the
    same bytes each time, without what secrets are usually called.
    """
    from fleet.cli import mirroring

    made_by = mirroring.blueprint(code, commit, environment, sources)
    mirrored = mirroring.start(source, made_by, dataset=dataset, label=label, rule=rule, key=key)
    if not as_json:
        again = " (asked for before)" if mirrored.repeated else ""
        typer.echo(
            f"{mirrored.dataset} {mirrored.label}: {mirrored.artifacts} files{again}, "
            f"version {mirrored.version}"
        )
    done = mirroring.wait(mirrored.version, quiet=as_json) if wait else None
    if as_json:
        print_json(mirroring.as_json(mirrored, done))
    if done is not None and not done.complete:
        if not as_json:
            _print_why(local.why(mirrored.version))
        raise typer.Exit(INCOMPLETE)


@app.command()
def publish(
    version: Annotated[
        str, typer.Argument(help="A version's id, DATASET/VERSION, or a dataset: its latest.")
    ],
    at: Annotated[
        str, typer.Option(metavar="SITE", help="The repository; else those its rule selects.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
    as_json: Json = False,
) -> None:
    """Publish a version in repositories: records with DOIs, which hold the data and cite them.

    A version that is too large for a record gets one with its manifest,
    checksums and torrents, and where it can be had. What was refused before is
    tried again. A DOI is for ever: a record can be withdrawn, but not changed.
    """
    from fleet.cli import publishing, tables

    name = publishing.start(version, at)
    found = publishing.wait(name, quiet=as_json) if wait else publishing.lines(name)
    if as_json:
        print_json(publishing.as_json(name, found))
    else:
        tables.show_publications([asdict(one) for one in found])
    if wait and not publishing.complete(found):
        raise typer.Exit(INCOMPLETE)


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help=_SOURCE)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it holds.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a source holds, as Fleet reads it; `fleet mirror` brings it in."""
    from fleet.cli import looking

    if not dry_run:
        raise FleetError(f"say --dry-run to look, or `fleet mirror {source}` to bring it in")
    held = looking.look(source)
    if as_json:
        print_json(held)
    else:
        looking.tell(held)


@app.command()
def get(
    version: Annotated[
        str, typer.Argument(metavar="DATASET[@VERSION]", help="What to get; else its latest.")
    ],
    catalogue: Annotated[
        list[str],
        typer.Option("--from", metavar="DIR|URL", help="A synced catalogue, or mirrors of one."),
    ],
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files or folders of it, or patterns; else all."),
    ] = None,
    root_sha256: Annotated[
        str, typer.Option(metavar="HEX", help="The SHA-256 of its root, for mirrors.")
    ] = "",
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder to put it in.")] = Path(),
    as_json: Json = False,
) -> None:
    """Download a version of a dataset from all its mirrors at once, and prove every byte.

    What it is, and who has it, stands in the signed catalogue: a folder of
    `fleet catalogue sync`, or its mirrors with the digest of its root. Bytes come
    over HTTP and from BitTorrent peers; a mirror that sends wrong ones is named,
    left alone, and told of to the centre. Stopped or broken off, the same command
    goes on where it was. It ends with 0 if all is there, 3 if only a part of it
    is, 1 if nothing is.

    \b
      fleet get census@2021 --from catalogue --to data
      fleet get census '*.parquet' --from https://a.example/catalogue --root-sha256 3f5a...
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.cli.get import run

    raise typer.Exit(
        run.main(
            version,
            paths or [],
            catalogue=catalogue,
            root_sha256=root_sha256,
            to=to,
            as_json=as_json,
        )
    )


@app.command()
def pull(
    urls: Annotated[list[str], typer.Argument(metavar="URL", help="What to download.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder to put it in.")] = Path(),
    sha256: Annotated[
        list[str] | None,
        typer.Option(metavar="HEX", help="The file's SHA-256: one for all URLs, or one for each."),
    ] = None,
    streams: Annotated[int, typer.Option(min=1, max=64, help="Answers to read at once.")] = 4,
    limit_rate: Annotated[
        str, typer.Option(metavar="RATE", help="Most bytes a second, such as 500k or 5M.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Download files, from several mirrors at once, and prove what came.

    URLs without --sha256 are a file each. URLs of one --sha256 are mirrors of
    one file and are all pulled from at once; a mirror that lies is found out
    and named. Stopped or broken off, the same command goes on where it was.

    \b
      fleet pull https://a.example/census.zip --to data
      fleet pull https://a.example/x.zip https://b.example/x.zip --sha256 3f5a...
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.cli.pull import run

    raise typer.Exit(
        run.main(
            urls,
            to=to,
            digests=sha256 or [],
            streams=streams,
            limit_rate=limit_rate,
            as_json=as_json,
        )
    )


@app.command()
def why(
    name: Annotated[str, typer.Argument(help="A dataset or site, or the id of anything.")],
    as_json: Json = False,
) -> None:
    """Explain a dataset, replica, transfer or anything else, and when it is looked at again."""
    answer = local.why(name)
    if as_json:
        print_json(answer)
    else:
        _print_why(answer)


@app.command()
def status(as_json: Json = False) -> None:
    """Show every dataset and site."""
    from fleet.cli import tables

    data = local.status()
    if as_json:
        print_json(data)
    else:
        tables.show_status(data)


@app.command()
def retry(transfer: Annotated[str, typer.Argument(help="The transfer's id.")]) -> None:
    """Let a suspended transfer be tried again."""
    from fleet.control import suspensions

    typer.echo(suspensions.retry(local.store(), transfer))


@app.command()
def report(
    site: Annotated[str, typer.Argument(help="The site that is at fault.")],
    symptom: Annotated[str, typer.Argument(help="unreachable, slow, wrong bytes, stale, other.")],
    dataset: Annotated[str | None, typer.Option(help="The dataset it was seen with.")] = None,
) -> None:
    """Report a fault of a site: it is probed at once."""
    from fleet.control import observations

    typer.echo(f"report {observations.report(local.store(), site, symptom, dataset)} kept")


@app.command()
def traffic(as_json: Json = False) -> None:
    """Show when each site carries bulk traffic, why then, and how its providers answer."""
    from fleet.cli import tables

    data = local.traffic()
    if as_json:
        print_json(data)
    else:
        tables.show_traffic(data)


@app.command()
def upgrade() -> None:
    """Bring the database's tables to what this release needs."""
    local.upgrade()


def main() -> None:
    """Run the command line; say what was refused in one line."""
    try:
        app()
    except FleetError as error:
        sys.stderr.write(f"fleet: {error}\n")
        sys.exit(1)


def _print_why(answer: dict[str, Any]) -> None:
    from fleet.cli import tables

    tables.show_why(answer)
