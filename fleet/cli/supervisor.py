"""A supervised tree of programs: started in order, restarted when they die, ended together.

Rules this module keeps:

- A program starts once those it comes after are ready, and is ended before they are.
- Left-overs of a dead program are killed before its replacement starts.
- Nothing outlives the supervisor, even after ``kill -9``: the kernel asks each program to end,
  and the keeper then kills what did not, grandchildren included.
- All of it happens in the main thread, whose end is what the kernel watches.
- A program must not daemonise: what leaves its process group is out of reach.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal

from fleet.cli.keeper import Keeper, kill_group
from fleet.cli.process import reap, spawn

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
LIVED_LONG = 10.0
POLL_SECONDS = 0.05

State = Literal["starting", "ready", "restarting", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program to keep running.

    ``env`` is its whole environment.  ``ready`` must answer within milliseconds and raise
    nothing; without it, a program is ready once started.  ``after`` names the programs that must
    be ready before it starts.  Its output is appended to ``log``.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    ready: Callable[[], bool] | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Status:
    """What a program is doing, since when (UTC), and how it ended last ("" if it never did)."""

    name: str
    pid: int | None
    state: State
    restarts: int
    since: datetime
    last_exit: str


def next_delay(previous: float, lived: float) -> float:
    """Seconds to wait before a restart, after a life of ``lived`` seconds.

    They double from 0.2 to 10 while lives are short; a life of 10 s forgives all before it.
    """
    if lived >= LIVED_LONG or not previous:
        return FIRST_DELAY
    return min(previous * 2, LONGEST_DELAY)


@dataclass
class _Child:
    """One program and its current life; ``due`` and ``kill_at`` are monotonic seconds."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    state: State = "starting"
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = 0.0
    delay: float = 0.0
    due: float = 0.0
    kill_at: float | None = None
    restarts: int = 0
    last_exit: str = ""

    def enter(self, state: State) -> None:
        self.state = state
        self.since = datetime.now(UTC)

    def status(self) -> Status:
        process = self.process  # read once: another thread may ask
        return Status(
            name=self.program.name,
            pid=None if process is None else process.pid,
            state=self.state,
            restarts=self.restarts,
            since=self.since,
            last_exit=self.last_exit,
        )


class Supervisor:
    """Keeps programs running until told to stop."""

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        on_event: Callable[[str], None] | None = None,
        grace: float = 10.0,
    ) -> None:
        """Take the programs to run.

        Args:
            programs: what to run, in any order.
            on_event: told of every change in one line, in the main thread.
            grace: seconds between asking a program to end and killing it.

        Raises:
            ValueError: two programs share a name, or ``after`` names an unknown one or a circle.
        """
        self._children = {program.name: _Child(program) for program in programs}
        if len(self._children) < len(programs):
            raise ValueError("two programs share a name")
        for program in programs:
            for name in program.after:
                if name not in self._children:
                    raise ValueError(f"{program.name} starts after {name}, which is not there")
        try:
            TopologicalSorter({program.name: program.after for program in programs}).prepare()
        except CycleError as error:
            raise ValueError(f"programs wait for each other: {', '.join(error.args[1])}") from None
        self._on_event = on_event or (lambda _: None)
        self._grace = grace
        self._keeper = Keeper(grace)

    def run(self, stop: threading.Event) -> None:
        """Keep everything running until ``stop`` is set, then end it all."""
        try:
            self.start()
            while not stop.is_set():
                # Not stop.wait(): a signal handler that sets the event while the main thread
                # holds the event's lock would wait for ever.
                time.sleep(POLL_SECONDS)
                self.step()
        finally:
            self.stop()

    def start(self) -> None:
        """Start the keeper, and every program that comes after none."""
        self._watch()
        self.step()

    def step(self) -> None:
        """Look at every program once, and do what is due; call it every 50 to 100 ms."""
        for child in self._children.values():
            self._look(child)
        for child in self._children.values():
            due = child.process is None and time.monotonic() >= child.due
            if due and all(self._children[name].state == "ready" for name in child.program.after):
                self._launch(child)
        self._watch()

    def stop(self) -> None:
        """End every program, those that came after others first; return when all have ended."""
        for child in self._children.values():
            if child.process is None:
                child.enter("stopped")
        while running := [child for child in self._children.values() if child.process is not None]:
            needed = {name for child in running for name in child.program.after}
            for child in running:
                if child.program.name not in needed:
                    self._end(child)
            self._watch()
            time.sleep(POLL_SECONDS / 5)
        self._keeper.dismiss()

    def status(self) -> list[Status]:
        """Say what every program is doing, in the order given; any thread may ask."""
        return [child.status() for child in self._children.values()]

    def _look(self, child: _Child) -> None:
        """Note that a program has died or become ready."""
        if child.process is None:
            return
        if (reason := reap(child.process)) is not None:
            lived = time.monotonic() - child.started
            self._died(child, f"{reason} after {lived:.1f} s", lived)
        elif child.state == "starting" and (child.program.ready is None or child.program.ready()):
            child.enter("ready")
            self._on_event(f"{child.program.name}: ready")

    def _died(self, child: _Child, reason: str, lived: float) -> None:
        child.process = None
        child.last_exit = reason
        child.delay = next_delay(child.delay, lived)
        child.due = time.monotonic() + child.delay
        child.enter("restarting")
        self._on_event(f"{child.program.name}: {reason}; starting again in {child.delay:.1f} s")

    def _launch(self, child: _Child) -> None:
        if child.state == "restarting":
            child.restarts += 1
        child.started = time.monotonic()
        try:
            child.process = spawn(
                child.program.argv, child.program.env, child.program.log, self._keeper.announce
            )
        except OSError as error:
            self._keeper.forget()
            self._died(child, f"cannot start: {error}", 0.0)
            return
        child.enter("starting")
        self._watch()

    def _end(self, child: _Child) -> None:
        """Ask a program to end, kill it when its time is up, and note that it has ended."""
        assert child.process is not None
        if (reason := reap(child.process)) is not None:
            child.process = None
            child.last_exit = reason
            child.enter("stopped")
            self._on_event(f"{child.program.name}: stopped, {reason}")
        elif child.kill_at is None:
            child.kill_at = time.monotonic() + self._grace
            child.process.terminate()
        elif time.monotonic() >= child.kill_at:
            kill_group(child.process.pid)

    def _watch(self) -> None:
        """Tell the keeper which process groups there are."""
        children = self._children.values()
        self._keeper.watch({child.process.pid for child in children if child.process is not None})
