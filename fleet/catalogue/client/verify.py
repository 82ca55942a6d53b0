"""Verifying what was synced: every signature and every byte, without asking anybody."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.exceptions import DownloadError, RepositoryError

from fleet.catalogue.client.home import Home
from fleet.catalogue.client.reasons import reason
from fleet.catalogue.client.signed import Signed, fault, held
from fleet.catalogue.client.sync import SyncError

_NEVER = datetime.min.replace(tzinfo=UTC)  # at which nothing has expired yet


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that is not as it was signed."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found.

    Attributes:
        signed: the state that is there.
        expired: whether it is no longer taken for the newest.
        faults: the files that are not as they were signed.
        folder: where the files of that state are, for as long as it is the last but one at most.
    """

    folder: Path
    signed: Signed
    expired: bool
    faults: tuple[Fault, ...]

    @property
    def good(self) -> bool:
        """Whether all is as it has to be."""
        return not self.expired and not self.faults


def verify(home: Home, now: datetime, read: Callable[[int], None] = lambda _: None) -> Verified:
    """Check the state that a folder has.

    Args:
        home: the folder.
        now: the moment.
        read: told how many bytes have been read.

    Raises:
        SyncError: there is none, or what is remembered of its signatures is damaged.
        BlockingIOError: somebody is syncing it.
    """
    with _held(home) as signed:
        faults = tuple(_faults(home, signed, read))
        return Verified(home.current.resolve(), signed, now >= signed.expires, faults)


def verify_one(home: Home, path: str, now: datetime) -> Verified:
    """Check the signatures and one file of the state that a folder has.

    Raises:
        SyncError: there is no state, or no such file in it, or what is remembered is damaged.
        BlockingIOError: somebody is syncing it.
    """
    with _held(home) as signed:
        target = next((one for one in signed.targets if one.path == path), None)
        if target is None:
            raise SyncError(f"{home.root} has a catalogue without {path}")
        why = fault(home.current / path, target)
        faults = (Fault(path, why),) if why else ()
        return Verified(home.current.resolve(), signed, now >= signed.expires, faults)


@contextmanager
def _held(home: Home) -> Iterator[Signed]:
    """Hold a folder, and say what was signed of what it has."""
    if not home.begun.exists() or not home.state():
        raise SyncError(f"{home.root} has no catalogue: bring one with `fleet catalogue sync`")
    with home.locked():
        try:
            signed = held(home.trusted, home.begun.read_bytes(), _NEVER)
        except (RepositoryError, DownloadError, OSError) as error:
            raise SyncError(
                f"{home.trusted} cannot be believed ({_why(error)}): sync again"
            ) from error
        if signed.name != home.state():
            raise SyncError(f"{home.root} has an older state than was signed since: sync again")
        yield signed


def _faults(home: Home, signed: Signed, read: Callable[[int], None]) -> list[Fault]:
    found, done = [], 0
    for target in signed.targets:
        if why := fault(home.current / target.path, target):
            found.append(Fault(target.path, why))
        done += target.length
        read(done)
    there = {_name(path, home.current) for path in home.current.rglob("*") if not path.is_dir()}
    others = there.difference(target.path for target in signed.targets)
    return [*found, *(Fault(path, "nobody signed it") for path in sorted(others))]


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _why(error: Exception) -> str:
    return reason(error) if isinstance(error, RepositoryError | DownloadError) else str(error)
