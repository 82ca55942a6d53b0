"""What an answer's status and headers are worth: pure decisions, before any byte is taken.

Sources lie in known ways: an HTML page with status 200 where a file was asked for, a length that
contradicts the order, a range of another file.  Each ends in a reason that names the host.

A part that we hold may be *continued* (RFC 9110, sections 13.1.5 and 14) only under these rules:

- sha256 known: any source may continue it, because the digest decides in the end.
- sha256 unknown (ingest): only the same URL, only if it repeats the strong ETag we began with or,
  failing one, the same Last-Modified together with the same total size.  With neither, the part
  is thrown away: two halves of different files must never become one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import PurePosixPath

from workers.pull.faults import Bad, Busy, Changed, Fault, OtherSize, Passing, plain

MOST_WAIT = 10.0
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_PAGES = {"text/html", "application/xhtml+xml"}
_PAGE_NAMES = {".htm", ".html", ".xhtml"}
_PASSING = {408, 425, 429}
_TOO_MUCH = {429, 503}


@dataclass(frozen=True)
class Validator:
    """What a source says to tell one state of its file from another (RFC 9110, section 8.8)."""

    etag: str = ""
    modified: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Validator":
        """Read an answer's headers."""
        return cls(headers.get("etag", ""), headers.get("last-modified", ""))

    @property
    def strong(self) -> bool:
        """Whether equal ETags mean equal bytes."""
        return bool(self.etag) and not self.etag.startswith("W/")

    @property
    def if_range(self) -> str:
        """The value for ``If-Range``: the strong ETag, else the date; empty if there is none."""
        return self.etag if self.strong else self.modified

    def differs(self, other: "Validator") -> bool:
        """Whether the two cannot be of one state of a file."""
        if self.etag and other.etag:
            return self.etag != other.etag
        return bool(self.modified and other.modified and self.modified != other.modified)

    def __str__(self) -> str:
        return plain(self.etag or self.modified or "no validator")


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    ``size`` is None while unknown; ``limit`` bounds it (0: no bound); ``proven`` says that a
    digest will decide whether the bytes are right.
    """

    host: str
    name: str
    size: int | None
    limit: int
    proven: bool


@dataclass(frozen=True)
class Part:
    """What is asked for: the bytes from ``good`` on, up to ``end`` (None: all the rest).

    ``size`` is the whole file's (None: unknown), ``validator`` what was said of the bytes that are
    held, by this same URL or another.
    """

    good: int = 0
    size: int | None = None
    validator: Validator = Validator()
    same_url: bool = True
    end: int | None = None

    @property
    def ranged(self) -> bool:
        """Whether less than the whole file is asked for."""
        return self.good > 0 or self.end is not None

    def headers(self) -> dict[str, str]:
        """Make the headers that ask for it."""
        if not self.ranged:
            return {}
        last = "" if self.end is None else self.end - 1
        asked = {"Range": f"bytes={self.good}-{last}"}
        if self.same_url and self.validator.if_range:
            asked["If-Range"] = self.validator.if_range
        return asked


@dataclass(frozen=True)
class Body:
    """A body worth reading: its first byte, the file's whole size if known, and its validator."""

    start: int
    size: int | None
    validator: Validator


def continuable(part: Part, *, proven: bool) -> bool:
    """Say whether the rest of ``part`` may be asked for at all; of nothing it always may."""
    if proven or not part.good:
        return True
    dated = bool(part.validator.modified) and part.size is not None
    return part.same_url and (part.validator.strong or dated)


def judge(status: int, headers: Mapping[str, str], wanted: Wanted, part: Part) -> Body:
    """Decide whether an answer's body is what was asked for.

    Raises:
        Bad: this source is of no use.
        Passing: it may be if asked again.
        Changed: its file is not the one that ``part`` is of.
    """
    if status == 416 and part.good:
        whole = headers.get("content-range", "").removeprefix("bytes */")
        _check_size(int(whole) if _is_number(whole) else None, wanted)
        raise Changed(f"{wanted.host}: has no bytes after {part.good}")
    if status != 200 and not (status == 206 and part.ranged):
        raise refusal(status, headers, wanted.host)
    check_kind(headers, wanted)
    body = _rest(headers, wanted, part) if status == 206 else _whole(headers, wanted)
    _check_size(body.size, wanted)
    return body


def check_kind(headers: Mapping[str, str], wanted: Wanted) -> None:
    """Demand the file itself: not compressed, not a page in its stead.

    Raises:
        Bad: it is something else.
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Bad(f"{wanted.host}: sent it compressed ({plain(encoding)}) although asked not to")
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in _PAGES and not _is_page(wanted.name):
        raise page(wanted, kind)


def page(wanted: Wanted, how: str) -> Bad:
    """Make the fault of a source that sends a page for a file."""
    name = PurePosixPath(wanted.name).name
    return Bad(f"{wanted.host}: answered an HTML page ({how}) instead of {plain(name)}")


def looks_like_page(name: str, first: bytes) -> bool:
    """Whether a body's first bytes are an HTML page where ``name`` says they should not be."""
    text = first[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html")) and not _is_page(name)


def refusal(status: int, headers: Mapping[str, str], host: str) -> Fault:
    """Name the fault that a status without a useful body is."""
    phrase = f" {HTTPStatus(status).phrase}" if status in set(HTTPStatus) else ""
    said = f"{host}: answered {status}{phrase}"
    if status not in _PASSING and status < 500:
        return Bad(said)
    wait = retry_after(headers, datetime.now(UTC))
    fault: Fault = Passing(said, wait)
    if wait > MOST_WAIT:
        fault = Busy(f"{said} and asks to be left alone for {wait:.0f} s")
    if status in _TOO_MUCH:
        fault.throttled = True
        fault.asks = wait if wait or status == HTTPStatus.TOO_MANY_REQUESTS else None
    return fault


def retry_after(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds that the source asks us to wait (RFC 9110, section 10.2.3); 0 if it does not say."""
    text = headers.get("retry-after", "").strip()
    if _is_number(text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def content_range(headers: Mapping[str, str]) -> tuple[int, int, int | None] | None:
    """First byte, last byte and whole size of a ``Content-Range``; None if it makes no sense."""
    match = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    size = None if match[3] == "*" else int(match[3])
    return None if last < first or (size is not None and last >= size) else (first, last, size)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _is_page(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in _PAGE_NAMES


def _whole(headers: Mapping[str, str], wanted: Wanted) -> Body:
    """Judge a 200: the file from its first byte."""
    text = headers.get("content-length", "")
    length = int(text) if _is_number(text) else None
    chunked = "chunked" in headers.get("transfer-encoding", "").lower()
    if length is None and not chunked and wanted.size is None and not wanted.proven:
        raise Bad(f"{wanted.host}: gives no length, so a cut-off file would look like a whole one")
    size = wanted.size if length is None else length
    return Body(0, size, Validator.of(headers))


def _rest(headers: Mapping[str, str], wanted: Wanted, part: Part) -> Body:
    """Judge a 206: the file from where our part ends."""
    found = content_range(headers)
    if found is None or found[0] != part.good:
        said = plain(headers.get("content-range", "no Content-Range"))
        raise Bad(f"{wanted.host}: was asked for bytes from {part.good} and answered {said!r}")
    size, validator = found[2], Validator.of(headers)
    if part.same_url and part.validator.differs(validator):
        raise Changed(f"{wanted.host}: its file changed ({part.validator}, then {validator})")
    if wanted.size is None and None not in (size, part.size) and size != part.size:
        raise Changed(f"{wanted.host}: its file changed ({part.size} bytes, then {size})")
    joined = part.good > 0 or part.validator != Validator()
    if joined and not wanted.proven and not _same_file(part, validator, size):
        change = f"({part.validator}, then {validator})"
        raise Changed(f"{wanted.host}: its file may have changed {change}")
    if size is None:
        size = part.size if wanted.size is None else wanted.size
    if size is None:  # where such an answer ends, the file need not
        raise Changed(f"{wanted.host}: answers with a part of a file without telling its size")
    return Body(part.good, size, validator)


def _same_file(part: Part, validator: Validator, size: int | None) -> bool:
    """Whether an answer proves to be of the file that an unproven part is of."""
    strong = validator.strong and validator.etag == part.validator.etag
    dated = bool(validator.modified) and validator.modified == part.validator.modified
    return strong or (dated and size is not None and size == part.size)


def _check_size(size: int | None, wanted: Wanted) -> None:
    if size is None:
        return
    if wanted.size is not None and size != wanted.size:
        raise OtherSize(f"{wanted.host}: offers {size} bytes where {wanted.size} were expected")
    if wanted.limit and size > wanted.limit:
        raise Bad(f"{wanted.host}: offers {size} bytes, more than the {wanted.limit} allowed")
