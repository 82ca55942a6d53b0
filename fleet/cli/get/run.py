"""From a dataset's name to its files in a folder, proved by what its makers signed.

Rules this module keeps:

- All that can be said beforehand is said before anything is fetched.
- Nothing that is there already is overwritten: it is checked, and kept aside if it is wrong.
- Ctrl-C and SIGTERM end it soon, and what came stays for the same command to go on with.
"""

import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from fleet.catalogue.client import Fetcher
from fleet.catalogue.client.offer import File, Offer, OfferError, read
from fleet.catalogue.client.picking import pick
from fleet.catalogue.reader import Catalogue, CatalogueError
from fleet.cli.get import report, where
from fleet.cli.get.lanes import Lanes
from fleet.cli.get.lies import lies_of, tell
from fleet.cli.get.lists import complete
from fleet.cli.get.lots import Lot, certain, cut, placed
from fleet.cli.get.orders import artifact
from fleet.cli.get.report import Ending
from fleet.cli.get.swarms import gather
from fleet.cli.pull.ground import STAGING, made, settings_for, tidy
from fleet.cli.pull.hold import Hold, signals
from fleet.cli.pull.screen import Screen
from fleet.cli.pull.sight import Observer
from fleet.cli.text import clean, size
from fleet.control.errors import FleetError
from fleet.messages import Budget
from fleet.settings import SiteSettings
from workers.lease import Stopped
from workers.storage.paths import UnsafePathError
from workers.storage.posix import PosixStorage

DONE, FAILED, INCOMPLETE, SIGNALLED = 0, 1, 3, 128
STREAMS: Final = 8


def main(
    name: str,
    asked: Sequence[str],
    *,
    catalogue: Sequence[str],
    root_sha256: str,
    to: Path,
    as_json: bool,
) -> int:
    """Get files of a version, and give the exit code.

    Raises:
        FleetError: it cannot even begin.
    """
    try:
        settings = settings_for(to, ())
        offer, files = _wanted(name, asked, catalogue, root_sha256, settings, quiet=as_json)
        storage = PosixStorage(made(to))
        before = _there(storage, files)
        _have_room(storage, files, to)
        lanes, lots = _prepared(offer, files, storage, settings)
    except KeyboardInterrupt:
        _complain("stopped; nothing was fetched yet")
        return SIGNALLED + signal.SIGINT
    began = time.monotonic()
    observer = Observer(lanes.watch, [storage.root / file.path for file in files], began)
    try:
        with signals(lanes.hold), Screen(observer.look, quiet=as_json):
            lanes.run(lots)
    except Stopped:
        tidy(storage)
        _complain(f"stopped; {_how_to_go_on(storage, to, files)}")
        return SIGNALLED + lanes.hold.signal
    seconds = time.monotonic() - began
    tidy(storage)
    tallies = lanes.watch.tallies
    lies = lies_of(tallies.hosts.values(), offer, files)
    ending = Ending(
        offer=offer,
        files=files,
        results=lanes.results,
        sources=tallies.reports(),
        lies=lies,
        untold=tell(lies, offer, settings) if lies else "",
        folder=to,
        fetched=tallies.bytes,
        seconds=seconds,
        replaced=[path for path, inode in before.items() if inode != _inode(storage.root / path)],
    )
    return _told(ending, storage, as_json=as_json)


def _wanted(
    name: str,
    asked: Sequence[str],
    catalogue: Sequence[str],
    root_sha256: str,
    settings: SiteSettings,
    *,
    quiet: bool,
) -> tuple[Offer, list[File]]:
    """Find the version that is meant, and the files of it that are."""
    table = where.table(catalogue, root_sha256, quiet=quiet)
    try:
        offer = read(Catalogue(table).meant(name))
        with (
            Fetcher(settings.user_agent, settings.allow_networks) as fetcher,
            _waiting(f"looks up the files of {offer.name}"),
        ):
            offer = complete(offer, fetcher)
        return offer, pick(offer.files, asked)
    except (CatalogueError, OfferError) as error:
        raise FleetError(clean(str(error))) from error


def _prepared(
    offer: Offer, files: list[File], storage: PosixStorage, settings: SiteSettings
) -> tuple[Lanes, list[Lot]]:
    """Find out who may be asked, and cut the files into lots."""
    told = [file.infohash for file in files if file.infohash] or list(offer.torrents or ())
    with _waiting(f"looks up the torrents of {offer.name}"):
        swarms = gather(offer, told, settings)
    wanted = {file.path for file in files}
    located = [file for file in placed(offer, swarms.torrents) if file.path in wanted]
    lots = cut(located, certain(offer, swarms.torrents), swarms.peers)
    return Lanes(offer, storage, settings, Hold(Budget(streams=STREAMS)), swarms), lots


def _waiting(what: str) -> AbstractContextManager[object]:
    """Tell a terminal what is waited for."""
    return Console(stderr=True).status(Text(clean(what)))


def _there(storage: PosixStorage, files: Sequence[File]) -> dict[str, int]:
    """Say which file (by its inode) is in a place already.

    Raises:
        FleetError: a path would lead elsewhere.
    """
    try:
        found = {file.path: _inode(storage.path("", file.path)) for file in files}
    except UnsafePathError as error:
        raise FleetError(clean(str(error))) from error
    return {path: inode for path, inode in found.items() if inode is not None}


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None


def _have_room(storage: PosixStorage, files: Sequence[File], to: Path) -> None:
    """Refuse what the disk cannot take, before it is full.

    Raises:
        FleetError: it is too much.
    """
    staged = {path.stem: path.stat().st_blocks * 512 for path in _parts(storage)}
    fetched = sum(path.stat().st_blocks * 512 for path in _from_peers(storage))
    needed = -fetched + sum(
        max(file.size - staged.get(artifact(file), 0), 0)
        for file in files
        if storage.size(storage.root / file.path) != file.size
    )
    free = storage.free()
    if needed > free:
        raise FleetError(
            f"{size(needed)} are still to come, and the disk of {clean(str(to))} has {size(free)} "
            "free: choose another folder with --to, or name the files that are wanted"
        )


def _parts(storage: PosixStorage) -> Sequence[Path]:
    return list((storage.root / STAGING).glob("*.part"))


def _from_peers(storage: PosixStorage) -> Sequence[Path]:
    return list((storage.root / STAGING).glob("btih-*/*"))


def _how_to_go_on(storage: PosixStorage, to: Path, files: Sequence[File]) -> str:
    done = sum((storage.root / file.path).exists() for file in files)
    told = [f"{done} of {len(files)} files are done"] if done else []
    if (storage.root / STAGING).exists():
        told.append(f"what came is kept in {clean(str(to / STAGING))}")
    return f"{', and '.join(told)}: run the same command to go on" if told else "nothing is kept"


def _told(ending: Ending, storage: PosixStorage, *, as_json: bool) -> int:
    """Say what is there on standard output, what went wrong on standard error."""
    if as_json:
        sys.stdout.write(json.dumps(report.as_json(ending), ensure_ascii=False) + "\n")
    else:
        for text in report.summary(ending):
            sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        for text in report.troubles(ending):
            _complain(text)
    if ending.done == len(ending.files):
        return DONE
    if not as_json and (storage.root / STAGING).exists():
        _complain(_how_to_go_on(storage, ending.folder, ending.files))
    return INCOMPLETE if ending.done else FAILED


def _complain(text: str) -> None:
    sys.stderr.write(f"fleet: {text}\n")
