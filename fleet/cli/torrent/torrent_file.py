"""A ``.torrent`` file on disk, read within bounds."""

from pathlib import Path

from fleet.cli.text import clean
from fleet.control.errors import FleetError
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import MAX_TORRENT, ParsedTorrent, parse


def read(path: Path) -> bytes:
    """Read a file, and no more of it than a torrent may have.

    Raises:
        FleetError: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TORRENT + 1)
    except OSError as error:
        raise FleetError(f"{clean(str(path))} cannot be read: {error.strerror}") from error
    if len(data) > MAX_TORRENT:
        raise FleetError(f"{clean(str(path))} is no torrent: it has more than {MAX_TORRENT} bytes")
    return data


def parsed(path: Path, data: bytes) -> ParsedTorrent:
    """Read the torrent that a file holds.

    Raises:
        FleetError: it is none that we would use.
    """
    try:
        return parse(data)
    except MetainfoError as error:
        raise refusal(path, error) from error


def refusal(path: Path, error: MetainfoError) -> FleetError:
    """Say which file was refused, and why."""
    return FleetError(f"{clean(str(path))}: {clean(str(error))}")
