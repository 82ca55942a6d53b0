"""The list of what a version was made from: for each source its sha256 and its URL, a line each.

It is laid out as by ``sha256sum``, with URLs in the place of names; ``#`` begins a comment.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet.blueprint.guard import is_signed
from fleet.blueprint.refused import BlueprintRefused, show

MAX_LIST = 64 * 1024**2
"""Most bytes of a list of sources."""
MAX_URL = 8192
_LINE = re.compile(r"(?P<sha256>[0-9a-fA-F]{64})[ \t]+\*?(?P<url>\S+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCHEMES = ("http", "https", "ftp", "s3")


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A file that a version was made from: where it was had, and which bytes it was then."""

    url: str
    sha256: str

    def __post_init__(self) -> None:
        """Refuse what nobody else could get, or what would give a secret away."""
        if not _SHA256.fullmatch(self.sha256):
            raise BlueprintRefused(f"{show(self.sha256)} is no sha256 in lowercase hex")
        check_url(self.url)


def check_url(url: str) -> None:
    """Refuse a URL that nobody else could use, or that would give a secret away.

    Raises:
        BlueprintRefused: it is such a one; what may be secret in it is not told.
    """
    shown = show(re.sub(r"\?.*", "?…", re.sub(r"//.*@", "//…@", url)))
    try:
        parts = urlsplit(url)
        host, user = parts.hostname, "@" in parts.netloc
    except ValueError:
        host, user = None, False
    plain = url.isprintable() and " " not in url and len(url) <= MAX_URL
    if not host or parts.scheme not in _SCHEMES or not plain:
        raise BlueprintRefused(f"{shown} is no URL of a source: use {', '.join(_SCHEMES)}")
    if user:
        raise BlueprintRefused(f"{shown} has a user or password in it: leave that out")
    if is_signed(parts.query):
        raise BlueprintRefused(f"{shown} has a token or signature in it: leave that out")


def read(place: Path) -> bytes:
    """Read a list of sources, and no more of it than one may have.

    Raises:
        BlueprintRefused: it cannot be read.
    """
    try:
        with place.open("rb") as file:
            return file.read(MAX_LIST + 1)
    except OSError as error:
        raise BlueprintRefused(f"{show(place)} cannot be read: {error.strerror}") from error


def parse(data: bytes) -> tuple[Source, ...]:
    """Read a list of sources; they come sorted, and each once.

    Raises:
        BlueprintRefused: a line is no source; its number is told.
    """
    if len(data) > MAX_LIST:
        raise BlueprintRefused(f"the list of sources has more than {MAX_LIST:,} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BlueprintRefused("the list of sources is not in UTF-8") from error
    found: list[Source] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise BlueprintRefused(
                f"line {number} of the sources: write a sha256 in hex, two spaces, and the URL"
            )
        try:
            found.append(Source(match["url"], match["sha256"].lower()))
        except BlueprintRefused as error:
            raise BlueprintRefused(f"line {number} of the sources: {error}") from None
    return tuple(sorted(set(found)))


def as_json(sources: Iterable[Source]) -> list[dict[str, Any]]:
    """Return sources as values of JSON, sorted, each once."""
    return [{"sha256": one.sha256, "url": one.url} for one in sorted(set(sources))]
