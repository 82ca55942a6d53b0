"""A reading of many bytes as a person sees it: how far it is, and what ended it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from fleet.cli.pull.screen import Screen
from fleet.cli.pull.sight import Sight
from fleet.cli.text import clean
from fleet.control.errors import FleetError
from workers.hashing import HashingError

INTERRUPTED = 130


@contextmanager
def reading(name: str, total: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how far the reading of ``total`` bytes is; lend what takes the bytes read so far.

    Raises:
        FleetError: something cannot be read.
        Exit: Ctrl-C ended it.
    """
    began, done = time.monotonic(), 0

    def progress(count: int) -> None:
        nonlocal done
        done = min(count, total)

    def look(now: float) -> Sight:
        rate = done / max(now - began, 0.1)
        return Sight(files=[(name, False)], done=done, total=total, rate=rate)

    try:
        with Screen(look, quiet=quiet):
            yield progress
    except HashingError as error:
        raise FleetError(clean(str(error))) from error
    except KeyboardInterrupt:
        sys.stderr.write("fleet: stopped; nothing was written\n")
        raise typer.Exit(INTERRUPTED) from None
