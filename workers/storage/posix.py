"""A folder on a POSIX file system as a site's storage.

Rules this module keeps:

- A file appears at its final path by one rename, whole and synced, or not at all; ``settle``
  makes the names themselves durable and must come before anyone is told.
- Our own folders begin with a dot, which no path from outside may: ``.staging`` for partial
  files, ``.quarantine`` for files that turned out bad.  Doors and seeders never look there.
- Nothing is followed through a symbolic link below the root.
"""

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from workers.storage.paths import UnsafePathError, contained

FILE_MODE = 0o644
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

    def staging(self, artifact: str) -> Path:
        """Say where an artifact's partial file lies, and make its folder.

        Ids are opaque: one that is no plain file name is staged under its digest.
        """
        folder = self.root / ".staging"
        folder.mkdir(parents=True, exist_ok=True)
        plain = _PLAIN.fullmatch(artifact)
        name = artifact if plain else hashlib.sha256(artifact.encode()).hexdigest()
        return folder / f"{name}.part"

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

    def size(self, path: Path) -> int | None:
        """Measure the regular file at ``path`` in bytes; None where there is none."""
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def publish(self, part: Path, final: Path) -> None:
        """Move a staged file, whose content the caller has synced, to its final path.

        Raises:
            OSError: the path is taken by a folder, or the file system refuses.
        """
        final.parent.mkdir(parents=True, exist_ok=True)
        part.chmod(FILE_MODE)
        part.replace(final)

    def settle(self, finals: Iterable[Path]) -> None:
        """Make the names of published files durable: sync their folders, up to the root.

        Raises:
            OSError: a folder cannot be synced; its files may be gone after a crash.
        """
        folders = {
            folder
            for final in finals
            for folder in final.parents
            if folder == self.root or self.root in folder.parents
        }
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
        """Delete a published file; one that is already gone is fine."""
        path.unlink(missing_ok=True)

    def free(self) -> int:
        """Bytes that can still be written here."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free


def sync(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
