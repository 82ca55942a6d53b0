"""`fleet catalogue …`: the commands, each a few lines that call the module of its name."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.programs import Json

app = typer.Typer(help="The catalogue: synced from any mirror, and proved.", no_args_is_help=True)
keys_app = typer.Typer(help="The keys that sign the catalogue.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")

Cite = StrEnum("Cite", ["bibtex", "csl", "datacite", "jsonld", "croissant"])
RootKeys = Annotated[
    list[Path], typer.Option("--root-key", metavar="FILE", help="A root key that signs; of each.")
]


@app.command()
def sync(
    mirrors: Annotated[
        list[str], typer.Argument(metavar="MIRROR", help="A mirror's URL, or a folder.")
    ],
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder to keep it in.")],
    root: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The root that its makers hand out.")
    ] = None,
    root_sha256: Annotated[
        str, typer.Option(metavar="HEX", help="Or that root's SHA-256: it is then fetched.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Bring the newest catalogue that the mirrors have into DIR/current, once all of it is proved.

    No mirror is trusted: one that offers what is old, altered or endless is
    named with the reason, and the others are used. Whose catalogue it is has to
    be said once, with --root or --root-sha256; DIR keeps it. All mirrors are
    asked, so that each one more makes it harder to keep news from you.

    \b
      fleet catalogue sync https://a.example/catalogue --to catalogue --root-sha256 3f5a...
      fleet catalogue sync https://a.example/catalogue /mnt/usb/catalogue --to catalogue
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.cli.catalogue import sync

    sync.main(mirrors, to, root, root_sha256, as_json=as_json)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What was synced into.")],
    as_json: Json = False,
) -> None:
    """Check every signature and every byte of a synced catalogue, without asking anybody.

    It ends with 1 if anything is not as it was signed, or has expired since.
    """
    from fleet.cli.catalogue import verify

    raise typer.Exit(verify.main(folder, as_json=as_json))


From = Annotated[
    str,
    typer.Option(
        "--from", metavar="DIR", help="What was synced into; or a catalogue.parquet, or its URL."
    ),
]


@app.command("show")
def show_version(
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET[@VERSION]", help="The latest version if none is said.")
    ],
    source: From,
    cite: Annotated[
        Cite | None, typer.Option(help="Print how to cite it instead, in a format.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a version: its licence, DOI, files, mirrors and torrents; no server is asked.

    With --json it is the STAC Item. A dataset named without a version is cited
    with all of its versions; DATASET@latest is the newest one alone.

    \b
      fleet catalogue show ca_roads --from catalogue
      fleet catalogue show ca_roads@v2 --from catalogue --cite bibtex
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.cli.catalogue import show

    show.main(dataset, source, cite.value if cite else "", as_json=as_json)


@app.command()
def query(
    source: From,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORDS]...", help="All in the id, title or keywords, EN or FR."),
    ] = None,
    bbox: Annotated[
        str, typer.Option(metavar="W,S,E,N", help="Degrees that it lies in, in part.")
    ] = "",
    licence: Annotated[str, typer.Option(metavar="ID", help="Such as CC-BY-4.0.")] = "",
    site: Annotated[str, typer.Option(metavar="ID", help="That has a verified copy.")] = "",
    as_json: Json = False,
) -> None:
    """Find datasets, each with its latest version; no server is asked.

    Accents and capitals do not matter. It ends with 1 if nothing is found. For
    any other question docs/catalogue.md shows how to ask by SQL.

    \b
      fleet catalogue query batiments --from catalogue
      fleet catalogue query --bbox=-75.9,45.2,-75.4,45.6 --from catalogue
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.catalogue.reader import Asked
    from fleet.cli.catalogue import query

    asked = Asked(licence=licence, site=site)
    raise typer.Exit(query.main(words or (), source, bbox, asked, as_json=as_json))


@keys_app.command()
def init(
    root_key: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="Where a root key is to go; once for each."),
    ],
    threshold: Annotated[int, typer.Option(help="How many root keys have to sign a root.")] = 1,
    as_json: Json = False,
) -> None:
    """Make the keys of the catalogue, and its first root.

    The root keys belong on media that are put away, each apart from the others.
    The keys of the centre go to the file that FLEET_CATALOGUE_KEYS_FILE names.
    """
    from fleet.cli.catalogue import keys

    keys.init(root_key, threshold, as_json=as_json)


@keys_app.command()
def show(as_json: Json = False) -> None:
    """Show the roots, who may sign, until when, and whether the centre's keys fit."""
    from fleet.cli.catalogue import keys

    keys.show(as_json=as_json)


@keys_app.command()
def rotate(
    root_key: RootKeys,
    online: Annotated[
        bool, typer.Option("--online", help="Put new keys in the place of the centre's.")
    ] = False,
    new_root_key: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Where a further root key is to go; once for each."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A root key that is to be no more.")
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(help="How many root keys have to sign from now on.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Sign the next root, good for another year, with other keys where that is asked for.

    As many root keys have to sign as the root before it asks for. Clients
    follow from any root to the next; the file or digest that people were given
    stays good.

    \b
      fleet catalogue keys rotate --root-key /media/a/root.pem
      fleet catalogue keys rotate --root-key /media/a/root.pem --online
      fleet catalogue keys rotate --root-key a.pem --new-root-key b.pem --drop 3f5a...
    """  # noqa: D301 - typer takes this sign for "lay out as written"
    from fleet.cli.catalogue import keys

    asked = keys.Asked(online, tuple(new_root_key or ()), tuple(drop or ()), threshold)
    keys.rotate(root_key, asked, as_json=as_json)
