"""All that is public, and where it is, in memory: what the redirector answers from.

Rules this module keeps:

- Nobody who asks waits for the database.  A thread reads what changed (``offers``) version by
  version and puts it in place whole; while the database is away what is known stays in use.
- Of a copy that the ledger doubts nothing is left after one ``refresh``.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from typing import Final, NamedTuple

from sqlmodel import Session

from fleet.control import redirects
from fleet.control.editions import SERVED, Copies, Edition, Found, Shelf
from fleet.planning.redirect import LOTS, Asker, MirrorFacts, Ranking, rank
from fleet.planning.states import VersionState
from fleet.store import offers
from fleet.store.database import Store
from fleet.store.offers import Note

REFRESH_SECONDS: Final = 2.0
LATEST: Final = "latest"
_LATE = 3 * REFRESH_SECONDS
_MOST_RANKED = 20_000


@dataclass(frozen=True, slots=True)
class _Line:
    """The versions of a dataset by their labels, and which is the latest."""

    editions: Mapping[str, Edition] = field(default_factory=dict)
    latest: Edition | None = None


class _Seen(NamedTuple):
    """A version that was read, and how often something had changed of it."""

    dataset: str
    label: str
    changes: int


class Standing:
    """What sites are at one moment, and how copies rank by that."""

    def __init__(self, mirrors: Mapping[str, MirrorFacts]) -> None:
        """Rank by ``mirrors``, the sites that are there."""
        self.mirrors = mirrors
        self._ranked: dict[tuple[Copies, Asker, int], Ranking] = {}

    def rank(self, found: Found, asker: Asker) -> Ranking:
        """Put the mirrors of a file in order."""
        key = (found.copies, asker, found.sha256[0] % LOTS)
        ranking = self._ranked.get(key)
        if ranking is None:
            if len(self._ranked) >= _MOST_RANKED:
                self._ranked.clear()
            ranking = self._ranked[key] = rank(found.copies.every, self.mirrors, asker, key[2])
        return ranking

    def url(self, found: Found, site: str) -> str:
        """Return where a file is read at a site."""
        edition = found.edition
        at = edition.records.get(site) or self.mirrors[site].reading
        return at.url(edition.folder, found.path)

    def country(self, site: str) -> str:
        """Return the country that a site stands in, if that is known."""
        return self.mirrors[site].country if site in self.mirrors else ""


class Snapshot:
    """What is public as of ``at``; ``complete`` once all of it has been read."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self.at: datetime | None = None
        self.complete = False
        self._read_at = time.monotonic()
        self.standing = Standing({})
        self._aliases: Mapping[str, str] = {}
        self._lines: dict[str, _Line] = {}
        self._owners: Mapping[str, str] = {}
        self._seen: dict[str, _Seen] = {}
        self._noted: set[int] = set()
        self._shelf = Shelf()

    @property
    def stale_since(self) -> datetime | None:
        """When it was last read, if that is too long ago; None while it is fresh."""
        return self.at if time.monotonic() - self._read_at > _LATE else None

    def renamed(self, name: str) -> str:
        """Return the id of the dataset that once was called ``name``; empty if none was."""
        return self._aliases.get(name, "")

    def knows(self, dataset: str) -> bool:
        """Whether a dataset has a public version."""
        return dataset in self._lines

    def edition(self, dataset: str, label: str) -> Edition | None:
        """Return a version of a dataset, or its latest; None if it has none of that label."""
        line = self._lines.get(dataset, _NO_LINE)
        found = line.editions.get(label)
        return line.latest if found is None and label == LATEST else found

    def owner(self, name: str) -> str:
        """Return the dataset whose latest version has a file of that bare name; empty if none."""
        return self._owners.get(name, "")

    def refresh(self, store: Store) -> None:
        """Read what changed since the last time."""
        with store.read() as session:
            now = store.now(session)
            mirrors = redirects.mirrors(session, now)
            self._aliases = offers.aliases(session)
            told = offers.changes(session)
            changed = told != {one: seen.changes for one, seen in self._seen.items()}
            notes = offers.notes(session) if changed else []
        if mirrors != self.standing.mirrors:
            self.standing = Standing(mirrors)
        if changed:
            self._take(store, told, [one for one in notes if one.id not in self._noted])
            self._noted = {one.id for one in notes}
        self.at, self.complete, self._read_at = now, True, time.monotonic()

    def _take(self, store: Store, told: Mapping[str, int], notes: Sequence[Note]) -> None:
        """Read what ``notes``, or else the sums of changes, say is not as it was."""
        by_version: dict[str, list[Note]] = {}
        for note in notes:
            by_version.setdefault(note.version, []).append(note)
        before_all = _standings(self._lines)
        try:
            # a version that is new before the one that it superseded: else none would be latest
            for one, times in sorted(told.items(), key=lambda told: self._is_public(told[0])):
                before = self._seen.get(one)
                if before is None or before.changes != times:
                    with store.read() as session:
                        self._read(session, one, before, times, by_version.get(one, ()))
            for one in self._seen.keys() - told.keys():
                self._put(self._seen[one], None)
                del self._seen[one]
        finally:
            if before_all != _standings(self._lines):
                self._owners = _owners(self._lines)

    def _is_public(self, version: str) -> bool:
        return version in self._seen and self._seen[version].label != ""

    def _read(
        self,
        session: Session,
        one: str,
        before: _Seen | None,
        times: int,
        notes: Sequence[Note],
    ) -> None:
        """Read a version: only the shards in ``notes``, where these are all that changed."""
        row = offers.version(session, one)
        if row is None:  # a draft, of which all that changes will be noted when it is published
            self._seen[one] = _Seen("", "", times)
            return
        seen = _Seen(row.dataset_id, row.label, times)
        known = self._lines.get(row.dataset_id, _NO_LINE).editions.get(row.label)
        changed = sum(note.changes for note in notes)
        offered = known is not None and known.state in SERVED
        if known and offered and before is not None and before.changes + changed == times:
            shards = list({note.shard for note in notes})
            self._put(seen, self._shelf.mended(session, known, shards))
        else:
            self._put(seen, self._shelf.read(session, row, known))
        self._seen[one] = seen

    def _put(self, seen: _Seen, edition: Edition | None) -> None:
        """Put a version in place of what was known of it; None: it is no more."""
        before = self._lines.get(seen.dataset, _NO_LINE)
        editions = {key: each for key, each in before.editions.items() if key != seen.label}
        if edition is not None:
            editions[seen.label] = edition
        newest = [each for each in editions.values() if each.state == VersionState.PUBLISHED]
        if editions:
            latest = max(newest, key=lambda each: each.sequence, default=None)
            self._lines[seen.dataset] = _Line(editions, latest)
        else:
            self._lines.pop(seen.dataset, None)


_NO_LINE: Final = _Line()


def _standings(lines: Mapping[str, _Line]) -> list[tuple[str, object]]:
    """Tell apart all that who has a bare name depends on."""
    return [
        (name, [(one.label, one.state, one.files) for one in line.editions.values()])
        for name, line in lines.items()
    ]


def _owners(lines: Mapping[str, _Line]) -> Mapping[str, str]:
    """Give each bare name to the dataset that has had it for longest without a break."""
    owners: dict[str, str] = {}
    for dataset, line in lines.items():
        for name in line.latest.files.bare if line.latest else ():
            first = owners.setdefault(name, dataset)
            if first != dataset:
                owners[name] = min(first, dataset, key=lambda one: (_held(lines[one], name), one))
    return owners


def _held(line: _Line, name: str) -> datetime:
    """Say since when a dataset has had a bare name, to its latest version, without a break."""
    newest_first = sorted(line.editions.values(), key=lambda one: one.sequence, reverse=True)
    served = (one for one in newest_first if one.state in SERVED)
    since = (one.since for one in takewhile(lambda one: name in one.files.bare, served))
    last = line.latest or newest_first[0]  # while what followed it is not known to be latest yet
    return min(since, default=last.since)
