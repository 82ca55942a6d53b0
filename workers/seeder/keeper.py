"""Making the session seed what is wanted, as far as the files are there.

Rules this module keeps:

- A torrent is seeded only while every file of it is in place with its right size: no links, no
  files below hidden folders, nothing outside the site's root.
- A file that was replaced or that libtorrent gave up on is seeded anew; no file is ever touched.
- A torrent that cannot be seeded is looked at again each time, and stops no other.
- One that is lent, to be mended, is left alone until it is given back.
"""

import os
import stat
import threading
from collections.abc import Callable, Collection, Mapping
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
        self._lent: set[str] = set()
        self._lock = threading.Lock()

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
        with self._lock:
            for infohash in self._held.keys() - wanted.keys() - self._lent:
                self._drop(infohash)
            counters = self._session.counters()
            faults = {
                infohash: self._keep(one, counters.get(infohash), torrent)
                for infohash, one in wanted.items()
                if infohash not in self._lent or infohash not in self._held
            }
            counters = self._session.counters()
            return {
                infohash: faults.get(infohash) or self._report(infohash, counters[infohash])
                for infohash in wanted
            }

    def seeds(self, infohash: str) -> bool:
        """Look whether a torrent is seeded and its files are in place; if not, it is let go."""
        with self._lock:
            held = self._held.get(infohash)
            if held is None or infohash in self._lent:
                return held is not None
            try:
                self._look(held.wanted, held)
            except NotReadyError:
                self._drop(infohash)
                return False
            return True

    def lend(self, infohash: str) -> tuple[Wanted, tuple[str, ...]]:
        """Leave a torrent to somebody who mends it.

        Returns:
            What it is, and where each of its files lies.

        Raises:
            NotReadyError: it is not being seeded, or a file has gone meanwhile.
        """
        with self._lock:
            held = self._held.get(infohash)
            if held is None:
                raise NotReadyError("it is not being seeded here")
            # whoever mends it shall not make a file anew
            self._look(held.wanted, held)
            self._lent.add(infohash)
            return held.wanted, held.places

    def reopen(self, infohash: str, torrent: bytes, lacking: Collection[int]) -> None:
        """Serve all pieces of a lent torrent but those that it lacks.

        Raises:
            SessionError: libtorrent does not take it; it is not seeded any more.
        """
        with self._lock:
            held = self._held[infohash]
            doing = self._session.counters_of(infohash)
            self._session.drop(infohash)
            try:
                self._session.add(
                    infohash,
                    torrent,
                    self._root / held.wanted.folder,
                    held.wanted.renamed,
                    lacking,
                )
            except SessionError:
                del self._held[infohash]
                raise
            self._held[infohash] = replace(held, before=held.before + doing.uploaded)

    def take_back(self, infohash: str) -> None:
        """Seed a torrent again that was lent, as its files are now."""
        with self._lock:
            self._lent.discard(infohash)
            held = self._held.get(infohash)
            if held is None:
                return
            try:
                self._held[infohash] = self._look(held.wanted, held)
            except NotReadyError:
                self._drop(infohash)

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
            state="mending" if infohash in self._lent else doing.state,
            error="" if infohash in self._lent else doing.error,
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
