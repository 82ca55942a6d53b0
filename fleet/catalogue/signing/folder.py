"""The repository folder, as it lies on disk and as mirrors copy it.

``metadata/`` has what is signed, ``targets/`` the files, each under the SHA-256 of its bytes.

Rules this module keeps:

- Every file appears whole, and no name is ever given to other bytes, but for ``timestamp.json``.
- That one names the state that holds.  It is written last, once all that the state consists of is
  on the disk: whoever reads at any moment, and whatever is left by a kill, it is the old state or
  the new one.
- The last five states stay, and all of the last hour, since somebody may be reading them;
  what none of them names goes.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.whole import PART, alone, replacing, settle

KEPT = 5
"""How many states stay, however old they are."""
READ_FOR = 3600.0
"""For how many seconds a state is kept after a newer one, whatever their number."""
MAX_METADATA = 64 * 1024 * 1024
"""Most bytes of one file of metadata that clients take."""

_VERSIONED = re.compile(r"(\d{1,15})\.(root|snapshot|targets)\.json")
T = TypeVar("T", Root, Snapshot, Targets, Timestamp)


@dataclass(frozen=True, slots=True)
class State:
    """What ``timestamp.json`` names, and with it everything else."""

    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]


class Folder:
    """One repository folder; whoever writes holds ``locked``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.metadata = root / "metadata"
        self.targets = root / "targets"
        self._touched: set[Path] = set()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from writing.

        Raises:
            SigningError: the folder cannot be written, or somebody else is writing it.
        """
        try:
            self.metadata.mkdir(parents=True, exist_ok=True)
            self.targets.mkdir(exist_ok=True)
            with alone(self._root):
                yield
        except BlockingIOError:
            raise SigningError(
                f"{self._root} is being written by another process: try again when it is done"
            ) from None
        except OSError as error:
            raise SigningError(
                f"{error.filename or self._root} cannot be written: {error.strerror or error}"
            ) from error

    def versions(self, role: str) -> list[int]:
        """List the versions of ``role`` that are there, finished or not, lowest first."""
        if not self.metadata.is_dir():
            return []
        found = (_VERSIONED.fullmatch(path.name) for path in self.metadata.iterdir())
        return sorted(int(match[1]) for match in found if match and match[2] == role)

    def root(self) -> Metadata[Root]:
        """Read the newest root.

        Raises:
            SigningError: there is none, or it cannot be read.
        """
        versions = self.versions(Root.type)
        if not versions:
            raise SigningError(
                f"{self.metadata} has no root: make the keys with `fleet catalogue keys init`"
            )
        return self.root_file(versions[-1])[0]

    def root_file(self, version: int) -> tuple[Metadata[Root], bytes]:
        """Read a root, and give the bytes of its file.

        Raises:
            SigningError: it cannot be read.
        """
        name = f"{version}.root.json"
        return self._read(name, Root), (self.metadata / name).read_bytes()

    def state(self) -> State | None:
        """Read the state that holds; None if none was published yet.

        Raises:
            SigningError: it cannot be read.
        """
        if not (self.metadata / "timestamp.json").exists():
            return None
        timestamp = self._read("timestamp.json", Timestamp)
        snapshot = self._read(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Snapshot)
        return State(timestamp, snapshot, self._targets_of(snapshot))

    def place_target(self, target: TargetFile, source: Path) -> bool:
        """Copy a file to where ``target`` lies; False if it is there already, undamaged.

        Raises:
            SigningError: its bytes are others than ``target`` says.
        """
        place = self.targets / target.get_prefixed_paths()[0]
        if _has(place, target):
            return False
        place.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as held, replacing(place) as file:
            shutil.copyfileobj(held, file)
            try:
                target.verify_length_and_hashes(file)
            except LengthOrHashMismatchError:
                raise SigningError(
                    f"{source} changed while it was published: do it again"
                ) from None
        self._touched.add(place.parent)
        return True

    def place_metadata(self, name: str, data: bytes) -> None:
        """Write a file of metadata.

        Raises:
            SigningError: no client would take it.
        """
        if len(data) > MAX_METADATA:
            raise SigningError(
                f"{name} would have {len(data):,} bytes, and clients take {MAX_METADATA:,}: "
                "publish fewer files"
            )
        with replacing(self.metadata / name) as file:
            file.write(data)
        self._touched.add(self.metadata)

    def settle(self) -> None:
        """Have all new names on the disk too."""
        for folder in sorted(self._touched):
            settle(folder)
        self._touched.clear()

    def sweep(self, state: State) -> None:
        """Remove what no kept state names, and what a kill left.

        Files that a kill left unfinished stay until a newer state holds, so that no version's
        number is given twice.
        """
        last = state.snapshot.signed.version
        snapshots = [version for version in self.versions(Snapshot.type) if version <= last]
        followed = pairwise(snapshots[: 1 - KEPT])
        old = {version for version, after in followed if self._is_old(after)}
        for version in old:
            (self.metadata / f"{version}.snapshot.json").unlink()
        named, files = {state.targets.signed.version}, self._files(state.targets)
        for version in (one for one in snapshots[:-1] if one not in old):
            try:
                snapshot = self._read(f"{version}.snapshot.json", Snapshot)
                targets = self._targets_of(snapshot)
            except SigningError:
                continue  # a kill left it unfinished, and nobody was ever told of it
            named.add(targets.signed.version)
            files |= self._files(targets)
        for version in self.versions(Targets.type):
            if version not in named and version < state.targets.signed.version:
                (self.metadata / f"{version}.targets.json").unlink()
        self._sweep_files(files)

    def _is_old(self, version: int) -> bool:
        """Whether a state came so long ago that nobody reads the one before it any more."""
        written = (self.metadata / f"{version}.snapshot.json").stat().st_mtime
        return time.time() - written > READ_FOR

    def _files(self, targets: Metadata[Targets]) -> set[Path]:
        listed = targets.signed.targets.values()
        return {self.targets / target.get_prefixed_paths()[0] for target in listed}

    def _sweep_files(self, named: set[Path]) -> None:
        for path in self.metadata.glob(f".*{PART}"):
            path.unlink()
        for folder, _, names in os.walk(self.targets, topdown=False):
            for name in names:
                if (path := Path(folder, name)) not in named:
                    path.unlink()
            if Path(folder) != self.targets and not any(Path(folder).iterdir()):
                Path(folder).rmdir()

    def _targets_of(self, snapshot: Metadata[Snapshot]) -> Metadata[Targets]:
        return self._read(f"{snapshot.signed.meta['targets.json'].version}.targets.json", Targets)

    def _read(self, name: str, role: type[T]) -> Metadata[T]:
        path = self.metadata / name
        try:
            found = Metadata[T].from_bytes(path.read_bytes())
        except (OSError, RepositoryError) as error:
            why = getattr(error, "strerror", None) or error
            raise SigningError(
                f"{path} cannot be read ({why}): copy it back from a mirror"
            ) from None
        if not isinstance(found.signed, role):
            raise SigningError(f"{path} is no {role.type}: copy it back from a mirror")
        return found


def _has(place: Path, target: TargetFile) -> bool:
    try:
        with place.open("rb") as file:
            target.verify_length_and_hashes(file)
    except (FileNotFoundError, LengthOrHashMismatchError):
        return False
    return True
