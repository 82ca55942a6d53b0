"""Pages: small files by the hundred thousand, each whole, which are settled all at once."""

import os
from pathlib import Path

from fleet.catalogue.whole import PART


def put(place: Path, data: bytes) -> None:
    """Write ``data`` to ``place``, unless that is what is there.

    It is on the disk once ``settle`` has returned.
    """
    try:
        if place.read_bytes() == data:
            return
    except FileNotFoundError:
        place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}{PART}")
    beside.write_bytes(data)
    beside.replace(place)


def settle() -> None:
    """Have all that was written on the disk; to ask it of each file takes too long for many."""
    os.sync()
