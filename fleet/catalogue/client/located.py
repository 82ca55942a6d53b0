"""Where at a mirror the catalogue lies: what a person names may be a bucket that holds much more.

The manifest of a bucket's latest set says which of its folders has the newest edition.  Nothing
speaks for it, and nothing has to: it only leads to where signed metadata is asked for.
"""

from typing import Final
from urllib.parse import quote

from tuf.api.exceptions import DownloadError, DownloadHTTPError

from fleet.catalogue.client.mirrors import Fetcher, Mirror
from fleet.planning import latest
from fleet.planning.press import DATASET

MAX_MANIFEST: Final = 64 * 1024
_ABSENT: Final = frozenset({403, 404})  # 403 is what buckets say that may not be listed


class LostError(Exception):
    """What leads to the catalogue at a mirror leads nowhere; the message says why."""


def located(mirror: Mirror, fetcher: Fetcher) -> Mirror:
    """Return the mirror by the folder at which signed metadata lies.

    One that answers badly, or has neither metadata nor a manifest, is returned as it is.

    Raises:
        LostError: it has a manifest that cannot be gone by.
    """
    if not _lacks(fetcher, f"{mirror.metadata}timestamp.json"):
        return mirror
    place = f"{mirror.base}{quote(latest.place(DATASET))}"
    try:
        data = fetcher.download_bytes(place, MAX_MANIFEST)
    except DownloadHTTPError:
        return mirror
    except DownloadError as error:
        raise LostError(f"{latest.place(DATASET)}: {error}") from None
    try:
        found = latest.decode(data)
    except latest.Refused as error:
        raise LostError(f"{latest.place(DATASET)}: {error}") from None
    if found.dataset != DATASET:
        raise LostError(f"{latest.place(DATASET)} is of another dataset")
    return Mirror(mirror.name, f"{mirror.base}{DATASET}/{quote(found.version, safe='')}/")


def _lacks(fetcher: Fetcher, url: str) -> bool:
    try:
        fetcher.download_bytes(url, MAX_MANIFEST)
    except DownloadHTTPError as error:
        return error.status_code in _ABSENT
    except DownloadError:
        return False
    return False
