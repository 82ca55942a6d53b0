"""The files of one list or repository, brought together: what repeats or collides.  Pure.

Rules this module keeps:

- Lines that name one file become one artifact: lines of the same path that share a URL, and
  lines of the same URLs of which one at most says (``out=``, ``dir=``) where the file should lie.
- Lines that share a URL but name different files stay apart, with a note: joining them could
  pass one file's bytes off as another's.
- One bad line never stops the others, and the order of the lines changes no path.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fleet.importers.draft import (
    MAX_ITEMS,
    DraftArtifact,
    ImportRefused,
    ItemRefused,
    show,
    show_url,
)
from fleet.importers.entry import Entry, read_entry
from fleet.importers.groups import Groups
from fleet.importers.media import media_type
from fleet.importers.offer import Offer, read_offer
from fleet.importers.paths import Claim, settle
from fleet.importers.url_list import Line

_NOTED = 5
_Read = tuple[Entry, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class _File:
    """One file, and every line that names it; all of them have its path."""

    entries: tuple[Entry, ...]
    path: str
    sources: tuple[str, ...]
    size: frozenset[int]
    sha256: frozenset[str]
    md5: frozenset[str]

    @property
    def number(self) -> int:
        return self.entries[0].number

    @property
    def at_odds(self) -> str:
        """What its lines contradict each other about; empty if they agree."""
        if len(self.sha256) > 1 or len(self.md5) > 1:
            return "checksums"
        return "sizes" if len(self.size) > 1 else ""

    def claim(self) -> Claim:
        first = min(self.entries, key=lambda entry: (not entry.asked, entry.folder, entry.named_by))
        return first.claim("\n".join(sorted(self.sources)))


def artifacts_of(lines: Iterable[Line]) -> tuple[tuple[DraftArtifact, ...], tuple[str, ...]]:
    """Return the artifacts that ``lines`` name, in the order of the list, and notes on them."""
    return _together((line.number, partial(read_entry, line)) for line in lines)


def artifacts_offered(
    offers: Sequence[Offer],
) -> tuple[tuple[DraftArtifact, ...], tuple[str, ...]]:
    """Return the artifacts that a repository offers, in its order, and notes on them.

    Raises:
        ImportRefused: there are none, or too many.
    """
    if not offers:
        raise ImportRefused("there is no file to import")
    if len(offers) > MAX_ITEMS:
        raise ImportRefused(f"there are more than {MAX_ITEMS:,} files; import them in parts")
    return _together(
        (number, partial(read_offer, number, offer)) for number, offer in enumerate(offers, 1)
    )


def _together(
    items: Iterable[tuple[int, Callable[[], _Read]]],
) -> tuple[tuple[DraftArtifact, ...], tuple[str, ...]]:
    """Judge every item, each with its number, and bring together what names one file."""
    entries: list[Entry] = []
    found: list[tuple[int, DraftArtifact]] = []
    notes: list[str] = []
    for number, read in items:
        try:
            entry, more = read()
        except ItemRefused as refusal:
            found.append((number, DraftArtifact("", refused=str(refusal))))
        else:
            entries.append(entry)
            notes.extend(more)
    files: list[_File] = []
    for file in _files(_agreed(entries)):
        if file.at_odds:
            reason = f"{_lines(file)} give different {file.at_odds} for {show(file.path)}"
            found.append((file.number, DraftArtifact("", refused=reason)))
        else:
            files.append(file)
    notes.extend(_merges(files))
    notes.extend(_kept_apart(files))
    for file, path in zip(files, settle([file.claim() for file in files]), strict=True):
        found.append((file.number, _artifact(file, path)))
        if path is not None and path != file.path:
            text = f"{show(file.path)} → {show(path)}, because another file has that name"
            notes.append(f"{_lines(file)}: {text}")
    found.sort(key=lambda pair: pair[0])
    return tuple(artifact for _, artifact in found), tuple(notes)


def _agreed(entries: Iterable[Entry]) -> list[Entry]:
    """Give lines of the same URLs the same path, unless each says where its file should lie."""
    alike: dict[frozenset[str], list[Entry]] = defaultdict(list)
    for entry in entries:
        alike[frozenset(entry.sources)].append(entry)
    agreed: list[Entry] = []
    for same in alike.values():
        if len(same) == 1:
            agreed.extend(same)
            continue
        placed = [entry for entry in same if entry.asked]
        model = min(placed or same, key=lambda entry: (entry.path, entry.named_by))
        agreed.extend(placed)
        agreed.extend(
            replace(entry, path=model.path, folder=model.folder, asked=model.asked)
            for entry in same
            if not entry.asked
        )
    return sorted(agreed, key=lambda entry: entry.number)


def _files(entries: Sequence[Entry]) -> Iterator[_File]:
    """Join lines of the same path that share a URL, directly or through others."""
    groups = Groups()
    first: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(entries):
        for url in entry.sources:
            groups.join(first.setdefault((entry.path, url), index), index)
    joined: dict[int, list[Entry]] = defaultdict(list)
    for index, entry in enumerate(entries):
        joined[groups.find(index)].append(entry)
    for members in joined.values():
        yield _File(
            entries=tuple(members),
            path=members[0].path,
            sources=tuple(dict.fromkeys(url for entry in members for url in entry.sources)),
            size=frozenset(entry.size for entry in members if entry.size is not None),
            sha256=frozenset(entry.sha256 for entry in members if entry.sha256),
            md5=frozenset(entry.md5 for entry in members if entry.md5),
        )


def _artifact(file: _File, path: str | None) -> DraftArtifact:
    if path is None:
        text = f"{_lines(file)}: {show(file.path)} collides with another file"
        advice = "; name it with another out=" if file.entries[0].word == "line" else ""
        return DraftArtifact("", refused=text + advice)
    return DraftArtifact(
        path=path,
        sources=file.sources,
        size=next(iter(file.size), None),
        sha256=next(iter(file.sha256), None),
        md5=next(iter(file.md5), None),
        media_type=media_type(path),
    )


def _merges(files: Iterable[_File]) -> Iterator[str]:
    for file in files:
        if len(file.entries) == 1:
            continue
        if len({frozenset(entry.sources) for entry in file.entries}) == 1:
            yield f"{_lines(file)} are duplicates: {show(file.path)} is taken once"
        else:
            sources = f"{len(file.sources):,} sources"
            yield f"{_lines(file)} share a URL: {show(file.path)} is taken once, with {sources}"


def _kept_apart(files: Sequence[_File]) -> Iterator[str]:
    """Note the files that share a URL although they differ, once for each set of them."""
    holders: dict[str, list[int]] = defaultdict(list)
    for index, file in enumerate(files):
        for url in file.sources:
            holders[url].append(index)
    noted: set[tuple[int, ...]] = set()
    for url, indices in holders.items():
        key = tuple(indices)
        if len(key) > 1 and key not in noted:
            noted.add(key)
            named = ", ".join(
                f"{show(files[index].path)} ({_lines(files[index])})" for index in key[:_NOTED]
            )
            more = f" and {len(key) - _NOTED:,} more" if len(key) > _NOTED else ""
            yield f"{named}{more} share {show_url(url)} but are listed as different files"


def _lines(file: _File) -> str:
    numbers = [str(entry.number) for entry in file.entries]
    more = f" and {len(numbers) - _NOTED:,} more" if len(numbers) > _NOTED else ""
    word = file.entries[0].word + "s" * (len(numbers) > 1)
    return f"{word} {', '.join(numbers[:_NOTED])}{more}"
