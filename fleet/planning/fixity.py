"""When copies are read again, and which come first.

Rules this module keeps:

- Every copy has a slot of its own in a cycle that is shorter than the fixity age, by a hash of its
  id.  A million copies made on one day are read on as many moments as those made over a year, and
  a reading may be late by a part of the age before the copy stops counting.
- What is in doubt comes first; then the copies of shards with the fewest independent good copies;
  of equals the one that was read longest ago.
- A site reads a few at once, and no more bytes a day than bring all it holds through the
  cycle.  Copies in doubt, late ones and last ones are exempt from that, and from quiet
  hours.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleet.planning.repair import URGENT
from fleet.planning.states import ReplicaState
from fleet.planning.windows import Turn

CYCLE = 0.75  # of the fixity age: in it everything is read once, and a quarter is left for delays
SETTLED = 0.1  # of the fixity age: so long after a reading the next slot may come at the earliest
LATE = 0.9  # of the fixity age: from then on a reading waits for nothing
HEADROOM = 1.25  # of the even daily share: sizes vary, and a site that was away catches up
RISKS = 5  # levels of risk that are told apart: from four good copies on there is no difference
PRESSING = 2  # of them at whose copies no reading waits for anything: in doubt, and alone
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DueCopy:
    """A copy whose time to be read has come; ``good`` counts the good copies of its shard."""

    id: str
    state: str
    good: int
    size: int
    verified_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reader:
    """What a site may read: ``running`` readings are under way; ``held`` and ``read`` are bytes.

    ``read`` counts today's; ``wait`` is what bulk work waits for; ``condemned`` sites are read
    whole, as fast as they can.
    """

    site: str
    slots: int
    running: int = 0
    held: int = 0
    read: int = 0
    wait: Turn | None = None
    condemned: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One copy to be read now, how early among the site's work, and why."""

    copy: str
    priority: int
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a site reads now; ``wait`` is what the first of the others waits for."""

    readings: tuple[Reading, ...] = ()
    wait: str = ""


def due(copy: str, verified_at: datetime, age: timedelta) -> datetime:
    """Return when a copy that was read at ``verified_at`` is to be read again.

    It is its own slot of the cycle, the first that is at least ``SETTLED`` of the age away.
    """
    cycle = age * CYCLE
    share = int.from_bytes(hashlib.blake2b(copy.encode(), digest_size=8).digest()) / 2**64
    earliest = verified_at + age * SETTLED
    into = (earliest - _EPOCH - cycle * share) % cycle
    return earliest + (cycle - into)


def room(reader: Reader) -> int:
    """Return how many readings may begin at a site: half of its slots are left to transfers."""
    return max(0, max(1, reader.slots // 2) - reader.running)


def daily(reader: Reader, age: timedelta) -> int:
    """Return how many bytes a site reads a day, so that all it holds is read once in a cycle."""
    return int(reader.held * HEADROOM * (timedelta(days=1) / (age * CYCLE))) + 1


def is_free(reader: Reader, age: timedelta) -> bool:
    """Whether a site reads what is due in its turn; otherwise only what is pressing."""
    return reader.condemned or (reader.wait is None and reader.read < daily(reader, age))


def risk(copy: DueCopy) -> tuple[bool, int, float]:
    """Return what copies are ordered by; the least comes first."""
    read = copy.verified_at.timestamp() if copy.verified_at else 0.0
    return (copy.state != ReplicaState.SUSPECT, copy.good, read)


def priority(state: str, good: int) -> int:
    """Rank a reading among a site's other work: what is in doubt or alone goes before copies."""
    if state == ReplicaState.SUSPECT:
        return 2 * URGENT - min(good, RISKS)
    return URGENT if good <= 1 else 0


def level(state: str, good: int) -> int:
    """Return the level of risk that a copy is kept at; the lowest is read first."""
    return 0 if state == ReplicaState.SUSPECT else min(max(good, 1), RISKS - 1)


def choose(copies: Iterable[DueCopy], reader: Reader, age: timedelta, now: datetime) -> Plan:
    """Choose what a site reads now of what is due there."""
    left, free = daily(reader, age) - reader.read, room(reader)
    readings: list[Reading] = []
    held_back = ""
    for copy in sorted(copies, key=risk):
        if len(readings) == free:
            return Plan(tuple(readings), f"{reader.site} reads as much at once as it may")
        if not (reader.condemned or _pressing(copy, age, now)):
            if reader.wait is not None:
                held_back = f"{reader.site} {reader.wait.reason}"
                continue
            if left <= 0:
                share = f"{daily(reader, age):,} bytes"
                held_back = f"{reader.site} has read its share of the day, {share}"
                continue
            left -= copy.size
        readings.append(Reading(copy.id, priority(copy.state, copy.good), _why(copy)))
    return Plan(tuple(readings), held_back)


def _pressing(copy: DueCopy, age: timedelta, now: datetime) -> bool:
    late = copy.verified_at is None or copy.verified_at + age * LATE <= now
    return late or copy.state == ReplicaState.SUSPECT or copy.good <= 1


def _why(copy: DueCopy) -> str:
    since = f"not read since {copy.verified_at:%Y-%m-%d}" if copy.verified_at else "never read yet"
    if copy.state == ReplicaState.SUSPECT:
        return f"in doubt, {since}"
    alone = {0: "no copy of it counts now", 1: "the only good copy"}
    return f"{since}; {alone.get(copy.good, f'one of {copy.good} good copies')}"
