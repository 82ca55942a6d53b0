"""What the tracker counts of each torrent (BEP 48).

The figures are a floor: only those who announce are counted, a seed of some of the pieces counts
as a leecher, and nothing is said of which pieces there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes

import httpx

from fleet.control.errors import FleetError
from fleet.torrent.bencode import BencodeError, decode

# opentracker answers for 64 at most
_AT_ONCE: Final = 50
_MOST_BYTES: Final = 64 * 1024
_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One torrent's peers, as they announced themselves, and its finished downloads."""

    infohash: str
    seeds: int
    leechers: int
    downloads: int


def scrape(url: str, infohashes: Sequence[str]) -> list[Figures]:
    """Ask a tracker for its figures; a torrent that nobody announces has zeros.

    Args:
        url: the tracker's scrape URL, over HTTP.
        infohashes: in hex.

    Raises:
        FleetError: it does not answer, or not with what BEP 48 says.
    """
    figures: list[Figures] = []
    for at in range(0, len(infohashes), _AT_ONCE):
        some = infohashes[at : at + _AT_ONCE]
        query = "&".join(f"info_hash={quote_from_bytes(bytes.fromhex(one), '')}" for one in some)
        try:
            answer = httpx.get(f"{url}?{query}", timeout=_SECONDS, trust_env=False)
            files = _files(answer.content)
        except (httpx.HTTPError, BencodeError) as error:
            raise FleetError(f"the tracker's figures at {url} cannot be read: {error}") from error
        figures += [_figures(one, files.get(bytes.fromhex(one))) for one in some]
    return figures


def _files(answer: bytes) -> dict[bytes, object]:
    value = decode(answer, max_bytes=_MOST_BYTES)
    files = value.get(b"files") if isinstance(value, dict) else None
    if not isinstance(files, dict):
        raise BencodeError("the answer has no files")
    return dict(files)


def _figures(infohash: str, counted: object) -> Figures:
    counts = counted if isinstance(counted, dict) else {}
    seeds, leechers, downloads = (
        found if isinstance(found := counts.get(key), int) else 0
        for key in (b"complete", b"incomplete", b"downloaded")
    )
    return Figures(infohash, seeds, leechers, downloads)
