"""`fleet publish`: asks for it, shows what is known of each record, and waits."""

import time
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.status import Status

from fleet.cli import local
from fleet.cli.text import clean
from fleet.control import publications, published
from fleet.control.published import PublicationLine
from fleet.planning.states import PublicationState
from fleet.store.database import Store

_POLL_SECONDS = 0.5


def start(version: str, at: str) -> str:
    """Ask for it, as the admin of this machine; return the version's id.

    Raises:
        FleetError: it is refused; nothing was changed.
    """
    return publications.ask(local.store(), version, at)


def lines(version: str) -> list[PublicationLine]:
    """Tell of a version's publications."""
    return _lines(local.store(), version)


def wait(version: str, *, quiet: bool) -> list[PublicationLine]:
    """Wait until nothing more comes of a version's publications by itself."""
    store, console = local.store(), Console(stderr=True, quiet=quiet)
    console.print(
        f"`fleet why {version}` tells at any time what it waits for; Ctrl-C only stops waiting"
    )
    with console.status("asking") as shown:
        while True:
            found = _lines(store, version)
            if all(one.settled for one in found):
                return found
            _show(shown, found)
            time.sleep(_POLL_SECONDS)


def complete(found: list[PublicationLine]) -> bool:
    """Whether all of them are published."""
    return all(one.state == PublicationState.PUBLISHED for one in found)


def as_json(version: str, found: list[PublicationLine]) -> dict[str, Any]:
    """Return what a program wants to know."""
    return {"version": version, "publications": [asdict(one) for one in found]}


def _lines(store: Store, version: str) -> list[PublicationLine]:
    with store.read() as session:
        return published.of_version(session, version)


def _show(shown: Status, found: list[PublicationLine]) -> None:
    told = (f"{one.site} {one.state}: {clean(one.reason)}" for one in found if not one.settled)
    shown.update("; ".join(told))
