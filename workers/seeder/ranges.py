"""Which part of a file an HTTP request asks for (RFC 9110, sections 13 and 14).  Pure.

One range is served; several at once are answered with the whole file, as section 14.2 allows,
because no downloader of large files asks for them.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

_ONE_RANGE: Final = re.compile(r"bytes=\s*(\d{0,19})-(\d{0,19})\s*", re.ASCII | re.IGNORECASE)


class Part(NamedTuple):
    """An answer: its status, and the half-open run of bytes that is its body."""

    status: int
    start: int
    end: int


def choose(method: str, headers: Mapping[str, str], size: int, etag: str) -> Part:
    """Choose what to answer to a request for a file that exists.

    Args:
        method: GET or HEAD.
        headers: the request's, with names in lower case.
        size: the file's size in bytes.
        etag: the file's strong entity tag, with its quotes.

    Returns:
        200 with the whole file, 206 with a part of it, or a bodiless 304, 412 or 416.
    """
    if "if-match" in headers and not _names(headers["if-match"], etag):
        return Part(412, 0, 0)
    # a proxy that compresses weakens the tag, and for a cache that is near enough
    if "if-none-match" in headers and _names(headers["if-none-match"].replace("W/", ""), etag):
        return Part(304, 0, 0)
    whole = Part(200, 0, size)
    if method != "GET" or "range" not in headers or headers.get("if-range", etag) != etag:
        return whole
    asked = _ONE_RANGE.fullmatch(headers["range"])
    return (_part(asked[1], asked[2], size) if asked else None) or whole


def _part(first: str, last: str, size: int) -> Part | None:
    """Resolve one range; None where it means nothing and is to be ignored."""
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return None
    return Part(206, start, end) if start < end else Part(416, 0, 0)


def _names(field: str, etag: str) -> bool:
    """Say whether a list of entity tags names this one."""
    tags = {tag.strip() for tag in field.split(",")}
    return "*" in tags or etag in tags
