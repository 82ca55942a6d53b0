"""Which items are small enough to be asked for many at a time, and of which host.

An item is, if its size is known, its place is free and nothing of it is staged.  Everything else
(a file that is there already, a partial to be resumed, two items for one place, a path or a URL
that may not be used) is left to the ordinary way, which reads, resumes or refuses it.
"""

import os
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from fleet.messages import Item, Source
from workers.pull.faults import Busy, Fault, Passing
from workers.pull.run import Run
from workers.pull.tally import Tally
from workers.pull.web import Web
from workers.storage.paths import UnsafePathError, contained, segments

SMALL = 1024 * 1024
MOST_FAILURES = 16
MOST_SHORT = 3
WORTH = 32  # answers on one connection
_TOO_MUCH = {429, 503}
_PLAIN_URL = re.compile(
    r"(https?://[a-z0-9.-]+(?::[1-9][0-9]{0,4})?)"
    r"(/(?:[A-Za-z0-9._~!$&()*+,;=:@/-]|%[0-9A-F]{2})*)"
)


@dataclass(slots=True, eq=False)
class Ask:
    """A small item: the source to ask, the request's target, the size, the place of its file."""

    item: Item
    source: Source
    target: bytes
    size: int
    final: str


@dataclass(eq=False)
class Host:
    """What is still to be asked of one host, and how that goes.

    Attributes:
        proven: whether a digest of each item is known.
        lines: the connections that are in use.
        most: how many answers it gives on one connection before it closes it, as far as is known.
        good: how many answers were right.
        given_up: whether the rest is left to the ordinary way.
    """

    tally: Tally
    proven: bool
    todo: deque[Ask] = field(default_factory=deque)
    lines: int = 0
    most: int = 1 << 30
    good: int = 0
    given_up: bool = False
    _failures: int = 0
    _short: int = 0

    @property
    def open(self) -> bool:
        """Whether there is something to ask it."""
        return bool(self.todo) and not self._left_alone

    def next(self) -> Ask | None:
        """Take the next item to ask for; None if there is none."""
        try:
            return None if self._left_alone else self.todo.popleft()
        except IndexError:
            return None

    def put_back(self, asks: Sequence[Ask]) -> None:
        """Take back what got no answer."""
        self.todo.extendleft(reversed(asks))

    def delivered(self) -> None:
        """Note that an answer was right."""
        self.good += 1
        self._failures = 0

    def failed(self) -> None:
        """Note that an answer was of no use."""
        self._failures += 1
        self.given_up = self.given_up or self._failures >= MOST_FAILURES

    def refused(self, status: int, fault: Fault) -> None:
        """Note an answer of no use; a host that it is too much for is not asked on."""
        if isinstance(fault, Passing) and fault.wait:
            now = monotonic()
            self.tally.rest(fault, now, now + fault.wait)
            self.given_up = True
        if isinstance(fault, Busy):
            if self.tally.out is None:
                self.tally.blame(fault)
            self.given_up = True
        self.given_up = self.given_up or status in _TOO_MUCH
        self.failed()

    def closed(self, answers: int) -> None:
        """Note that it closed a connection after so many answers."""
        if answers >= WORTH:
            self._short, self.most = 0, answers
            return
        self._short += 1
        self.given_up = self.given_up or self._short >= MOST_SHORT

    @property
    def _left_alone(self) -> bool:
        resting = self.tally.out is not None or self.tally.ready_at > monotonic()
        return self.given_up or resting


def by_host(run: Run, items: Sequence[Item]) -> list[Host]:
    """Sort the items that are fit by the host of their best source.

    Raises:
        OSError: the storage cannot be read.
    """
    places = _Places(run)
    hosts: dict[tuple[str, str | None, bool], Host] = {}
    for item in items:
        source = next((one for one in item.sources if one.kind == "http" and not one.centre), None)
        if source is None or not item.size or run.owners[item.path] is not item:
            continue
        if item.size > min(SMALL, run.order.max_bytes or SMALL):
            continue
        final, asked = places.free(item), _split(run.web, source)
        if final is None or asked is None:
            continue
        proven = bool(item.sha256 or item.md5)
        key = (asked[0], source.site, proven)
        if key not in hosts:
            hosts[key] = Host(run.tallies.of(source), proven)
        hosts[key].todo.append(Ask(item, source, asked[1], item.size, final))
    return list(hosts.values())


class _Places:
    """The places of an order's items; each folder is looked at once."""

    def __init__(self, run: Run) -> None:
        self._storage = run.storage
        self._folder = run.order.folder
        self._taken: dict[str, tuple[str, set[str]]] = {}
        self._staged = {name.partition(".")[0] for name in _names(run.storage.staging_folder())}

    def free(self, item: Item) -> str | None:
        """Say where an item belongs; None if something is there, or staged, or may not be."""
        folder, _, name = item.path.rpartition("/")
        try:
            segments(item.path)
            if folder not in self._taken:
                self._taken[folder] = self._look(folder)
        except (UnsafePathError, NotADirectoryError):
            return None
        place, taken = self._taken[folder]
        staged = self._staged and self._storage.staging(item.artifact).stem in self._staged
        return None if staged or name in taken else f"{place}/{name}"

    def _look(self, folder: str) -> tuple[str, set[str]]:
        root = self._storage.root
        place = contained(root, self._folder, folder) if self._folder or folder else root
        return str(place), _names(place)


def _names(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries}
    except FileNotFoundError:
        return set()


def _split(web: Web, source: Source) -> tuple[str, bytes] | None:
    """Split a URL into what names the host and what to ask it for; None if it may not be asked."""
    plain = _PLAIN_URL.fullmatch(source.url)
    if plain and "/." not in plain[2]:
        return plain[1], plain[2].encode()
    try:
        call = web.call(source, {})
    except Fault:
        return None
    return f"{call.place.scheme}://{call.host}", call.target
