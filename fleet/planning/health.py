"""When a site is at fault as a whole, and how it is cleared.

Rules this module keeps:

- A disk that was not mounted, or memory that rots, makes every copy wrong.  Repaired file by file
  it would move all that the site holds, so the site is judged instead: one reason for all of it.
- It is cleared by reading a random sample of what was believed good there.  A single wrong file
  among them, or no answer in time, and all that it holds is due.
"""

import hashlib
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

MANY = 10  # fewer wrong copies are repaired one by one at little cost
WINDOW = timedelta(days=1)  # a disk that loses ten files in a day loses more tomorrow
SHARE = 0.1  # of what was read meanwhile; a sound disk has less than one in ten thousand
SAMPLES = 30  # all of 30 right: with 95 % confidence less than a tenth of the site is wrong
PATIENCE = timedelta(days=1)  # a site that cannot be read for longer is no better than a wrong one

Outcome = Literal["wait", "clear", "condemn"]


@dataclass(frozen=True, slots=True)
class Sampled:
    """What became of a site's samples so far."""

    right: int = 0
    wrong: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """What follows for a judged site, and why."""

    outcome: Outcome
    reason: str


def enough_right() -> int:
    """Return how many copies read right speak for a site beside ``MANY`` wrong ones."""
    return round(MANY / SHARE) - MANY


def judge(site: str, troubles: Sequence[datetime], right: int, now: datetime) -> str:
    """Say why a site is at fault as a whole; empty while its copies are looked at one by one.

    Args:
        site: its id.
        troubles: when its copies were last found wrong or put in doubt, newest first.
        right: how many of its copies were read again and found right since the oldest of the
            newest ``MANY`` of those.
        now: the present moment.
    """
    newest = troubles[:MANY]
    if len(newest) < MANY or newest[-1] < now - WINDOW or right > enough_right():
        return ""
    return (
        f"{len(newest)} copies at {site} were found wrong or put in doubt since "
        f"{newest[-1]:%Y-%m-%d %H:%M} UTC, while {right} were read right"
    )


def sample(incident: str, copies: Iterable[str]) -> list[str]:
    """Draw ``SAMPLES`` copies, by id: any set is as likely as any other, and it can be repeated."""

    def ticket(copy: str) -> bytes:
        return hashlib.blake2b(f"{incident} {copy}".encode(), digest_size=16).digest()

    return heapq.nsmallest(SAMPLES, copies, key=ticket)


def decide(sampled: Sampled, began: datetime, now: datetime) -> Finding:
    """Say what follows from the samples of a site that was judged at ``began``."""
    drawn = sampled.right + sampled.wrong + sampled.waiting
    if sampled.wrong:
        return Finding(
            "condemn",
            f"{sampled.wrong} of {drawn} copies drawn by lot were wrong as well: all that it holds "
            "is read again, the copies with the fewest others first",
        )
    if not drawn:
        return Finding("condemn", "nothing that could be drawn as a sample is believed good there")
    if sampled.waiting and now >= began + PATIENCE:
        return Finding(
            "condemn", f"{sampled.waiting} of {drawn} copies drawn by lot were not read in a day"
        )
    if sampled.waiting:
        done = f"{sampled.right} of {drawn} copies drawn by lot were read and are right"
        return Finding("wait", f"{done}; nothing is repaired before all of them are")
    return Finding("clear", f"{sampled.right} of {drawn} copies drawn by lot are right")
