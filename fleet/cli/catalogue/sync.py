"""`fleet catalogue sync`: the newest catalogue that mirrors have, in a folder."""

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fleet.catalogue.client import Fetcher, Home, Mirror, Synced, Trust, sync
from fleet.cli.catalogue import words
from fleet.cli.programs import print_json
from fleet.cli.pull.wishes import typed_networks
from fleet.cli.text import clean
from fleet.settings import CentreSettings

INTERRUPTED = 130
_COLUMNS = (TextColumn("catalogue"), BarColumn(), DownloadColumn(), TransferSpeedColumn())


def main(
    mirrors: Sequence[str], to: Path, root: Path | None, sha256: str, *, as_json: bool
) -> None:
    """Sync, and tell what is there and whom not to believe.

    Raises:
        FleetError: no mirror has a catalogue that can be believed.
        BadParameter: the digest is none.
        Exit: Ctrl-C ended it.
    """
    pinned = sha256.strip().lower().removeprefix("sha256:")
    if pinned and not re.fullmatch("[0-9a-f]{64}", pinned):
        raise typer.BadParameter("--root-sha256: a SHA-256 has 64 hex digits, this has not")
    now = datetime.now(UTC)
    with words.refusing():
        asked = [Mirror.at(one) for one in mirrors]
        try:
            synced = synced_with_bar(Home(to), asked, Trust(root, pinned), now, quiet=as_json)
        except KeyboardInterrupt:
            sys.stderr.write("fleet: stopped; what was there is still there\n")
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        refused = [{"mirror": one.mirror, "reason": one.reason} for one in synced.refusals]
        about = {"folder": str(synced.folder), "changed": synced.changed}
        about |= {"mended": synced.mended, "refused": refused}
        print_json(about | words.as_json(synced.signed, now))
        return
    news = "is now" if synced.changed else "is still"
    typer.echo(f"{clean(str(synced.folder))} {news} {words.state(synced.signed, now)}")
    for path in synced.mended:
        typer.echo(f"mended: {clean(path)}")
    for one in synced.refusals:
        sys.stderr.write(f"fleet: {clean(one.mirror)} was not used: {clean(one.reason)}\n")


def synced_with_bar(
    home: Home, mirrors: Sequence[Mirror], trust: Trust, now: datetime, *, quiet: bool
) -> Synced:
    """Sync, and show how far it is; ``quiet`` shows nothing."""
    settings = CentreSettings()
    typed = typed_networks(one.base for one in mirrors if not one.base.startswith("file:"))
    bar = Progress(*_COLUMNS, console=Console(stderr=True), disable=quiet, transient=True)
    with Fetcher(settings.user_agent, settings.allow_networks + typed) as fetcher, bar:
        task = bar.add_task("", total=None)
        return sync(
            home,
            mirrors,
            trust,
            now,
            fetcher,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
