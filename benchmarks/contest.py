"""Contests: the same work done in several ways, turn by turn in one run, and what came of it.

Every round lets each contestant run once, so that whatever else the machine does meets all of
them alike; what counts is each one's median.  Ratios are what lasts; seconds are this machine's.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ground import empty, say

Run = Callable[[Path], float]
ROUNDS = 5
COLUMN = 34


@dataclass
class Contest:
    """Contestants by name; each gets an empty folder and returns the seconds it took."""

    folder: Path
    runs: dict[str, Run] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, run: Run) -> None:
        """Enter one more contestant."""
        self.runs[name] = run

    def hold(self, rounds: int) -> None:
        """Let everyone run ``rounds`` times, turn by turn."""
        for number in range(1, rounds + 1):
            say(f"round {number} of {rounds}")
            for name, run in self.runs.items():
                taken = run(empty(self.folder))
                self.seconds.setdefault(name, []).append(taken)
                say(f"  {name:{COLUMN}} {taken:8.2f} s")
        empty(self.folder)

    def median(self, name: str) -> float:
        """Give the seconds of a contestant's middle run."""
        return statistics.median(self.seconds[name])

    @property
    def medians(self) -> dict[str, float]:
        """Give everyone's median in seconds, in the order of entry."""
        return {name: round(self.median(name), 3) for name in self.runs}

    def ratio(self, slower: str, faster: str) -> float:
        """Say how many times as long one takes as the other."""
        return round(self.median(slower) / self.median(faster), 3)


def options(about: str, size: str, *, full: str = "") -> argparse.ArgumentParser:
    """Make the options that every benchmark has.

    Args:
        about: the benchmark's docstring.
        size: what ``--size`` says.
        full: what the long run does more; empty where there is none.
    """
    parser = argparse.ArgumentParser(description=about.strip().splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object, no table")
    parser.add_argument("--rounds", type=int, help="how often each contestant runs")
    parser.add_argument("--size", type=int, help=size)
    if full:
        parser.add_argument("--full", action="store_true", help=full)
    return parser


def show(
    result: Mapping[str, object], wanted: Mapping[str, tuple[str, float]], *, as_json: bool
) -> None:
    """Print what was found, either for a program or for a person."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        if not isinstance(value, dict):
            print(f"{name:{COLUMN}} {value}{_verdict(name, value, wanted)}")
            continue
        print(name)
        for part, amount in value.items():
            print(f"  {part:{COLUMN - 2}} {amount}")


def missed(result: Mapping[str, object], wanted: Mapping[str, tuple[str, float]]) -> list[str]:
    """Name the figures that are not what is wanted of them."""
    return [name for name in wanted if not _met(result.get(name), *wanted[name])]


def _met(value: object, sign: str, bound: float) -> bool:
    if not isinstance(value, int | float):
        return False
    return value >= bound if sign == ">=" else value <= bound


def _verdict(name: str, value: object, wanted: Mapping[str, tuple[str, float]]) -> str:
    if name not in wanted:
        return ""
    sign, bound = wanted[name]
    return f"  ({'wanted' if _met(value, sign, bound) else 'MISSED, wanted'} {sign} {bound:g})"
