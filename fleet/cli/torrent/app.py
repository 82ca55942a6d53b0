"""`fleet torrent …`: the commands, each a few lines that call the module of its name."""

from pathlib import Path
from typing import Annotated

import typer

from fleet.cli.programs import Json

app = typer.Typer(
    help="Torrents of any file or folder: made, checked, shown, linted, reissued.",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A .torrent file.")]
Probe = Annotated[
    bool, typer.Option("--probe", help="Ask each web seed for a whole piece and check it.")
]


@app.command()
def create(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file or a folder.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; else NAME.torrent here.")
    ] = None,
    web_seed: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Where the file is to be had, or the folder's parent."),
    ] = None,
    tracker: Annotated[list[str] | None, typer.Option(metavar="URL", help="A tracker.")] = None,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="For whoever reads it.")] = "",
    as_json: Json = False,
) -> None:
    """Make the torrent of a file or folder; the same content always gets the same infohash.

    Hidden files are left out. The order and the length of the pieces follow
    from the paths and sizes alone, and nothing holds a date.
    """
    from fleet.cli.torrent import create

    links = create.Links(tuple(web_seed or ()), tuple(tracker or ()), comment)
    raise typer.Exit(create.main(path, out, links, as_json=as_json))


@app.command()
def verify(
    torrent: Annotated[Path, typer.Argument(metavar="TORRENT", help="A .torrent file.")],
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file or folder, or the folder it lies in.")
    ],
    as_json: Json = False,
) -> None:
    """Check files against a torrent, whoever made it, and name what is bad or missing."""
    from fleet.cli.torrent import verify

    raise typer.Exit(verify.main(torrent, path, as_json=as_json))


@app.command()
def show(file: File, as_json: Json = False) -> None:
    """Show what a torrent holds, where it is to be had, and its magnet link."""
    from fleet.cli.torrent import show

    show.main(file, as_json=as_json)


@app.command()
def lint(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="The .torrent files.")],
    probe: Probe = False,
    as_json: Json = False,
) -> None:
    """Say what keeps clients from using a torrent, and what they would ask its web seeds for.

    It ends with 1 if anything is an error: something that some client cannot use.
    """
    from fleet.cli.torrent import lint

    raise typer.Exit(lint.main(files, probe=probe, as_json=as_json))


@app.command()
def reissue(
    file: File,
    web_seeds: Annotated[
        list[str] | None,
        typer.Option("--web-seed", metavar="URL", help="A web seed; may be given often."),
    ] = None,
    no_web_seeds: Annotated[bool, typer.Option("--no-web-seeds", help="Have none.")] = False,
    trackers: Annotated[
        list[str] | None,
        typer.Option("--tracker", metavar="URL", help="A tracker; may be given often."),
    ] = None,
    no_trackers: Annotated[bool, typer.Option("--no-trackers", help="Have none.")] = False,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="A comment, in English.")] = "",
    comment_fr: Annotated[str, typer.Option(metavar="TEXT", help="The same in French.")] = "",
    no_comment: Annotated[bool, typer.Option("--no-comment", help="Have none.")] = False,
    probe: Annotated[
        bool, typer.Option("--probe", help="Drop the web seeds that do not serve a whole piece.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; else in its place.")
    ] = None,
) -> None:
    """Write a torrent with other web seeds, trackers or comment, and the same infohash.

    What no option speaks of stays as it is; httpseeds and the creation date are removed.
    """
    from fleet.cli.torrent import reissue

    reissue.main(
        file,
        out or file,
        web_seeds=reissue.wanted(web_seeds, no_web_seeds, "--web-seed", "--no-web-seeds"),
        trackers=reissue.wanted(trackers, no_trackers, "--tracker", "--no-trackers"),
        comments=reissue.wanted(
            [text for text in (comment, comment_fr) if text],
            no_comment,
            "--comment",
            "--no-comment",
        ),
        probe=probe,
    )


@app.command()
def adopt(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="A .torrent file.")],
    version: Annotated[
        str, typer.Option(metavar="ID", help="The version, or dataset, whose bytes it is of.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Take up torrents that others made: once checked, they are seeded from the same files.

    Each is an alias of the torrent of the shard whose files it has, by their
    names and sizes; its pieces are checked against the bytes that are held.
    """
    from fleet.cli.torrent import adopt

    raise typer.Exit(adopt.main(files, version=version, as_json=as_json))
