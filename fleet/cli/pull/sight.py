"""What there is to see of a pull at one moment: counters, and rates over the last seconds."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.pull import Watch
from workers.pull.tally import Tally

WINDOW_SECONDS = 5.0
AT_ONCE = 500  # files that are looked for at each look


@dataclass(frozen=True)
class HostLine:
    """One host: bytes that came of it, bytes per second now, answers being read, its faults."""

    host: str
    streams: int = 0
    bytes: int = 0
    rate: float = 0.0
    errors: int = 0
    last_error: str = ""


@dataclass(frozen=True)
class Sight:
    """All that is shown of a pull at one moment.

    Attributes:
        files: each file's name, and whether it is in its place.
        failed: how many could not be had.
        done: bytes held, of ``total`` (None: not known yet).
        rate: bytes per second that come now.
        note: what it waits for.
    """

    files: Sequence[tuple[str, bool]] = ()
    failed: int = 0
    done: int = 0
    total: int | None = None
    rate: float = 0.0
    hosts: Sequence[HostLine] = ()
    note: str = ""

    @property
    def landed(self) -> int:
        """How many files are in their places."""
        return sum(there for _, there in self.files)

    @property
    def seconds_left(self) -> float | None:
        """How long it takes at this rate; None if nobody can say."""
        if self.total is None or self.rate <= 0 or self.done >= self.total:
            return None
        return (self.total - self.done) / self.rate


class Observer:
    """Looks at a pull now and then; its rates are those between two looks."""

    def __init__(self, watch: Watch, finals: Sequence[Path], now: float) -> None:
        """Look at ``watch``, which begins ``now``, and at the places of its files."""
        self._watch = watch
        self._finals = finals
        self._landed = [False] * len(finals)
        self._next = 0
        self._before: deque[tuple[float, dict[str, int]]] = deque([(now, {})])

    def look(self, now: float) -> Sight:
        """See how it is at ``now``, in seconds of any clock that never goes back."""
        watch = self._watch
        tallies = list(watch.tallies.hosts.values())
        came = {_name(tally): tally.bytes for tally in tallies}
        since, before = self._since(now, came)
        seconds = max(now - since, 0.1)
        rates = {host: (count - before.get(host, 0)) / seconds for host, count in came.items()}
        hosts = [
            HostLine(
                _name(tally),
                tally.streams,
                tally.bytes,
                rates[_name(tally)],
                tally.errors,
                tally.last_error.removeprefix(f"{tally.host}: "),
            )
            for tally in tallies
        ]
        self._look_for_some()
        total = watch.bytes_total
        return Sight(
            files=[
                (final.name, there) for final, there in zip(self._finals, self._landed, strict=True)
            ],
            failed=watch.items_failed,
            done=watch.bytes_done if total is None else min(watch.bytes_done, total),
            total=total,
            rate=sum(rates.values()),
            hosts=hosts,
            note=watch.note,
        )

    def _look_for_some(self) -> None:
        """See which files are there: of many, some at each look, in turn."""
        count = len(self._finals)
        for number in range(self._next, self._next + min(count, AT_ONCE)):
            self._landed[number % count] = self._finals[number % count].exists()
        self._next = (self._next + AT_ONCE) % max(count, 1)

    def _since(self, now: float, came: dict[str, int]) -> tuple[float, dict[str, int]]:
        """Remember these counters; give those of some seconds ago."""
        self._before.append((now, came))
        while len(self._before) > 2 and self._before[1][0] <= now - WINDOW_SECONDS:
            self._before.popleft()
        return self._before[0]


def _name(tally: Tally) -> str:
    """Name a host, with the site that is read there if that is known."""
    return f"{tally.site} ({tally.host})" if tally.site else tally.host
