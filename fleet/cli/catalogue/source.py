"""Where a catalogue is read from: a folder that was synced into, a table, or the URL of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError

from fleet.catalogue.client import Fetcher
from fleet.catalogue.reader import SIDECAR, TABLE, Catalogue, CatalogueError
from fleet.cli.pull.wishes import typed_networks
from fleet.cli.text import clean, size
from fleet.control.errors import FleetError
from fleet.settings import CentreSettings

_MOST = 4 * 1000**3  # bytes of a table
_ABSENT = frozenset({403, 404, 410})  # 403 is what buckets say that may not be listed


@contextmanager
def opened(given: str) -> Iterator[Catalogue]:
    """Open a catalogue, and say what is wrong with it as every command does.

    Args:
        given: what was synced into, the path of a table or of its folder, or a table's URL; that is
            fetched, and deleted afterwards, and nothing proves it.

    Raises:
        FleetError: it cannot be read, or has not what is asked for.
    """
    try:
        if "://" not in given:
            yield Catalogue(_table(Path(given)))
            return
        with TemporaryDirectory(prefix="fleet-catalogue-") as folder:
            yield Catalogue(_fetched(given, Path(folder)))
    except CatalogueError as error:
        raise FleetError(clean(str(error))) from error


def _table(given: Path) -> Path:
    places = (given, given / "current" / TABLE, given / TABLE)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FleetError(
            f"{clean(str(given))} has no {TABLE}: give what `fleet catalogue sync` keeps, a table, "
            "or the URL of one"
        )
    return found


def _fetched(url: str, folder: Path) -> Path:
    """Fetch a table, and the sidecar beside it if there is one."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise FleetError(f"{clean(url)} is no URL: {clean(str(error))}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise FleetError("give a table's http or https URL, without user or password")
    sidecar = urlunsplit(parts._replace(path=f"{parts.path.rpartition('/')[0]}/{SIDECAR}"))
    settings = CentreSettings()
    allowed = settings.allow_networks + typed_networks([url])
    with Fetcher(settings.user_agent, allowed) as fetcher:
        try:
            _save(fetcher, url, folder / TABLE)
        except DownloadError as error:
            raise FleetError(f"{clean(url)}: {clean(str(error))}") from error
        try:
            _save(fetcher, sidecar, folder / SIDECAR)
        except DownloadError as error:
            if not isinstance(error, DownloadHTTPError) or error.status_code not in _ABSENT:
                raise FleetError(f"{clean(sidecar)}: {clean(str(error))}") from error
            (folder / SIDECAR).unlink()
    return folder / TABLE


def _save(fetcher: Fetcher, url: str, place: Path) -> None:
    got = 0
    with place.open("wb") as file:
        for block in fetcher.fetch(url):
            got += len(block)
            if got > _MOST:
                raise FleetError(f"{clean(url)} is longer than {size(_MOST)}: no catalogue is")
            file.write(block)
