"""The heads of plain answers: pure decisions on bytes from outside.

An answer is *plain* if it is HTTP/1.1, not encoded in any way, and says its length: then the next
bytes of its connection are the file's own, and anyone can tell where they end.  A strict parser
reads it; what is not plain is ``Odd``, and its connection must not be used any further.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import httptools

MAX_HEAD = 100 * 1024  # as httpcore has it
_BLANK = re.compile(rb"\n\r?\n")
_BREAK = re.compile(rb"[\r\n\0]")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_BODILESS = {204, 304}

Field = tuple[bytes, bytes]


class Odd(ConnectionError):
    """Not a plain answer; the ordinary way may make sense of it."""


class Head(NamedTuple):
    """``length`` bytes follow, and then another answer may (``keeps``)."""

    status: int
    fields: list[Field]
    length: int
    keeps: bool


def plain_head(status: int, fields: list[Field]) -> Head | None:
    """Judge the head of an HTTP/1.1 answer; None if it is not plain."""
    lengths: list[bytes] = []
    plain = status >= 200 and status not in _BODILESS
    keeps = True
    for name, value in fields:
        match name.lower():
            case b"content-length":
                lengths.append(value.strip())
            case b"transfer-encoding":
                plain = False
            case b"content-encoding":
                plain = plain and value.strip().lower() == b"identity"
            case b"connection":
                keeps = keeps and b"close" not in value.lower()
    if not plain or len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]):
        return None
    return Head(status, fields, int(lengths[0]), keeps)


def head_end(received: bytes | bytearray, start: int = 0) -> int:
    """Find where the head at the front of ``received`` ends; 0 if it is not whole yet."""
    blank = _BLANK.search(received, start)
    return blank.end() if blank else 0


def check_length(length: int) -> None:
    """Bound a head.

    Raises:
        Odd: it is longer than ``MAX_HEAD``.
    """
    if length > MAX_HEAD:
        raise Odd(f"its header is longer than {MAX_HEAD} bytes")


def parse_head(raw: bytes) -> Head | None:
    """Read a head that ends with its first blank line; None if it only says to wait (1xx).

    Raises:
        Odd: it is not the head of a plain answer.
    """
    check_length(len(raw))
    if not raw:
        raise Odd("closed without an answer")
    if not raw.startswith(b"HTTP/1.1 "):
        raise Odd("its answer is not HTTP/1.1")
    read = _Read()
    parser = httptools.HttpResponseParser(read)
    try:
        parser.feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        raise Odd("its answer cannot be read") from error
    status = parser.get_status_code()
    if read.whole and 100 <= status < 200:
        return None
    head = plain_head(status, read.fields) if read.whole else None
    if head is None:
        raise Odd("its answer is not plain")
    return head


def request(target: bytes, fields: Iterable[Field]) -> bytes:
    """Make a GET for ``target``, which has no body.

    Raises:
        Odd: a field has a line break in it.
    """
    lines = [b"GET %b HTTP/1.1" % target, *[b"%b: %b" % each for each in fields]]
    if _BREAK.search(b" ".join(lines)):
        raise Odd("a request's field has a line break in it")
    return b"\r\n".join([*lines, b"", b""])


class _Read:
    """What the parser found."""

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.whole = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.whole = True
