"""What was signed, as python-tuf finds it: it alone decides what is good, newer, and in date.

What it found is read from the files that it keeps, since it says so only of one file at a time.
Rules this module keeps:

- What is kept is one state: of a newer one that is offered in part, nothing is kept but its roots.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater

from fleet.catalogue.client.mirrors import Fetcher
from fleet.catalogue.whole import replacing
from fleet.torrent.paths import clash, path_fault


@dataclass(frozen=True, slots=True)
class Signed:
    """A state.

    Attributes:
        number: which one it is.
        issued: when the centre last said that it is the newest; None if it did not say.
        expires: until when it is taken for that.
        targets: the files, as they have to be.
        name: what no other state is called.
    """

    number: int
    issued: datetime | None
    expires: datetime
    targets: tuple[TargetFile, ...]
    name: str

    @property
    def size(self) -> int:
        """How many bytes the files have."""
        return sum(target.length for target in self.targets)


def newest(known: Path, url: str, root: bytes, now: datetime, fetcher: Fetcher) -> Signed:
    """Find the newest state that ``url`` offers.

    Args:
        known: the folder of what was believed before; it is added to.
        url: where metadata is.
        root: the one that is trusted from the beginning.
        now: the moment, by which what has expired is refused.
        fetcher: what asks.

    Raises:
        RepositoryError: what is offered cannot be believed.
        DownloadError: it cannot be had.
    """
    known.mkdir(exist_ok=True)
    with _as_before(known):
        _Updater(known, url, root, now, fetcher).refresh()
        data = (known / "targets.json").read_bytes()
        targets = Metadata[Targets].from_bytes(data).signed
        _check_paths(targets)
    trusted = Metadata[Root].from_file(str(known / "root.json")).signed
    timestamp = Metadata[Timestamp].from_file(str(known / "timestamp.json")).signed
    snapshot = Metadata[Snapshot].from_file(str(known / "snapshot.json")).signed
    return Signed(
        number=snapshot.version,
        issued=_issued(timestamp),
        expires=min(one.expires for one in (trusted, timestamp, snapshot, targets)),
        targets=tuple(targets.targets[path] for path in sorted(targets.targets)),
        name=f"{snapshot.version}-{hashlib.sha256(data).hexdigest()[:16]}",
    )


def held(known: Path, root: bytes, now: datetime) -> Signed:
    """Judge by the newest root that is known what was believed before; nothing is written there.

    Raises:
        RepositoryError: it is believed no more.
        DownloadError: some of it is missing.
    """
    with Fetcher("", ()) as nobody, TemporaryDirectory() as place:
        copy = shutil.copytree(known, Path(place, known.name), symlinks=True)
        return newest(copy, f"{known.absolute().as_uri()}/", root, now, nobody)


def fault(path: Path, target: TargetFile) -> str:
    """Say what is wrong with a file; empty if it is what was signed."""
    try:
        with path.open("rb") as file:
            target.verify_length_and_hashes(file)
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    except LengthOrHashMismatchError:
        return "its bytes are not those that were signed"
    return ""


class _Updater(Updater):
    """python-tuf's client, by a clock that is given."""

    def __init__(self, known: Path, url: str, root: bytes, now: datetime, fetcher: Fetcher) -> None:
        super().__init__(str(known), url, fetcher=fetcher, bootstrap=root)
        self._trusted_set.reference_time = now


@contextmanager
def _as_before(known: Path) -> Iterator[None]:
    """Put back what was believed before, where no more than a part of a newer state was had."""
    paths = [known / f"{role.type}.json" for role in (Timestamp, Snapshot, Targets)]
    before = {path: path.read_bytes() for path in paths if path.exists()}
    try:
        yield
    except BaseException:  # whatever broke it off, a person or a full disk too
        for path in paths:
            if path not in before:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != before[path]:
                with replacing(path) as file:
                    file.write(before[path])
        raise


def _check_paths(targets: Targets) -> None:
    """Refuse names that lead out of a folder, or into each other's way."""
    for path in targets.targets:
        if why := path_fault(path):
            raise RepositoryError(f"{why}: no file of a catalogue is called that")
    if why := clash(targets.targets):
        raise RepositoryError(why)


def _issued(timestamp: Timestamp) -> datetime | None:
    try:
        said = datetime.fromisoformat(str(timestamp.unrecognized_fields["issued"]))
        return said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
    except (KeyError, ValueError, OverflowError):  # the last is of a moment beyond all years
        return None
