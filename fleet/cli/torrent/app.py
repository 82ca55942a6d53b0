"""`fleet torrent …`: the commands, each a few lines that call the module of its name."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Torrents: what is in them, what is wrong, new links.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A .torrent file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Probe = Annotated[
    bool, typer.Option("--probe", help="Ask each web seed for a whole piece and check it.")
]


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
