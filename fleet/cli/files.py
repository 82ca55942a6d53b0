"""Files that a command writes: whole and in their place, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fleet.cli.text import clean
from fleet.control.errors import FleetError

_MODE = 0o644


@contextmanager
def replacing(place: Path) -> Iterator[BinaryIO]:
    """Lend a file beside ``place``; put it there, on the disk, once all of it is written.

    Raises:
        FleetError: it cannot be written; what was there is still there.
    """
    try:
        descriptor, beside = tempfile.mkstemp(prefix=".", suffix=".part", dir=place.parent)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - it is open already
                yield file
                file.flush()
                os.fchmod(file.fileno(), _MODE)
                os.fsync(file.fileno())
            Path(beside).replace(place)
        except BaseException:
            with suppress(OSError):
                Path(beside).unlink()
            raise
        _settle(place.parent)
    except OSError as error:
        raise FleetError(
            f"{clean(str(place))} cannot be written: {error.strerror or error}"
        ) from error


def write(place: Path, data: bytes) -> None:
    """Put ``data`` into a file.

    Raises:
        FleetError: it cannot be written; what was there is still there.
    """
    with replacing(place) as file:
        file.write(data)


def _settle(folder: Path) -> None:
    """Have the new name on the disk too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
