"""`fleet demo`: a whole fleet in a temporary folder mirrors a sample, and every byte is proved.

The story runs in a thread of its own; the main thread keeps the programs running, because the
kernel ends them with the thread that started them.
"""

import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from fleet.cli import tree
from fleet.cli.centre import stop_event
from fleet.cli.demo.story import Failed, Story
from fleet.cli.demo.summary import show
from fleet.cli.supervisor import Program, Supervisor
from fleet.control.errors import FleetError
from fleet.settings import CentreSettings
from fleet.store import migrate
from fleet.store.database import Store

# A fleet in a hurry: on one machine, nothing has to be polite to a distant host.
_TIMES = {
    "FLEET_TICK_SECONDS": "0.2",
    "FLEET_LEASE_SECONDS": "10",
    "FLEET_RETRY_SECONDS": "1",
    "FLEET_SEEDS_SECONDS": "1",
}


def main(*, keep: bool, as_json: bool) -> int:
    """Run the demo; return the exit code, 0 when everything was proved."""
    console = Console(stderr=as_json)
    home = Path(tempfile.mkdtemp(prefix="fleet-demo-"))
    try:
        return _run(home, console, keep=keep, as_json=as_json)
    finally:
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def _run(home: Path, console: Console, *, keep: bool, as_json: bool) -> int:
    settings = CentreSettings(home=home, database_url="", broker_url="")
    migrate.upgrade(settings.database)
    store = Store(settings.database)
    planted = tree.plant(store, settings, extra=_TIMES)
    story = Story(home, store, planted, console)
    stop = stop_event()
    failure: list[str] = []
    teller = threading.Thread(target=_tell, args=(story, stop, failure, keep, console), daemon=True)
    supervisor = Supervisor([*planted.programs, _origins(story)], grace=tree.GRACE)
    teller.start()
    supervisor.run(stop)
    teller.join(timeout=5)
    if teller.is_alive() or (not failure and not story.finished):
        failure.append("stopped before it was finished")
    if failure:
        Console(stderr=True).print(f"[red]the demo failed:[/] {failure[0]}")
        _show_logs(home, keep=keep)
    elif as_json:
        sys.stdout.write(json.dumps(story.result()) + "\n")
    return 1 if failure else 0


def _tell(
    story: Story, stop: threading.Event, failure: list[str], keep: bool, console: Console
) -> None:
    try:
        story.tell(stop)
        show(story, console)
        if keep:
            console.print(f"It goes on running at {story.tree.page_url}; Ctrl-C ends it.")
            stop.wait()
    except (Failed, FleetError, OSError) as error:
        failure.append(str(error))
    finally:
        stop.set()


def _origins(story: Story) -> Program:
    ready: Callable[[], bool] = story.port_file.exists
    return Program(
        name="origins",
        argv=(
            *(sys.executable, "-m", "fleet.cli.demo.origins"),
            *("--folder", str(story.sample_folder), "--port-file", str(story.port_file)),
        ),
        env=dict(story.tree.programs[-1].env),
        log=story.home / "logs" / "origins.log",
        ready=ready,
    )


def _show_logs(home: Path, *, keep: bool) -> None:
    """Show the end of what the programs said: the folder will be gone."""
    if keep:
        sys.stderr.write(f"the logs are in {home}\n")
        return
    for log in sorted(home.rglob("*.log")):
        tail = log.read_text(errors="replace").splitlines()[-5:]
        if tail:
            sys.stderr.write(f"--- {log.relative_to(home)}\n" + "\n".join(tail) + "\n")
