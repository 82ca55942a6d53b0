"""When the catalogue is written anew, and when what was signed is mirrored.

Rules this module keeps:

- A change waits for quiet, but not for long: what comes together is written once.
- That a copy was read again and found well is no news: it is told with the next one, or in a day.
- It is looked at every day in any case, since what was signed has to be signed anew in time.
- One edition at a time is on its way to the sites, and others wait: each takes room at every site
  until its time is over.  One that does not get there stops the others only for so long.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

DATASET: Final = "catalogue"
"""The dataset whose versions are editions of the catalogue; it is told in none."""

KEPT: Final = 3
"""Editions of which copies are kept: whoever began with one can end with it."""

READ_ON: Final = timedelta(days=1)
"""How long an older edition's copies stay, at most: to sync one takes minutes."""

QUIET: Final = timedelta(seconds=60)  # a version's copies come to several sites within that
LONGEST: Final = timedelta(minutes=10)  # nobody who mirrored something should wait longer to see it
DAILY: Final = timedelta(days=1)  # half of what signatures need, see `catalogue.signing.lives`
AGAIN: Final = timedelta(minutes=10)  # for keys that somebody may be about to put there
BETWEEN: Final = timedelta(hours=1)  # 24 copies a day of all tables are enough for every site
UNTELLABLE: Final = timedelta(hours=1)  # until one that cannot be told is tried again
PATIENCE: Final = timedelta(hours=6)  # a node that is silent is given up in minutes


@dataclass(frozen=True, slots=True)
class Untold:
    """What the catalogue does not tell yet.

    Attributes:
        since: when the first change was noted; None: there is none.
        until: when the last one was.
        proofs: since when copies were read again, of datasets of which nothing else changed.
        later: when a dataset that could not be told is tried again.
    """

    since: datetime | None = None
    until: datetime | None = None
    proofs: datetime | None = None
    later: datetime | None = None


def write_at(untold: Untold, again: datetime | None) -> datetime | None:
    """Say when the catalogue is to be written or signed; None: not before something changes.

    ``again`` is when it is looked at in any case.
    """
    moments = [again, untold.later]
    if untold.since is not None and untold.until is not None:
        moments.append(min(untold.until + QUIET, untold.since + LONGEST))
    if untold.proofs is not None:
        moments.append(untold.proofs + DAILY)
    return min((one for one in moments if one is not None), default=None)


def mirror_at(begun: datetime | None, now: datetime, *, under_way: bool) -> datetime:
    """Say when what is signed may be given to the sites as the next edition.

    ``begun`` is when the last edition was, and ``under_way`` whether that is not published yet.
    """
    if begun is None:
        return now
    return begun + (PATIENCE if under_way else BETWEEN)


def look_again(*, signed: bool, now: datetime) -> datetime:
    """Say when the catalogue is looked at even if nothing changes."""
    return now + (DAILY if signed else AGAIN)
