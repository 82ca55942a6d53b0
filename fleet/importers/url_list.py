"""The grammar of URL lists and of aria2 input files: one grammar reads both.  Pure.

The source is aria2's manual, "Input File": one file a line, its alternate URLs separated by
TABs; a line that begins with a space or a TAB is an option of the file above it, with empty lines
and comments (``#``) in between if need be.  Of the options Fleet honours ``out``, ``dir`` and
``checksum``; the others say how aria2 should download, which is not their business here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from fleet.importers.draft import MAX_ITEMS, ImportRefused

MAX_BYTES = 64 * 1024 * 1024
"""Most bytes in a list."""
MAX_LINE = 64 * 1024
"""Most bytes in one of its lines."""

_HONOURED = frozenset({"out", "dir", "checksum"})
_OPTION = re.compile(r"([a-z0-9-]+)[ \t]*=[ \t]*(.*)", re.DOTALL)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BOM = b"\xef\xbb\xbf"
_NOTED = 10

_Ignored = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Option:
    """An honoured option, and the number of its line."""

    number: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Line:
    """One file of a list.

    Attributes:
        number: its line, from 1; 0 for a URL that stands in no list.
        urls: the alternates as they were written, at least one.
        indented: it is a URL where an option should be.
        options: those that Fleet honours, in their order.
    """

    number: int
    urls: tuple[str, ...]
    indented: bool = False
    options: list[Option] = field(default_factory=list)


def is_url(text: str) -> bool:
    """Say whether ``text`` is written as a URL, of whatever scheme."""
    return _URL.match(text) is not None


def parse(data: bytes) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """Read a list.

    Returns:
        The files it names, and notes on what was ignored.

    Raises:
        ImportRefused: it is too large, or no list of URLs in UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise ImportRefused(f"the list is larger than {MAX_BYTES:,} bytes; split it")
    lines: list[Line] = []
    ignored: _Ignored = {}
    for number, text in _texts(data.removeprefix(_BOM)):
        content = text.strip(" \t")
        if not content or content.startswith("#"):
            continue
        indented = text[0] in " \t"
        if indented and not is_url(content):
            _take_option(lines, number, content, ignored)
            continue
        if len(lines) == MAX_ITEMS:
            raise ImportRefused(f"the list names more than {MAX_ITEMS:,} files; split it")
        urls = tuple(url for part in content.split("\t") if (url := part.strip(" ")))
        lines.append(Line(number, urls, indented))
    if not lines:
        raise ImportRefused("the list names no URL")
    return tuple(lines), tuple(_notes(ignored))


def _texts(data: bytes) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if len(raw) > MAX_LINE:
            raise ImportRefused(f"line {number} is longer than {MAX_LINE:,} bytes")
        try:
            text = raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError:
            raise ImportRefused(f"line {number} is not UTF-8 text") from None
        if "\0" in text:
            raise ImportRefused(f"line {number} holds a NUL byte, so this is no list of URLs")
        yield number, text


def _take_option(lines: list[Line], number: int, content: str, ignored: _Ignored) -> None:
    option = _OPTION.fullmatch(content)
    if option is None:
        label = "indented text that is no option"
    elif option[1] not in _HONOURED:
        label = f"option {option[1]}="
    elif not lines:
        label = f"option {option[1]}= above the first URL"
    elif not option[2]:
        label = f"empty option {option[1]}="
    else:
        lines[-1].options.append(Option(number, option[1], option[2]))
        return
    ignored.setdefault(label, []).append(number)


def _notes(ignored: _Ignored) -> Iterator[str]:
    for label, numbers in list(ignored.items())[:_NOTED]:
        more = f" and on {len(numbers) - 1:,} other lines" if len(numbers) > 1 else ""
        yield f"line {numbers[0]}: ignored {label[:80]}{more}"
    if len(ignored) > _NOTED:
        yield f"ignored {len(ignored) - _NOTED:,} other kinds of option"
