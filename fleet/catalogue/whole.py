"""Files that appear whole, and folders that one process writes at a time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PART = ".part"
"""How the names end of what is not whole yet."""


@contextmanager
def replacing(place: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Lend a file beside ``place``; put it there once all of it is written and on the disk.

    Its name follows from ``place``, so that one which a kill left is not there for ever.
    """
    beside = place.with_name(f".{place.name}{PART}")
    beside.unlink(missing_ok=True)  # or it might be another's, who reads what is written
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb+") as file:
            os.fchmod(descriptor, mode)
            yield file
            finish(file)
        beside.replace(place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def finish(file: BinaryIO) -> None:
    """Have all that was written to a file on the disk."""
    file.flush()
    os.fsync(file.fileno())


def settle(folder: Path) -> None:
    """Have the names in a folder on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder.

    Raises:
        BlockingIOError: another one is in it.
    """
    with _lock(folder / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _lock(place: Path) -> BinaryIO:
    """Open the file that is locked; in a folder that cannot be written, one that is there."""
    try:
        return place.open("ab")
    except OSError:
        return place.open("rb")
