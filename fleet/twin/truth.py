"""What truly lies where, which the centre can only believe: the twin's measure of durability.

A version is a single file and so a single shard.  It is counted from the moment of its
publication.  A copy counts while its bytes are whole at a site that was not lost; a site that is
merely away for hours keeps what it has.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from fleet.twin.faults import YEAR_DAYS, poisson
from fleet.twin.places import Place

_MONTH = YEAR_DAYS / 12 * 86400


@dataclass(slots=True)
class Held:
    """One published version: its copies by site, whole or not, and how it fared."""

    name: str
    size: int
    published: datetime
    deadline: datetime | None
    copies: dict[str, bool] = field(default_factory=dict)
    since: dict[str, datetime] = field(default_factory=dict)
    counted_from: datetime | None = None
    second: datetime | None = None
    full: datetime | None = None
    hours: dict[int, float] = field(default_factory=dict)  # by the number of whole copies

    @property
    def whole(self) -> int:
        """How many copies are whole."""
        return sum(self.copies.values())


class Truth:
    """Every copy there is."""

    def __init__(self, target: int) -> None:
        """Expect ``target`` copies of each version."""
        self.target = target
        self.held: dict[str, Held] = {}
        self.places: dict[str, Place] = {}
        self.bytes_at = Counter[str]()
        self.corrupted = self.repairs = self.needless = 0
        self.repaired_bytes = self.needless_bytes = 0
        self.storage_cost = 0.0

    def publish(self, shard: str, held: Held, site: str | None) -> None:
        """Begin to count a version, whose file arrived at ``site``; None if that was lost since."""
        held.counted_from = held.published
        self.held[shard] = held
        if site is not None:
            self._put(held, site, held.published)

    def arrive(self, shard: str, site: str, now: datetime) -> None:
        """Note that a copy was made, or was made whole."""
        held = self.held[shard]
        if held.full is not None:
            if held.whole >= self.target:
                self.needless += 1
                self.needless_bytes += held.size
            else:
                self.repairs += 1
                self.repaired_bytes += held.size
        self._put(held, site, now)
        if held.full is None and held.whole >= self.target:
            held.full = now

    def whole_at(self, shard: str, site: str) -> bool | None:
        """Say whether the copy at a site is whole; None if there is none."""
        return self.held[shard].copies.get(site)

    def holders(self, shard: str) -> Iterable[str]:
        """Return the sites that have a whole copy, in the order of their names."""
        return sorted(site for site, whole in self.held[shard].copies.items() if whole)

    def at(self, site: str) -> list[str]:
        """Return the shards of which a site has a copy, whole or not."""
        return [shard for shard, held in self.held.items() if site in held.copies]

    def lose(self, shard: str, site: str, now: datetime) -> None:
        """Take a copy away."""
        held = self.held[shard]
        if site in held.copies:
            self._count(held, now)
            del held.copies[site]
            self._pay(held, site, now)

    def lose_site(self, site: str, now: datetime) -> None:
        """Take away all that a site has."""
        for shard in self.at(site):
            self.lose(shard, site, now)

    def decay(self, per_tb: float, days: float, now: datetime, rng: Random) -> None:
        """Let bytes go bad, silently, at ``per_tb`` a TB and year."""
        copies = [(held, site) for held in self.held.values() for site in sorted(held.copies)]
        sizes = [held.size for held, _ in copies]
        expected = per_tb * sum(sizes) / 1e12 * days / YEAR_DAYS
        for held, site in rng.choices(copies, sizes, k=poisson(expected, rng)) if copies else ():
            if held.copies[site]:
                self._count(held, now)
                held.copies[site] = False
                self.corrupted += 1

    def close(self, now: datetime) -> None:
        """Count up to the end."""
        for held in self.held.values():
            self._count(held, now)
            for site in held.copies:
                self._pay(held, site, now)

    def hours_below(self, number: int) -> float:
        """Sum the version-hours in which fewer than ``number`` copies were whole."""
        return sum(
            hours
            for held in self.held.values()
            for copies, hours in held.hours.items()
            if copies < number
        )

    def to_second(self, now: datetime) -> list[float]:
        """Return for each version the hours until two copies were whole, or until now."""
        return [
            ((held.second or now) - held.published) / timedelta(hours=1)
            for held in self.held.values()
        ]

    def _put(self, held: Held, site: str, now: datetime) -> None:
        self._count(held, now)
        if site not in held.copies:
            held.since[site] = now
            self.bytes_at[site] += held.size
        held.copies[site] = True
        if held.second is None and held.whole >= 2:
            held.second = now

    def _count(self, held: Held, now: datetime) -> None:
        since = held.counted_from or now
        spent = (now - since) / timedelta(hours=1)
        if spent:
            held.hours[held.whole] = held.hours.get(held.whole, 0.0) + spent
        held.counted_from = now

    def _pay(self, held: Held, site: str, now: datetime) -> None:
        months = (now - held.since.pop(site)).total_seconds() / _MONTH
        self.storage_cost += held.size / 1e12 * months * self.places[site].storage
        self.bytes_at[site] -= held.size
