"""One file of a list, judged: its good sources, its path, its digests.  Pure.

A URL that ends in a slash gives no name and is refused unless ``out=`` names the file: what
answers there is nearly always a page about the data, and mirroring that would pass unnoticed.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from fleet.importers.draft import ItemRefused, show, show_url
from fleet.importers.paths import Claim, checked_path
from fleet.importers.url import checked_url, file_name, parents
from fleet.importers.url_list import Line, Option

_DIGESTS = {"sha-256": re.compile(r"[0-9a-f]{64}"), "md5": re.compile(r"[0-9a-f]{32}")}
_MAX_ALTERNATES = 100
_NOTED = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as a line of a list names it.

    Attributes:
        number: its place in what named it, from 1; 0 for a URL that stands in no list.
        sources: good URLs in normal form, each once, in the order given.
        path: where the file should lie, before any collision.
        folder: the beginning of ``path`` that ``dir=`` asked for; may be empty.
        asked: a person chose the path, by ``out=`` or ``dir=``.
        named_by: the source whose folders and host tell it from files of the same name; empty:
            those of no source do.
        sha256: lowercase hex, if a checksum gave it.
        md5: likewise.
        size: bytes, if it was told.
        word: what ``number`` counts.
    """

    number: int
    sources: tuple[str, ...]
    path: str
    folder: str
    asked: bool
    named_by: str
    sha256: str | None
    md5: str | None
    size: int | None = None
    word: str = "line"

    def claim(self, identity: str) -> Claim:
        """Return this file's claim to its path; ``identity`` tells it from all others."""
        name = self.path[len(self.folder) + 1 :] if self.folder else self.path
        near = parents(self.named_by, self.path) if self.named_by else ()
        return Claim(name, self.folder, near, identity, self.asked)


def at_line(number: int, text: str) -> str:
    """Return ``text`` with the number of its line before it, if it stands in a list."""
    return f"line {number}: {text}" if number else text


def read_entry(line: Line) -> tuple[Entry, tuple[str, ...]]:
    """Judge one line.

    Returns:
        The file it names, and notes on what was left out.

    Raises:
        ItemRefused: no source is left, or an option asks for what cannot be; the message begins
            with the line.
    """
    if line.indented:
        raise ItemRefused(
            at_line(
                line.number,
                f"{show_url(line.urls[0])} is indented like an option: remove the indent if it is "
                "a file of its own; put it on the line above, after a TAB, if it is an alternate",
            )
        )
    sources, left_out = good_sources(line.urls, partial(at_line, line.number))
    chosen, overridden = _chosen(line)
    digests, unknown = _digests(line)
    folder = _place(chosen["dir"]) if "dir" in chosen else ""
    if "out" in chosen:
        name, named_by = _place(chosen["out"]), sources[0]
    else:
        name, named_by = _derived(line, sources)
    path = f"{folder}/{name}" if folder else name
    try:
        checked_path(path)
    except ItemRefused as refusal:
        raise ItemRefused(at_line(line.number, f"{show(path)} {refusal}")) from None
    return Entry(
        number=line.number,
        sources=sources,
        path=path,
        folder=folder,
        asked=bool(chosen),
        named_by=named_by,
        sha256=digests.get("sha-256"),
        md5=digests.get("md5"),
    ), (*left_out, *overridden, *unknown)


def good_sources(
    urls: Sequence[str], at: Callable[[str], str]
) -> tuple[tuple[str, ...], list[str]]:
    """Keep of ``urls`` those that may be mirrored, in normal form, each once.

    Args:
        urls: alternates of one file.
        at: says of a text where it belongs.

    Returns:
        The good ones, and notes on the others.

    Raises:
        ItemRefused: none is left, or there are too many.
    """
    if len(urls) > _MAX_ALTERNATES:
        raise ItemRefused(at(f"names more than {_MAX_ALTERNATES} alternates"))
    good: dict[str, None] = {}
    faults: list[str] = []
    for text in urls:
        try:
            good[checked_url(text)] = None
        except ItemRefused as refusal:
            faults.append(f"{show_url(text)} {refusal}")
    listed = "; ".join(faults[:_NOTED])
    if len(faults) > _NOTED:
        listed += f"; and {len(faults) - _NOTED:,} more"
    if not good:
        raise ItemRefused(at(listed))
    if not faults:
        return tuple(good), []
    left_out = f"left out {len(faults):,} of {len(urls):,} alternates: {listed}"
    return tuple(good), [at(left_out)]


def _chosen(line: Line) -> tuple[dict[str, Option], list[str]]:
    """Return the ``out`` and ``dir`` that count: the last of each, as in aria2."""
    chosen: dict[str, Option] = {}
    notes: list[str] = []
    for option in line.options:
        if option.name == "checksum":
            continue
        before = chosen.get(option.name)
        if before is not None and before.value != option.value:
            notes.append(at_line(option.number, f"this {option.name}= replaces the one above it"))
        chosen[option.name] = option
    return chosen, notes


def _digests(line: Line) -> tuple[dict[str, str], list[str]]:
    digests: dict[str, str] = {}
    notes: list[str] = []
    for option in line.options:
        if option.name != "checksum":
            continue
        kind, _, value = (part.strip().lower() for part in option.value.partition("="))
        if kind not in _DIGESTS:
            text = f"ignored the checksum of kind {show(kind)}; sha-256 and md5 are understood"
            notes.append(at_line(option.number, text))
        elif not _DIGESTS[kind].fullmatch(value):
            raise ItemRefused(at_line(option.number, f"checksum={kind} is no such digest in hex"))
        elif digests.setdefault(kind, value) != value:
            raise ItemRefused(at_line(option.number, f"a second, different checksum={kind}"))
    return digests, notes


def _place(option: Option) -> str:
    """Return the path that an ``out`` or ``dir`` asks for; a ``dir`` may end in a slash."""
    value = option.value
    if option.name == "dir":
        value = value.rstrip("/") or "/"
    try:
        return checked_path(value)
    except ItemRefused as refusal:
        shown = show(f"{option.name}={option.value}")
        raise ItemRefused(at_line(option.number, f"{shown} {refusal}")) from None


def _derived(line: Line, sources: tuple[str, ...]) -> tuple[str, str]:
    """Return a name for the file, and the source that it was taken from."""
    for url in sources:
        try:
            name = file_name(url)
        except ItemRefused as refusal:
            text = f"{show_url(url)} {refusal}; name the file with out= in a list"
            raise ItemRefused(at_line(line.number, text)) from None
        if name is not None:
            return name, url
    text = f"{show_url(sources[0])} ends in a slash; name the file with out= in a list"
    raise ItemRefused(at_line(line.number, text))
