"""The last desired state on disk, so that a seeder needs no centre to start.

Every file is replaced as a whole, and read with as much doubt as if it came over the network.  So
torrents are not synced one by one: one that a power cut took is fetched again.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SUFFIX: Final = ".torrent"


class Cache:
    """A folder with ``desired.json`` and one ``<infohash>.torrent`` for each seed."""

    def __init__(self, folder: Path) -> None:
        """Use ``folder``, which is made if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def desired(self) -> bytes | None:
        """Read the list as the centre last sent it; None if it never did."""
        return _read(self._folder / "desired.json")

    def keep_desired(self, data: bytes) -> None:
        """Replace the list."""
        replace(self._folder / "desired.json", data, durable=True)

    def torrent(self, infohash: str) -> bytes | None:
        """Read a torrent; None if it is not here."""
        return _read(self._folder / f"{infohash}{SUFFIX}")

    def keep_torrent(self, infohash: str, data: bytes) -> None:
        """Keep a torrent that was checked."""
        replace(self._folder / f"{infohash}{SUFFIX}", data, durable=False)

    def forget_all_but(self, infohashes: Iterable[str]) -> None:
        """Remove every other torrent."""
        kept = {f"{infohash}{SUFFIX}" for infohash in infohashes}
        for path in self._folder.glob(f"*{SUFFIX}"):
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def replace(path: Path, data: bytes, *, durable: bool) -> None:
    """Replace a file as a whole; a ``durable`` one also survives a power cut."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    fresh.replace(path)
