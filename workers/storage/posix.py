"""A folder on a POSIX file system as a site's storage.

Rules this module keeps:

- A file appears at its final path by one rename, whole and synced, or not at all; ``settle``
  makes the names themselves durable and must come before anyone is told.
- Our own folders begin with a dot, which no path from outside may: ``.staging`` for partial
  files, ``.quarantine`` for files that turned out bad.  Doors and seeders never look there.
- What a run stages in a folder of its own dies with the run: whoever is next sweeps the folders
  whose lock nobody holds.
- Nothing is followed through a symbolic link below the root.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from workers.storage.paths import UnsafePathError, contained

FILE_MODE = 0o644
StrPath = str | os.PathLike[str]
_SCRATCH = "run-"
_STAGED = (".part", ".map", ".json")
_FEW = 4
_SYNCERS = 4
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


class PosixStorage:
    """The replicas below ``root``, which is made when first written to."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, folder: str, item_path: str) -> Path:
        """Say where an item's file lies, or shall lie.

        Raises:
            UnsafePathError: the folder or the path would lead elsewhere.
        """
        if not item_path:
            raise UnsafePathError("unsafe path '': it names no file")
        return contained(self.root, folder, item_path)

    def staging_folder(self) -> Path:
        """Make the folder that all staged files lie below, on the file system of their places."""
        folder = self.root / ".staging"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def staging(self, artifact: str) -> Path:
        """Say where an artifact's partial file lies, and make its folder.

        Ids are opaque: one that is no plain file name is staged under its digest.
        """
        plain = _PLAIN.fullmatch(artifact)
        name = artifact if plain else hashlib.sha256(artifact.encode()).hexdigest()
        return self.staging_folder() / f"{name}.part"

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend a folder for staged files that are not worth resuming; remove it in the end.

        Raises:
            OSError: it cannot be made or locked.
        """
        staging = self.staging_folder()
        for abandoned in staging.glob(f"{_SCRATCH}*"):
            sweep(abandoned)
        descriptor = None
        while descriptor is None:
            folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=staging))
            descriptor = locked(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)

    def open(self, path: Path) -> FileIO:
        """Open a published file for reading.

        Raises:
            FileNotFoundError: nothing is there, or no regular file.
            OSError: it cannot be opened, for instance because it is a symbolic link.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(f"{path} is no regular file")
        return FileIO(descriptor)

    def discard(self, artifact: str) -> None:
        """Remove what is staged of an artifact: it is not gone on with."""
        for suffix in _STAGED:
            self.remove(self.staging(artifact).with_suffix(suffix))

    def size(self, path: Path) -> int | None:
        """Measure the regular file at ``path`` in bytes; None where there is none."""
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def publish(self, part: StrPath, final: StrPath) -> None:
        """Move a staged file, whose content is synced and whose mode is set, to its final path.

        Raises:
            OSError: the path is taken by a folder, or the file system refuses.
        """
        # With strings and `os`, since a Path takes longer to make than the file to move.
        try:
            os.replace(part, final)  # noqa: PTH105 - see above
        except FileNotFoundError:
            Path(final).parent.mkdir(parents=True, exist_ok=True)
            os.replace(part, final)  # noqa: PTH105 - see above

    def settle(self, finals: Iterable[StrPath]) -> None:
        """Make the names of published files durable: sync their folders, up to the root.

        Raises:
            OSError: a folder cannot be synced; its files may be gone after a crash.
        """
        folders: set[Path] = set()
        names = {os.path.dirname(final) for final in finals}  # noqa: PTH120 - as in `publish`
        for folder in map(Path, names):
            below = (folder, *folder.parents)
            folders.update(below[: below.index(self.root) + 1])
        for folder in sorted(folders, key=lambda folder: -len(folder.parts)):
            sync(folder)

    def quarantine(self, path: Path, why: str) -> Path:
        """Move a bad file out of the tree, beside a note of where it lay and what is wrong.

        Returns:
            Where it lies now.
        """
        held = self.root / ".quarantine"
        held.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ-")
        cell = Path(tempfile.mkdtemp(prefix=stamp, dir=held))
        (cell / "why.txt").write_text(f"{path.relative_to(self.root)}\n{why}\n", encoding="utf-8")
        path.replace(cell / "data")
        sync(path.parent)
        return cell / "data"

    def remove(self, path: Path) -> None:
        """Delete a published file; one that is already gone is fine, as is its folder."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()

    def prune(self, folder: Path) -> None:
        """Remove a folder below the root if it is empty, then those above it that are empty then.

        What is left is made durable.

        Raises:
            OSError: a folder cannot be read or removed.
        """
        while folder != self.root and self.root in folder.parents:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if any(folder.iterdir()):
                    break
                folder.rmdir()
            folder = folder.parent
        if folder.is_dir():
            sync(folder)

    def free(self) -> int:
        """Bytes that can still be written here."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free


class Disk:
    """The file system of a folder, asked to make the content of many files durable.

    It tells of what could not be written since it was opened, so open it before they are written.
    Many files cost one ``syncfs``.  An error of that is told once and names no file: whatever is
    to be synced from then on has to be held for lost as well.
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._failed: OSError | None = None

    def sync(self, files: Collection[StrPath]) -> None:
        """Make the content of ``files`` durable; one thread at a time.

        Raises:
            OSError: of one of them at least it is not, and of none it can be said.
        """
        if self._failed:
            raise self._failed
        if len(files) <= _FEW:
            for file in files:
                sync(file)
        elif _syncfs is None:
            with ThreadPoolExecutor(_SYNCERS) as pool:
                list(pool.map(sync, files))
        else:
            try:
                _syncfs(self._descriptor)
            except OSError as error:
                self._failed = error
                raise

    def close(self) -> None:
        """Let go of the file system."""
        os.close(self._descriptor)


def sync(path: StrPath) -> None:
    """Make the content of a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _find_syncfs() -> Callable[[int], None] | None:
    """Find the system call, which Python lacks; None where it is missing or keeps errors back."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if sys.platform != "linux" or not release or (int(release[1]), int(release[2])) < (5, 8):
        return None
    call = ctypes.CDLL(None, use_errno=True).syncfs

    def syncfs(descriptor: int) -> None:
        if call(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return syncfs


_syncfs = _find_syncfs()


def locked(folder: Path) -> int | None:
    """Open and lock ``folder``; None if it is another's, or gone meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    held = False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.path.samestat(folder.stat(), os.fstat(descriptor))
    except (BlockingIOError, FileNotFoundError):
        return None
    finally:
        if not held:
            os.close(descriptor)
    return descriptor


def sweep(folder: Path) -> None:
    """Remove a scratch folder, unless the run that it was lent to still lives."""
    with contextlib.suppress(NotADirectoryError):
        descriptor = locked(folder)
        if descriptor is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
