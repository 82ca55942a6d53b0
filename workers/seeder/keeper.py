"""Making the session seed what is wanted, as far as the files are there.

Rules this module keeps:

- A torrent is seeded only while every file of it is in place with its right size: no links, no
  files below hidden folders, nothing outside the site's root.
- A file that was replaced or that libtorrent gave up on is seeded anew; no file is ever touched.
- A torrent that cannot be seeded is looked at again each time, and stops no other.
"""

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.messages import SeedReport
from workers.seeder.desired import Wanted
from workers.seeder.session import Counters, Session, SessionError
from workers.storage.paths import UnsafePathError, contained


class NotReadyError(Exception):
    """The files of a torrent are not all in place; the message names one that is not."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A torrent that is being seeded.

    Attributes:
        wanted: what was asked for.
        places: where each file lies.
        marks: inode and modification time of each file, which change when it is replaced.
        before: payload bytes sent before it was last added.
    """

    wanted: Wanted
    places: tuple[str, ...]
    marks: tuple[tuple[int, int], ...]
    before: int


class Keeper:
    """What is being seeded, and how it is doing."""

    def __init__(self, root: Path, session: Session) -> None:
        """Seed what lies below ``root`` in ``session``."""
        self._root = root
        self._session = session
        self._held: dict[str, _Held] = {}

    def apply(
        self, wanted: Mapping[str, Wanted], torrent: Callable[[str], bytes | None]
    ) -> dict[str, SeedReport]:
        """Seed what is wanted and nothing else.

        Args:
            wanted: what to seed, by infohash.
            torrent: reads a torrent by its infohash.

        Returns:
            How each is doing, by infohash.
        """
        for infohash in self._held.keys() - wanted.keys():
            self._drop(infohash)
        counters = self._session.counters()
        faults = {
            infohash: self._keep(one, counters.get(infohash), torrent)
            for infohash, one in wanted.items()
        }
        counters = self._session.counters()
        return {
            infohash: fault or self._report(infohash, counters[infohash])
            for infohash, fault in faults.items()
        }

    def _keep(
        self, wanted: Wanted, doing: Counters | None, torrent: Callable[[str], bytes | None]
    ) -> SeedReport | None:
        """Seed one torrent, or tell why not."""
        infohash = wanted.seed.infohash
        held = self._held.get(infohash)
        try:
            fresh = self._look(wanted, held)
        except NotReadyError as error:
            if held:
                self._drop(infohash)
            return SeedReport(infohash=infohash, state="missing", error=str(error))
        if held and doing:
            if held == fresh and doing.state != "error":
                return None
            self._drop(infohash)
            fresh = replace(fresh, before=held.before + doing.uploaded)
        data = torrent(infohash)
        if data is None:
            reason = "its torrent is no longer in the cache; restart the seeder"
            return SeedReport(infohash=infohash, state="error", error=reason)
        try:
            self._session.add(infohash, data, self._root / wanted.folder, wanted.renamed)
        except SessionError as error:
            return SeedReport(infohash=infohash, state="error", error=str(error))
        self._held[infohash] = fresh
        return None

    def _look(self, wanted: Wanted, held: _Held | None) -> _Held:
        """Look at the files of a torrent as they are now."""
        known = held is not None and held.wanted == wanted
        places = held.places if held and known else _places(self._root, wanted)
        marks = tuple(
            _mark(place, path, size)
            for place, (path, size) in zip(places, wanted.content, strict=True)
        )
        return _Held(wanted, places, marks, held.before if held else 0)

    def _drop(self, infohash: str) -> None:
        self._session.drop(infohash)
        del self._held[infohash]

    def _report(self, infohash: str, doing: Counters) -> SeedReport:
        copies = self._session.copies(infohash) if doing.peers else 0
        return SeedReport(
            infohash=infohash,
            peers=doing.peers,
            complete=doing.complete,
            availability=copies + (doing.state == "seeding"),
            uploaded=self._held[infohash].before + doing.uploaded,
            state=doing.state,
            error=doing.error,
        )


def _places(root: Path, wanted: Wanted) -> tuple[str, ...]:
    """Place a torrent's files below ``root``; each folder is checked once, however full it is."""
    folders: dict[str, Path] = {}
    places: list[str] = []
    for path, _ in wanted.content:
        folder, _, name = path.rpartition("/")
        if name.startswith("."):
            raise NotReadyError(f"{path!r} begins with a dot, and such files are never offered")
        try:
            if folder not in folders:
                folders[folder] = contained(root, wanted.folder, folder)
        except (UnsafePathError, OSError) as error:
            raise NotReadyError(str(error)) from error
        places.append(f"{folders[folder]}/{name}")
    return tuple(places)


def _mark(place: str, path: str, size: int) -> tuple[int, int]:
    """Look at a file without reading it."""
    try:
        about = os.lstat(place)
    except OSError as error:
        raise NotReadyError(f"{path!r} is not in place: {error.strerror}") from error
    if not stat.S_ISREG(about.st_mode):
        raise NotReadyError(f"{path!r} is no plain file")
    if about.st_size != size:
        raise NotReadyError(f"{path!r} has {about.st_size} bytes instead of {size}")
    return about.st_ino, about.st_mtime_ns
