"""All files of a version: told by its entry, by the table beside that, or by its manifest.

The table lies where the catalogue was published, the manifest at every mirror; either counts only
with the digest that the entry has of it.
"""

import hashlib

from tuf.api.exceptions import DownloadError

from fleet.blueprint import manifest
from fleet.blueprint.refused import BlueprintRefused
from fleet.catalogue.client import Fetcher
from fleet.catalogue.client.lists import read_table
from fleet.catalogue.client.offer import Document, File, Offer, OfferError
from fleet.control.errors import FleetError

MAX_LIST = 256 * 1024 * 1024


def complete(offer: Offer, fetcher: Fetcher) -> Offer:
    """Have an offer tell of all its files.

    Raises:
        FleetError: neither list can be had.
        OfferError: what they say cannot be used.
    """
    if offer.whole:
        return offer
    asked: list[str] = []
    for what, document, reading in (
        ("the list of its files", offer.table, read_table),
        ("its manifest", offer.manifest, _of_manifest),
    ):
        if document is None:
            continue
        data = _fetched(document, fetcher, asked)
        if data is not None:
            return offer.with_files(reading(data))
        asked[-1] += f" ({what})"
    told = "; ".join(asked) or "no mirror that could be read has them now"
    raise FleetError(f"{offer.name}: which files it has cannot be found out: {told}")


def _of_manifest(data: bytes) -> list[File]:
    try:
        files = manifest.parse(data).files
    except BlueprintRefused as error:
        raise OfferError(f"its manifest cannot be used: {error}") from error
    return [File(one.path, one.size, one.sha256, one.role) for one in files]


def _fetched(document: Document, fetcher: Fetcher, asked: list[str]) -> bytes | None:
    """Fetch a list from wherever it is right; None if it is nowhere."""
    if document.size > MAX_LIST:
        asked.append(f"a list of {document.size:,} bytes is longer than {MAX_LIST:,}")
        return None
    for url in document.urls:
        try:
            data = fetcher.download_bytes(url, document.size)
        except DownloadError as error:
            asked.append(f"{url}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() == document.sha256:
            return data
        asked.append(f"{url}: its bytes are not those that were signed")
    return None
