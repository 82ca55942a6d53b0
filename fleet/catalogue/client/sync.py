"""Syncing: the newest state that mirrors have, whole, in a folder.

Rules this module keeps:

- Every mirror is asked for what is newest, so that to keep a client from news, all have to.  What
  was found is judged once more when all were asked, by the newest root that any of them had.
- One that offers bad metadata is named with the reason, and asked nothing more.  One that is merely
  behind may still give files, since what they have to be is known; one whose file is bad or missing
  is asked last from then on.  Before that the one that answered first is asked first.
- What did not change is linked, not fetched; what is damaged here is fetched again.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    RepositoryError,
)
from tuf.api.metadata import TargetFile

from fleet.catalogue.client.home import Home
from fleet.catalogue.client.located import LostError, located
from fleet.catalogue.client.mirrors import Fetcher, Mirror
from fleet.catalogue.client.reasons import reason
from fleet.catalogue.client.signed import Signed, fault, held, newest
from fleet.catalogue.client.trust import Trust, trusted

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are there."""


class SyncError(Exception):
    """No state could be had; the message says why, and what is still there."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A mirror that was not believed, or did not answer."""

    mirror: str
    reason: str


@dataclass(frozen=True, slots=True)
class Synced:
    """What is there now.

    Attributes:
        folder: where the files are.
        signed: what they are.
        changed: whether another state was there before.
        mended: the files that were damaged.
        refusals: the mirrors that were not believed, or did not answer.
    """

    folder: Path
    signed: Signed
    changed: bool
    mended: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def sync(
    home: Home,
    mirrors: Sequence[Mirror],
    trust: Trust,
    now: datetime,
    fetcher: Fetcher,
    progress: Progress = lambda _done, _total: None,
) -> Synced:
    """Bring the newest state that the mirrors have into a folder.

    Args:
        home: the folder.
        mirrors: where to ask.
        trust: whose catalogue it is, for a folder that was not begun yet.
        now: the moment, by which what has expired is refused.
        fetcher: what asks.
        progress: told how far it is.

    Raises:
        SyncError: no mirror has a state that can be believed, whole.
        UntrustedError: nothing says whose catalogue it is.
        BlockingIOError: somebody else is syncing it.
        OSError: the folder cannot be written.
    """
    with home.locked():
        found, lost = _found(mirrors, fetcher)
        root = trusted(home.begun, trust, list(found), fetcher)
        signed, sources = _asked(home, found, root, now, fetcher)
        sources.refusals[:0] = lost
        if signed is None:
            raise SyncError(_nothing(home, sources.refusals))
        home.begin(root)
        changed = home.state() != signed.name
        if changed:
            with home.gathering(signed.name) as folder:
                _gather(home, signed, folder, sources, progress)
        mended = () if changed else _mended(home, signed, sources)
        return Synced(home.current, signed, changed, mended, tuple(sources.refusals))


def _found(
    mirrors: Sequence[Mirror], fetcher: Fetcher
) -> tuple[Mapping[Mirror, float], Sequence[Refusal]]:
    """Find where at each mirror the catalogue lies, and after how many seconds that was known.

    One that leads nowhere is refused.
    """
    found, lost = dict[Mirror, float](), list[Refusal]()
    for mirror in mirrors:
        began = time.monotonic()
        try:
            place = located(mirror, fetcher)
        except LostError as error:
            lost.append(Refusal(mirror.name, str(error)))
        else:
            found.setdefault(place, time.monotonic() - began)
    return found, lost


def _asked(
    home: Home, mirrors: Mapping[Mirror, float], root: bytes, now: datetime, fetcher: Fetcher
) -> tuple[Signed | None, "_Sources"]:
    """Ask all mirrors for what is newest; the last that has something newer has the newest."""
    current, behind, sources = list[Mirror](), list[Mirror](), _Sources(fetcher)
    for mirror in mirrors:
        try:
            newest(home.trusted, mirror.metadata, root, now, fetcher)
        except (RepositoryError, DownloadError) as error:
            sources.refusals.append(Refusal(mirror.name, reason(error)))
            if isinstance(error, BadVersionNumberError):
                behind.append(mirror)
        else:
            current.append(mirror)
    if not current:
        return None, sources
    sources.mirrors = [*sorted(current, key=mirrors.__getitem__), *behind]
    try:
        return held(home.trusted, root, now), sources
    except (RepositoryError, DownloadError) as error:
        why = f"another mirror has a newer root, by which {reason(error)}"
        sources.refusals += [Refusal(mirror.name, why) for mirror in current]
        return None, sources


class _Sources:
    """The mirrors that files are fetched from, the best first, and those that were refused."""

    def __init__(self, fetcher: Fetcher) -> None:
        self.mirrors: list[Mirror] = []
        self.refusals: list[Refusal] = []
        self._fetcher = fetcher

    def fetch(self, target: TargetFile, place: Path, received: Callable[[int], None]) -> None:
        """Fetch a file from the first mirror that gives what it has to be.

        Raises:
            SyncError: none does.
        """
        for mirror in list(self.mirrors):
            try:
                self._from(mirror, target, place, received)
            except (RepositoryError, DownloadError) as error:
                self.refusals.append(Refusal(mirror.name, f"{target.path}: {reason(error)}"))
                self.mirrors.remove(mirror)
                self.mirrors.append(mirror)  # it may have others, but is asked last
            else:
                return
        raise SyncError(f"no mirror has {target.path} as it was signed ({_told(self.refusals)})")

    def _from(
        self, mirror: Mirror, target: TargetFile, place: Path, received: Callable[[int], None]
    ) -> None:
        fixed, plain = mirror.places(target)
        try:
            self._read(fixed, target, place, received)
        except DownloadHTTPError as error:
            try:
                self._read(plain, target, place, received)
            except DownloadHTTPError:
                raise error from None

    def _read(
        self, url: str, target: TargetFile, place: Path, received: Callable[[int], None]
    ) -> None:
        got = 0
        with place.open("wb+") as file:
            for block in self._fetcher.fetch(url):
                got += len(block)
                if got > target.length:
                    raise DownloadLengthMismatchError
                file.write(block)
                received(got)
            target.verify_length_and_hashes(file)
            file.flush()
            os.fsync(file.fileno())


def _gather(
    home: Home, wanted: Signed, folder: Path, sources: _Sources, progress: Progress
) -> None:
    """Bring all files of a state together."""
    done = 0

    def received(count: int) -> None:
        progress(done + count, wanted.size)

    for target in wanted.targets:
        place, held = folder / target.path, home.current / target.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if fault(held, target):
            sources.fetch(target, place, received)
        else:
            os.link(held, place)
        done += target.length
        received(0)


def _mended(home: Home, wanted: Signed, sources: _Sources) -> tuple[str, ...]:
    """Put good files in the place of damaged ones, each at once."""
    damaged = [one for one in wanted.targets if fault(home.current / one.path, one)]
    for target in damaged:
        with home.mending(target.path) as place:
            sources.fetch(target, place, lambda _: None)
    return tuple(target.path for target in damaged)


def _nothing(home: Home, refusals: Sequence[Refusal]) -> str:
    kept = "; what was synced before is still there" if home.state() else ""
    return f"no mirror has a catalogue that can be believed ({_told(refusals)}){kept}"


def _told(refusals: Sequence[Refusal]) -> str:
    return "; ".join(f"{one.mirror}: {one.reason}" for one in refusals)
