"""From the words on the command line to files in a folder, by the engine that sites use.

Rules this module keeps:

- All that can be said beforehand is said before anything is fetched.
- Nothing that is there already is overwritten: with a digest it is checked, and kept aside if it
  is wrong; without one it is refused.
- Ctrl-C and SIGTERM end it soon, and what came stays for the same command to go on with.  A
  second one is obeyed at once.
"""

import json
import stat
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from fleet.cli.pull import report
from fleet.cli.pull.ground import SITE, STAGING, made, settings_for, tidy
from fleet.cli.pull.hold import Hold, signals
from fleet.cli.pull.report import Ending
from fleet.cli.pull.screen import Screen
from fleet.cli.pull.sight import Observer
from fleet.cli.pull.wishes import Wish, WrongUsageError, rate, typed_networks, wishes
from fleet.cli.text import clean
from fleet.control.errors import FleetError
from fleet.messages import Budget, Item, Order, Source
from workers.lease import Stopped
from workers.pull import Watch, pull
from workers.storage.paths import UnsafePathError
from workers.storage.posix import PosixStorage

FAILED, USAGE, SIGNALLED = 1, 2, 128


def main(
    urls: Sequence[str],
    *,
    to: Path,
    digests: Sequence[str],
    streams: int,
    limit_rate: str,
    as_json: bool,
) -> int:
    """Pull files, and give the exit code.

    Raises:
        FleetError: it cannot even begin.
    """
    try:
        wanted = wishes(urls, digests)
        budget = Budget(streams=streams, bytes_per_second=rate(limit_rate))
    except WrongUsageError as error:
        _complain(f"{error} (fleet pull --help)")
        return USAGE
    settings = settings_for(to, typed_networks(urls))
    storage = PosixStorage(made(to))
    before = {wish.name: _there(storage, to, wish) for wish in wanted}
    hold, watch, began = Hold(budget), Watch(), time.monotonic()
    observer = Observer(watch, [storage.root / wish.name for wish in wanted], began)
    try:
        with signals(hold), Screen(observer.look, quiet=as_json):
            work = pull(_order(wanted, budget), storage, hold, settings=settings, watch=watch)
    except Stopped:
        tidy(storage)
        _complain(f"stopped; {_how_to_go_on(storage, to, wanted)}")
        return SIGNALLED + hold.signal
    seconds = time.monotonic() - began
    tidy(storage)
    ending = Ending(wanted, work, to, seconds, _replaced(storage, before))
    _tell(ending, as_json=as_json)
    if ending.complete:
        return 0
    if (storage.root / STAGING).exists():
        _complain(_how_to_go_on(storage, to, wanted))
    return FAILED


def _there(storage: PosixStorage, to: Path, wish: Wish) -> int | None:
    """Say which file (by its inode) is in a wish's place already; None if there is none.

    Raises:
        FleetError: what is there may neither be checked nor overwritten.
    """
    shown = clean(str(to / wish.name))
    try:
        found = storage.path("", wish.name).lstat()
    except FileNotFoundError:
        return None
    except (UnsafePathError, OSError) as error:
        raise FleetError(f"{shown}: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        raise FleetError(f"{shown} exists and is no regular file")
    if wish.sha256 is None:
        raise FleetError(f"{shown} exists; give --sha256 to check it, or remove it")
    return found.st_ino


def _order(wanted: Sequence[Wish], budget: Budget) -> Order:
    items = tuple(
        Item(
            artifact=wish.sha256 or sha256(wish.urls[0].encode()).hexdigest(),
            path=wish.name,
            sha256=wish.sha256,
            sources=tuple(Source(url=url) for url in wish.urls),
        )
        for wish in wanted
    )
    return Order(
        attempt=SITE, fence=0, task="pull", site=SITE, lease_seconds=0, items=items, budget=budget
    )


def _how_to_go_on(storage: PosixStorage, to: Path, wanted: Sequence[Wish]) -> str:
    """Say what is left of a pull that did not bring everything."""
    done = [wish for wish in wanted if (storage.root / wish.name).exists()]
    told = [f"{len(done)} of {len(wanted)} files are done"] if done else []
    if (storage.root / STAGING).exists():
        told.append(f"what came is kept in {clean(str(to / STAGING))}")
    if not told:
        return "nothing is kept"
    again = "run the same command to go on"
    if any(wish.sha256 is None for wish in done):
        again += ", without the URLs of those that are done"
    return f"{', and '.join(told)}: {again}"


def _replaced(storage: PosixStorage, before: dict[str, int | None]) -> frozenset[str]:
    """Name the files that were there and are another one, or none, now."""
    inodes = {path.name: path.lstat().st_ino for path in storage.root.iterdir()}
    return frozenset(
        name for name, inode in before.items() if inode is not None and inodes.get(name) != inode
    )


def _tell(ending: Ending, *, as_json: bool) -> None:
    """Say what is there on standard output, what went wrong on standard error."""
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(ending), ensure_ascii=False) + "\n")
        return
    for text in report.summary(ending):
        sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    for text in report.troubles(ending):
        _complain(text)


def _complain(text: str) -> None:
    sys.stderr.write(f"fleet: {text}\n")
