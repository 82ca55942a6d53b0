"""What a source names: a record, an item, a prefix, a document, a torrent, or one file.  Pure.

A URL is one file unless its form says that it is something else.  A STAC document looks like any
JSON or Parquet file, and those are mirrored as they are: ``stac+`` before its URL says that what
it names is meant.
"""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, unquote, urlsplit

from fleet.importers.draft import ImportRefused, ItemRefused, show, show_url
from fleet.importers.url import checked_url
from fleet.settings import CentreSettings

STAC = "stac+"
"""What stands before the URL of a STAC document."""

_DOI = re.compile(r"(?:doi:|https?://(?:dx\.)?doi\.org/)?(10\.[0-9]{4,9}/\S+)", re.IGNORECASE)
_ZENODO_DOI = re.compile(r"(10\.5281|10\.5072)/zenodo\.([0-9]{1,18})", re.IGNORECASE)
_DOI_HOSTS = {"10.5281": "https://zenodo.org", "10.5072": "https://sandbox.zenodo.org"}
_RECORD = re.compile(r"/records?/([A-Za-z0-9-]{1,40})/?")
_RECORD_FILE = re.compile(r"/records?/[^/]+/files/[^/]+")
_RECORDS = ("/record/", "/records/")
_ITEM = re.compile(r"/(?:details|download)/([A-Za-z0-9][A-Za-z0-9._-]{2,99})/?")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True)
class Record:
    """A record of Zenodo, or of another InvenioRDM; ``base`` is scheme and host."""

    base: str
    id: str

    @property
    def url(self) -> str:
        """Where its description is."""
        return f"{self.base}/api/records/{self.id}"


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the Internet Archive; ``base`` is scheme and host."""

    base: str
    id: str

    @property
    def url(self) -> str:
        """Where its description is."""
        return f"{self.base}/metadata/{self.id}"


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a bucket holds at ``prefix`` or below it; ``endpoint`` is asked in path style."""

    endpoint: str
    bucket: str
    prefix: str

    def listing(self, token: str) -> str:
        """Where a page of its listing is (S3's ListObjectsV2)."""
        more = f"&continuation-token={quote(token, safe='')}" if token else ""
        asked = f"encoding-type=url&list-type=2{more}&prefix={quote(self.prefix, safe='')}"
        return f"{self.endpoint}/{self.bucket}?{asked}"

    def object(self, key: str) -> str:
        """Where an object is read."""
        return f"{self.endpoint}/{self.bucket}/{quote(key)}"


@dataclass(frozen=True, slots=True)
class Stac:
    """A STAC document, in JSON or as GeoParquet."""

    url: str


@dataclass(frozen=True, slots=True)
class Torrent:
    """A ``.torrent`` file."""

    url: str


Place = Record | Item | Prefix | Stac | Torrent


def place_of(source: str, settings: CentreSettings) -> Place | None:
    """Say what ``source`` names; None for one file, or what lies on a disk.

    Raises:
        ImportRefused: it names something of a kind that is imported, but not one that can be.
    """
    if named := _DOI.fullmatch(source):
        return _of_doi(named[1])
    if source.startswith("s3://"):
        return _of_bucket(source, settings.s3_endpoint)
    if source.startswith(STAC):
        return Stac(_checked(source.removeprefix(STAC)))
    if not source.startswith(("http://", "https://")):
        return None
    try:
        url = checked_url(source)
    except ItemRefused:
        return None  # as one file it is refused for the same reason
    return _of_url(url, settings)


def over_http(url: str, s3_endpoint: str) -> str:
    """Return where an ``s3://`` object is read over HTTP; any other URL as it is."""
    if not url.startswith("s3://") or not s3_endpoint:
        return url
    try:
        place = _of_bucket(url, s3_endpoint)
    except ImportRefused:
        return url
    return place.object(place.prefix)


def _of_url(url: str, settings: CentreSettings) -> Place | None:
    """Say what a checked URL names by its host and form; None for one file."""
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.netloc}"
    is_page = False
    if parts.netloc in settings.zenodo_hosts:
        if record := _RECORD.fullmatch(parts.path):
            return Record(base, record[1])
        if parts.path.startswith("/doi/"):
            return _of_doi(parts.path.removeprefix("/doi/"))
        is_page = parts.path.startswith(_RECORDS) and not _RECORD_FILE.fullmatch(parts.path)
    if parts.netloc in settings.archive_hosts:
        if item := _ITEM.fullmatch(parts.path):
            return Item(base, item[1])
        is_page = is_page or parts.path.startswith("/details/")
    if is_page:
        raise ImportRefused(
            f"{show_url(url)} is a page: name a record or item, or one of its files"
        )
    if parts.path.endswith(".torrent"):
        return Torrent(url)
    return _of_folder(base, parts)


def _of_doi(doi: str) -> Record:
    known = _ZENODO_DOI.fullmatch(doi)
    if known is None:
        raise ImportRefused(
            f"{show(doi)} is no DOI of Zenodo's (10.5281/zenodo.N): give the URL of the record or "
            "of its files"
        )
    return Record(_DOI_HOSTS[known[1]], known[2])


def _of_bucket(source: str, s3_endpoint: str) -> Prefix:
    if not s3_endpoint:
        raise ImportRefused(
            f"{show_url(source)} does not say where its bucket is: set FLEET_S3_ENDPOINT, for "
            "instance to https://s3.us-west-2.amazonaws.com, or give an https URL that ends in /"
        )
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ImportRefused(f"{show_url(source)} names no bucket: write s3://BUCKET/PREFIX")
    return Prefix(_checked(s3_endpoint).rstrip("/"), bucket, prefix)


def _of_folder(base: str, parts: SplitResult) -> Prefix | None:
    """Read a URL that ends in a slash as a bucket's listing, path style."""
    bucket, _, prefix = parts.path.lstrip("/").partition("/")
    if not parts.path.endswith("/") or parts.query or not _BUCKET.fullmatch(bucket):
        return None
    try:
        return Prefix(base, bucket, unquote(prefix, errors="strict"))
    except UnicodeDecodeError:
        return None


def _checked(url: str) -> str:
    try:
        return checked_url(url)
    except ItemRefused as refusal:
        raise ImportRefused(f"{show_url(url)} {refusal}") from None
