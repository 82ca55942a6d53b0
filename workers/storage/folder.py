"""A folder on this machine under the contract of storages: see ``contract`` and ``posix``."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from workers.lease import Lease
from workers.storage.contract import (
    BLOCK,
    Absent,
    Capabilities,
    Content,
    Corrupt,
    StorageError,
    Stored,
    Unfit,
    checked,
    refuse,
    same,
)
from workers.storage.paths import UnsafePathError
from workers.storage.posix import FILE_MODE, PosixStorage, sync

CAPABILITIES = Capabilities()


class Folder:
    """The objects below ``root``."""

    capabilities = CAPABILITIES

    def __init__(self, root: Path) -> None:
        self._posix = PosixStorage(root)

    def stat(self, path: str) -> Stored | None:
        """Tell of the file at a path; None where there is none."""
        size = self._posix.size(self._place(path))
        return None if size is None else Stored(path, size)

    def read(self, path: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read a file, or a part of it."""
        try:
            file = self._posix.open(self._place(path))
        except FileNotFoundError as error:
            raise Absent(f"{path} is not there") from error
        with file:
            file.seek(start)
            left = length
            while left is None or left > 0:
                block = file.read(BLOCK if left is None else min(BLOCK, left))
                if not block:
                    break
                left = None if left is None else left - len(block)
                yield block

    def list(self, folder: str = "") -> Iterator[Stored]:
        """Tell of every file below a folder; what begins with a dot is ours."""
        root = self._posix.root
        place = self._place(folder) if folder else root
        found = []
        for above, folders, names in os.walk(place):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(above, name) for name in names if not name.startswith(".")]
        for one in sorted(found, key=lambda one: one.relative_to(root).as_posix()):
            size = self._posix.size(one)
            if size is not None:
                yield Stored(one.relative_to(root).as_posix(), size)

    def write(self, path: str, content: Content, lease: Lease) -> Stored:
        """Copy a file to its place: read back, synced, and seen whole or not at all."""
        path = checked(path)
        refuse(self.capabilities, path, content)
        place = self._place(path)
        if self._there(path, content):
            return Stored(path, content.size, content.sha256)
        with self._posix.scratch() as scratch:
            part = scratch / "part"
            with content.file.open("rb") as source, part.open("wb") as target:
                while block := source.read(BLOCK):
                    lease.check()
                    target.write(block)
                    lease.advance(len(block))
            part.chmod(FILE_MODE)
            sync(part)
            if _sha256(part) != content.sha256:
                raise Corrupt(f"{path}: what was written is not what was to be")
            lease.check_live()
            try:
                part.parent.mkdir(parents=True, exist_ok=True)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(part, place)  # unlike a rename it never takes another's place
            except FileExistsError:
                if not self._there(path, content):
                    raise
            except OSError as error:
                raise StorageError(f"{path} cannot be written: {error.strerror}") from error
            self._posix.settle([place])
        return Stored(path, content.size, content.sha256)

    def remove(self, path: str) -> None:
        """Remove a file, and folders that are empty without it."""
        place = self._place(path)
        self._posix.remove(place)
        self._posix.prune(place.parent)

    def _there(self, path: str, content: Content) -> bool:
        """Whether the bytes are there already.

        Raises:
            Taken: others are.
        """
        found = self.stat(path)
        if found is None:
            return False
        digest = _sha256(self._place(path)) if found.size == content.size else None
        return same(path, Stored(path, found.size, digest), content)

    def _place(self, path: str) -> Path:
        try:
            return self._posix.path("", path)
        except UnsafePathError as error:
            raise Unfit(str(error)) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
