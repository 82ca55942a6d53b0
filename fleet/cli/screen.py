"""The live screen of `fleet up`: what is there, what runs, what has just happened.

Rules this module keeps:

- ``render`` is pure.  What does not fit a screen gives way in this order: older events, a line
  of its own for each program that is well, datasets beyond the first few.
- Names come from outside: what is not printable is replaced, and nothing is read as markup.
- Output that is not a terminal gets plain lines, and only for what has changed.
- There are no threads: the screen changes when ``show`` is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fleet.cli.supervisor import Status
from fleet.cli.text import clean, duration, size

SIDE_BY_SIDE = 110
"""Columns from which sites and programs stand side by side."""

_COLOURS = {"ready": "green", "starting": "yellow", "restarting": "bold red", "stopped": "dim"}


@dataclass(frozen=True)
class SiteLine:
    """One site: how many replicas it has in which state, and how many transfers run to it."""

    site: str
    available: int = 0
    copying: int = 0
    bad: int = 0
    transfers: int = 0


@dataclass(frozen=True)
class DatasetLine:
    """One version of a dataset: its state, how much is ``done`` of the ``total``, its bytes."""

    id: str
    version: str
    state: str
    done: int
    total: int
    bytes: int


@dataclass(frozen=True)
class Snapshot:
    """All that the screen shows at one moment (UTC); events in the order they happened."""

    processes: Sequence[Status] = ()
    sites: Sequence[SiteLine] = ()
    datasets: Sequence[DatasetLine] = ()
    page_url: str = ""
    events: Sequence[str] = ()
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class _Room(NamedTuple):
    """How much a layout shows: the last events, each program or only the unwell, datasets."""

    events: int
    all_programs: bool
    datasets: int


_ROOMS = (
    *(_Room(events, True, 99) for events in (12, 8, 5, 3)),
    *(_Room(events, False, 99) for events in (8, 5, 3)),
    *(_Room(events, False, 3) for events in (3, 0)),
)


class Screen:
    """Shows one snapshot after another; a context manager that leaves the last one standing."""

    def __init__(self, console: Console | None = None) -> None:
        """Show on ``console`` (None: standard output)."""
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")
        self._last = Snapshot()

    def __enter__(self) -> Self:
        """Take the screen, where there is one."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the screen back."""
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show ``snapshot`` in place of the one before it."""
        if self._console.is_terminal:
            width, height = self._console.size
            self._live.update(render(snapshot, width, height - 1), refresh=True)
        else:
            for line in changes(self._last, snapshot):
                self._console.out(line, highlight=False)
        self._last = snapshot


def render(snapshot: Snapshot, width: int, height: int | None = None) -> RenderableType:
    """Lay a snapshot out for ``width`` columns, and for ``height`` lines where that is given."""
    ruler = Console(width=width, height=1000)
    for room in _ROOMS:
        page = _page(snapshot, width, room)
        if height is None or len(ruler.render_lines(page)) <= height:
            break
    return page


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """Say in plain lines what differs between two snapshots."""
    said = set(_sentences(before))
    known = list(before.events)
    seen = max(
        n for n in range(len(known) + 1) if known[len(known) - n :] == list(after.events[:n])
    )
    fresh = [line for line in _sentences(after) if line not in said]
    return [*fresh, *(clean(event) for event in after.events[seen:])]


def _sentences(snapshot: Snapshot) -> list[str]:
    """Say what a log should mention when it changes; programs' changes come as events."""
    page = [f"page: {snapshot.page_url}"] if snapshot.page_url else []
    sites = [
        f"site {line.site}: {line.available} available, {line.copying} copying, {line.bad} bad, "
        f"{line.transfers} running"
        for line in snapshot.sites
    ]
    datasets = [
        f"{line.id} {line.version}: {line.state}, {line.done} of {line.total}"
        for line in snapshot.datasets
    ]
    return [clean(line) for line in (*page, *datasets, *sites)]


def _page(snapshot: Snapshot, width: int, room: _Room) -> RenderableType:
    programs, sites = _programs(snapshot, all_of_them=room.all_programs), _sites(snapshot.sites)
    parts: list[RenderableType] = [
        Text.assemble(("Fleet  ", "bold"), (clean(snapshot.page_url), "cyan"), overflow="fold")
    ]
    if snapshot.datasets:
        parts.append(_datasets(snapshot.datasets, room.datasets))
    if width >= SIDE_BY_SIDE:
        both = Table.grid(expand=True, padding=(0, 4, 0, 0))
        both.add_column(no_wrap=True)
        both.add_column(ratio=1)
        both.add_row(sites, programs)
        parts.append(both)
    else:
        parts += [sites, programs]
    if room.events and snapshot.events:
        events = _table("Events")
        for event in snapshot.events[-room.events :]:
            events.add_row(_text(event))
        parts.append(events)
    spaced = [piece for part in parts for piece in (part, Text())]
    return Group(*spaced[:-1])


def _datasets(datasets: Sequence[DatasetLine], most: int) -> RenderableType:
    table = _table("Dataset", "Version", "State", ">Done", ">Size")
    for line in datasets[:most]:
        done = Text(
            f"{line.done} of {line.total}", style="green" if line.done >= line.total else ""
        )
        table.add_row(
            _text(line.id), _text(line.version), _text(line.state), done, size(line.bytes)
        )
    if len(datasets) > most:
        table.add_row(Text(f"… and {len(datasets) - most} more", style="dim"))
    return table


def _sites(sites: Sequence[SiteLine]) -> RenderableType:
    table = _table("Site", ">Available", ">Copying", ">Bad", ">Running")
    for line in sites:
        table.add_row(
            _text(line.site),
            _count(line.available, "green"),
            _count(line.copying, "yellow"),
            _count(line.bad, "bold red"),
            _count(line.transfers, "cyan"),
        )
    return table


def _programs(snapshot: Snapshot, *, all_of_them: bool) -> RenderableType:
    unwell = [line for line in snapshot.processes if line.state != "ready"]
    shown = snapshot.processes if all_of_them else unwell
    table = _table("Program", "State", ">pid", ">For", ">Restarts", "Last end")
    table.columns[0].no_wrap = True
    for line in shown:
        table.add_row(
            _text(line.name),
            Text(line.state, style=_COLOURS[line.state]),
            "" if line.pid is None else str(line.pid),
            duration((snapshot.at - line.since).total_seconds()),
            _count(line.restarts, "yellow"),
            _text(line.last_exit),
        )
    well = [line.name for line in snapshot.processes if line not in shown]
    if not well:
        return table
    rest = Text.assemble((f"{len(well)} programs ready: ", "green"), ", ".join(well))
    return Group(table, rest) if shown else rest


def _table(*titles: str) -> Table:
    """Make a table without lines; a title that begins with ``>`` heads a column of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        if title.startswith(">"):
            table.add_column(title[1:], justify="right", no_wrap=True)
        else:
            table.add_column(title, overflow="fold")
    return table


def _text(text: str) -> Text:
    return Text(clean(text), overflow="fold")


def _count(number: int, style: str) -> Text:
    return Text(str(number), style=style if number else "dim")
