"""Sources that must be asked what they hold: the one place where an import fetches.

What is fetched is read by pure functions, each kind's in its own module.
"""

from itertools import islice

from fleet.importers import s3
from fleet.importers.archive import read_item
from fleet.importers.documents import MAX_BYTES
from fleet.importers.draft import MAX_ITEMS, Draft, ImportRefused, show_url
from fleet.importers.place import Item, Place, Prefix, Record, Stac
from fleet.importers.stac import Found
from fleet.importers.stac_table import MAX_BYTES as MAX_TABLE
from fleet.importers.stac_table import read_stac
from fleet.importers.torrent import read_torrent
from fleet.importers.web import Web
from fleet.importers.zenodo import read_record
from fleet.settings import CentreSettings

MAX_DOCUMENTS = 10_000
"""Most documents of a STAC Collection that are read."""


def read_place(place: Place, settings: CentreSettings) -> Draft:
    """Ask ``place`` what it holds, and return that as a draft.

    Raises:
        ImportRefused: it may not be asked, or its answer cannot be read.
    """
    with Web(settings) as web:
        if isinstance(place, Prefix):
            return s3.draft_of_objects(_listed(web, place), place)
        if isinstance(place, Stac):
            return _walked(web, place, settings)
        found = web.get(place.url, most=MAX_BYTES)
        try:
            if isinstance(place, Record):
                return read_record(found.data, place)
            if isinstance(place, Item):
                return read_item(found.data, place)
            return read_torrent(found.data)
        except ImportRefused as refusal:
            raise ImportRefused(f"{show_url(place.url)}: {refusal}") from None


def _listed(web: Web, place: Prefix) -> list[s3.Object]:
    """Read a whole listing."""
    objects: list[s3.Object] = []
    token, tokens = "", {""}
    while True:
        url = place.listing(token)
        found = web.get(url, most=MAX_BYTES)
        try:
            page = s3.read_page(found.data)
        except ImportRefused as refusal:
            raise ImportRefused(
                f"{show_url(url)}: {refusal}; a URL that ends in / is read as a bucket's listing"
            ) from None
        objects += page.objects
        token = page.token
        if not token:
            return objects
        if token in tokens:
            raise ImportRefused(f"{show_url(url)}: the listing goes round in circles")
        tokens.add(token)
        if len(objects) > MAX_ITEMS or len(tokens) > MAX_ITEMS // 100:
            raise ImportRefused(
                f"{show_url(url)} holds more than {MAX_ITEMS:,} objects; import it in parts"
            )


def _walked(web: Web, place: Stac, settings: CentreSettings) -> Draft:
    """Read a document and all that it leads to."""
    found = Found(links={place.url: None})
    for number in range(MAX_DOCUMENTS):
        url = next(islice(found.links, number, None), "")
        if not url:
            return found.draft()
        document = web.get(url, most=MAX_TABLE)
        try:
            read_stac(document.data, document.url, settings.s3_endpoint, found)
        except ImportRefused as refusal:
            raise ImportRefused(f"{show_url(url)}: {refusal}") from None
    raise ImportRefused(f"{show_url(place.url)} leads to more than {MAX_DOCUMENTS:,} documents")
