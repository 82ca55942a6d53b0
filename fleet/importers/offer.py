"""One file as a repository offers it, judged: addresses, path, size and digests.  Pure.

What a repository says of a file is taken as it was said and judged here, in one place: a size
that is none, a checksum that is no such digest or a path that leads astray refuses that file alone.
"""

import re
from dataclasses import dataclass

from fleet.importers.draft import ItemRefused, show, show_url
from fleet.importers.entry import Entry, good_sources
from fleet.importers.paths import checked_path
from fleet.importers.url import file_name

MAX_SIZE = 2**63
"""What a size must be below: more fits no database."""

_COUNT = re.compile(r"[0-9]{1,19}")
_DIGESTS = {"sha256": re.compile(r"[0-9a-f]{64}"), "md5": re.compile(r"[0-9a-f]{32}")}


@dataclass(frozen=True, slots=True)
class Offer:
    """One file of a repository; of ``size`` and the digests whatever was said, None for nothing.

    Attributes:
        urls: where it can be had.
        path: where it should lie; empty: by the name that ends its URL.
        size: bytes.
        sha256: in hex.
        md5: in hex.
    """

    urls: tuple[str, ...]
    path: str = ""
    size: object = None
    sha256: object = None
    md5: object = None


def read_offer(number: int, offer: Offer) -> tuple[Entry, tuple[str, ...]]:
    """Judge one file.

    Returns:
        The file, and notes on what was left out.

    Raises:
        ItemRefused: it has no address or no name that will do, or what is said of it cannot be.
    """
    shown = show(offer.path) or show_url(offer.urls[0] if offer.urls else "")
    if not offer.urls:
        raise ItemRefused(f"file {number}: {shown} has no address to have it from")
    sources, left_out = good_sources(offer.urls, lambda text: f"file {number}: {text}")
    try:
        path, named_by = _named(offer, sources)
        return Entry(
            number=number,
            sources=sources,
            path=path,
            folder="",
            asked=bool(offer.path),
            named_by=named_by,
            sha256=_digest("sha256", offer.sha256),
            md5=_digest("md5", offer.md5),
            size=_size(offer.size),
            word="file",
        ), tuple(left_out)
    except ItemRefused as refusal:
        raise ItemRefused(f"file {number}: {shown} {refusal}") from None


def _named(offer: Offer, sources: tuple[str, ...]) -> tuple[str, str]:
    """Return the file's path, and the source that tells it from files of the same name."""
    if offer.path:
        return checked_path(offer.path), ""  # within a repository its keys are folders enough
    for url in sources:
        name = file_name(url)
        if name is not None:
            return name, url
    raise ItemRefused("ends in a slash, so it names no file")


def _size(said: object) -> int | None:
    if said is None:
        return None
    if isinstance(said, str) and _COUNT.fullmatch(said):  # as archive.org and STAC's clients do
        said = int(said)
    if isinstance(said, float) and said.is_integer():  # as in a column that also holds nulls
        said = int(said)
    if type(said) is not int or not 0 <= said < MAX_SIZE:
        raise ItemRefused(f"is said to have {show(repr(said))} bytes, which is no size")
    return said


def _digest(kind: str, said: object) -> str | None:
    if said is None:
        return None
    if not isinstance(said, str) or not _DIGESTS[kind].fullmatch(said.lower()):
        raise ItemRefused(f"is said to have the {kind} {show(repr(said))}, which is none")
    return said.lower()
