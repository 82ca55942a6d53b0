"""The live view of `fleet pull`: how far it is, and which host does what.

Rules this module keeps:

- ``render`` and ``line`` are pure.  What does not fit gives way: the list of files, then
  hosts beyond the first few.
- Names come from outside: what is not printable is replaced, and nothing is read as markup.
- All goes to standard error, and a terminal gets its lines back at the end.  What cannot be
  drawn on gets a plain line now and then.
"""

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fleet.cli.pull.sight import HostLine, Sight
from fleet.cli.text import clean, duration, size

LOOK_SECONDS = 0.25
LINE_SECONDS = 5.0
FEW = 6  # files that are listed
_FIGURES = 40  # columns that the figures of hosts take at most, with what is between them
_LEAST = 12  # columns of a host's name, and of its last fault


class Screen:
    """Shows a pull while it goes on: a context manager with a thread of its own."""

    def __init__(self, look: Callable[[float], Sight], *, quiet: bool) -> None:
        """Show what ``look`` sees; if ``quiet``, only to a terminal."""
        self._look = look
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._over = threading.Event()
        self._drawing = self._console.is_terminal and not self._console.is_dumb_terminal
        self._silent = quiet and not self._drawing
        self._thread = threading.Thread(target=self._show, name="screen", daemon=True)

    def __enter__(self) -> Self:
        """Begin to show."""
        if not self._silent:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the terminal back."""
        self._over.set()
        if not self._silent:
            self._thread.join()

    def _show(self) -> None:
        if self._drawing:
            with self._live:
                while not self._over.wait(LOOK_SECONDS):
                    width, height = self._console.size
                    now = time.monotonic()
                    self._live.update(render(self._look(now), width, height - 1, now), refresh=True)
            return
        note, said = "", time.monotonic()
        while not self._over.wait(LOOK_SECONDS):
            now = time.monotonic()
            sight = self._look(now)
            if now - said >= LINE_SECONDS or sight.note != note:
                note, said = sight.note, now
                self._console.out(line(sight), highlight=False)


def line(sight: Sight) -> str:
    """Say in one line how far it is."""
    parts = [] if len(sight.files) == 1 else [_counts(sight)]
    percent = _percent(sight)
    parts.append(_amount(sight) + (f" ({percent})" if percent else ""))
    parts.append(f"{size(round(sight.rate))}/s")
    if ending := _ending(sight):
        parts.append(ending)
    return clean(", ".join(parts))


def render(sight: Sight, width: int, height: int, now: float = 0.0) -> RenderableType:
    """Lay a sight out for a terminal of ``width`` columns and ``height`` lines."""
    single = len(sight.files) == 1
    title = sight.files[0][0] if single else _counts(sight)
    parts: list[RenderableType] = [_text(title, "bold"), _bar(sight, width, now)]
    if sight.note:
        parts.append(Text(clean(sight.note), "yellow", overflow="fold"))
    ruler = Console(width=width, height=1000)
    rows = height - len(ruler.render_lines(Group(*parts)))
    if not single and len(sight.files) <= min(FEW, rows - len(sight.hosts) - 1):
        parts += [_file(name, there=there) for name, there in sight.files]
        rows -= len(sight.files)
    if sight.hosts and rows > 2:
        parts.append(_hosts(sight.hosts, rows - 1, width))
    return Group(*parts)


def _bar(sight: Sight, width: int, now: float) -> RenderableType:
    figures = [_percent(sight), _amount(sight), f"{size(round(sight.rate))}/s", _ending(sight)]
    shown = "  ".join(figure for figure in figures if figure)
    known = sight.total is not None
    bar = ProgressBar(
        total=max(sight.total or 0, 1) if known else None,
        completed=sight.done if sight.total else float(known),
        pulse=not known,
        animation_time=now,
        width=max(width - len(shown) - 2, 4),
    )
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(bar, Text(shown, no_wrap=True))
    return row


def _hosts(hosts: Sequence[HostLine], most: int, width: int) -> RenderableType:
    room = max(width - _FIGURES, 2 * _LEAST)  # rich would give the figures' to the longest texts
    names = max(min(max(len(one.host) for one in hosts), room - _LEAST), _LEAST)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("From", no_wrap=True, overflow="ellipsis", max_width=names)
    for title in ("Streams", "Bytes", "Rate", "Faults"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("Last fault", no_wrap=True, overflow="ellipsis", max_width=room - names)
    shown = hosts if len(hosts) <= most else hosts[: most - 1]
    for one in shown:
        table.add_row(
            _text(one.host),
            Text(str(one.streams), style="cyan" if one.streams else "dim"),
            size(one.bytes),
            f"{size(round(one.rate))}/s",
            Text(str(one.errors), style="red" if one.errors else "dim"),
            _text(one.last_error, "red"),
        )
    left = len(hosts) - len(shown)
    return Group(table, Text(f"… and {left} more", style="dim")) if left else table


def _file(name: str, *, there: bool) -> Text:
    state = ("✓ ", "green") if there else ("· ", "dim")
    return Text.assemble(state, clean(name), no_wrap=True, overflow="ellipsis")


def _counts(sight: Sight) -> str:
    failed = f", {sight.failed} failed" if sight.failed else ""
    return f"{sight.landed} of {len(sight.files)} files{failed}"


def _percent(sight: Sight) -> str:
    return f"{100 * sight.done // sight.total}%" if sight.total else ""


def _amount(sight: Sight) -> str:
    return size(sight.done) + ("" if sight.total is None else f" of {size(sight.total)}")


def _ending(sight: Sight) -> str:
    """Say when it ends, or why nobody knows."""
    if sight.note:
        return "waits"
    if sight.total is not None and sight.done >= sight.total > 0:
        return "checking"
    left = sight.seconds_left
    return "" if left is None else f"{duration(left)} left"


def _text(text: str, style: str = "") -> Text:
    return Text(clean(text), style, no_wrap=True, overflow="ellipsis")
