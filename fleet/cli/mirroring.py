"""`fleet mirror`: asks for it, and waits with a progress bar."""

import json
import time
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from fleet.cli import local
from fleet.control import mirror, progress
from fleet.control.errors import FleetError
from fleet.control.mirror import Mirrored
from fleet.store.database import Store

_POLL_SECONDS = 0.25


def start(source: str, *, dataset: str, label: str, rule: str, key: str) -> Mirrored:
    """Ask for a mirror, as the admin of this machine.

    Raises:
        FleetError: it is refused; nothing was changed.
    """
    try:
        data = json.loads(rule) if rule else None
    except json.JSONDecodeError as error:
        raise FleetError(f"--rule is not JSON: {error}") from error
    spec = None if data is None else mirror.parse_rule(data)
    return mirror.mirror_dataset(local.store(), source, spec, dataset=dataset, label=label, key=key)


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
        return {
            "description": "waiting to copy" if waiting else "copying",
            "total": done.bytes_wanted,
            "completed": min(done.bytes_done, done.bytes_wanted),
            "copies": f"{done.replicas_available}/{done.replicas_wanted} copies",
        }
    return {
        "description": "waiting to try again" if waiting else "fetching",
        "completed": done.bytes_known,
        "copies": f"{done.known}/{done.artifacts} files",
    }
