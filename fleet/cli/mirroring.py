"""`fleet mirror`: asks for it, and waits with a progress bar."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from fleet.cli import local
from fleet.control import blueprints, mirror, progress, rules
from fleet.control.blueprints import Blueprint
from fleet.control.errors import FleetError
from fleet.control.mirror import Mirrored
from fleet.control.rules import RuleSpec
from fleet.settings import CentreSettings
from fleet.store.database import Store

_POLL_SECONDS = 0.25


def start(
    source: str, blueprint: Blueprint | None, *, dataset: str, label: str, rule: str, key: str
) -> Mirrored:
    """Ask for a mirror, as the admin of this machine; with what made it, where that is given.

    Raises:
        FleetError: it is refused; nothing was changed.
    """
    wanted = spec(rule) if rule else None
    store = local.store()
    settings = CentreSettings()
    bundle = None if blueprint is None else blueprints.keep(settings, blueprint)
    for note in bundle.notes if bundle else ():
        sys.stderr.write(f"note: {note}\n")
    return mirror.mirror_dataset(
        store,
        source,
        wanted,
        dataset=dataset,
        label=label,
        key=key,
        bundle=bundle,
        settings=settings,
    )


def spec(rule: str) -> RuleSpec:
    """Read a rule as a person writes it.

    Raises:
        FleetError: it cannot be read; the message says which part.
    """
    try:
        data = json.loads(rule)
    except json.JSONDecodeError as error:
        raise FleetError(f"--rule is not JSON: {error}") from error
    return rules.parse(data)


def blueprint(
    code: Path | None, commit: str, environment: list[Path] | None, sources: Path | None
) -> Blueprint | None:
    """Tell what a bundle is to be made of; None where none is asked for.

    Raises:
        FleetError: there is something to go with the code, and no code.
    """
    if code is not None:
        return Blueprint(code, commit, tuple(environment or ()), sources)
    if commit or environment or sources:
        raise FleetError("--commit, --environment and --sources go with --code, which is missing")
    return None


def wait(version: str, *, quiet: bool, store: Store | None = None) -> progress.Progress:
    """Wait until nothing about a version is under way, with a bar on standard error."""
    opened = store or local.store()
    console = Console(stderr=True, quiet=quiet)
    console.print(
        f"`fleet why {version}` tells at any time what it waits for; Ctrl-C only stops waiting"
    )
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=False),
        TextColumn("{task.fields[copies]}"),
        TimeElapsedColumn(),
        console=console,
        disable=quiet,
    )
    with bar:
        task = bar.add_task("importing", total=None, copies="")
        while True:
            with opened.read() as session:
                done = progress.of(session, version)
            bar.update(task, **_shown(done))
            if done.settled:
                return done
            time.sleep(_POLL_SECONDS)


def as_json(mirrored: Mirrored, done: progress.Progress | None) -> dict[str, Any]:
    """Return what a program wants to know."""
    data = asdict(mirrored)
    return data if done is None else data | {"progress": asdict(done), "complete": done.complete}


def _shown(done: progress.Progress) -> dict[str, Any]:
    waiting = done.live and not done.active
    if done.replicas_wanted:
        copying = "waiting to copy" if waiting else "copying"
        return {
            "description": "publishing" if done.publishing and not done.live else copying,
            "total": done.bytes_wanted,
            "completed": min(done.bytes_done, done.bytes_wanted),
            "copies": f"{done.replicas_available}/{done.replicas_wanted} copies",
        }
    return {
        "description": "waiting to try again" if waiting else "fetching",
        "completed": done.bytes_known,
        "copies": f"{done.known}/{done.artifacts} files",
    }
