"""Placements by trying every choice: what ``fleet.planning.placement`` is held against.

Written from the rules alone and sharing no code with it; for a dozen sites at most.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations

from fleet.planning import selector
from fleet.planning.facts import ReplicaFacts, RuleFacts, SiteFacts

Worth = tuple[int, ...]
_Place = frozenset[tuple[str, str]]
_TAKES_ROOM = ("available", "suspect", "copying", "pending")
_TIERS = {"available": 0, "suspect": 1, "copying": 2, "pending": 3, "bad": 4, "missing": 4}


class Choices:
    """All choices of sites for a shard of ``size`` bytes: a choice is its sites' bits."""

    def __init__(
        self,
        rule: RuleFacts,
        size: int,
        sites: Sequence[SiteFacts],
        replicas: Iterable[ReplicaFacts],
    ) -> None:
        self._rule = rule
        self._least = max(1, rule.min_copies)
        self._able: dict[str, SiteFacts] = {}  # those that match the rule and have room
        self._fronts = {site.id: site.fronts for site in sites if site.fronts}
        self._bits = {site.id: 1 << at for at, site in enumerate(sites)}
        self._answering = sum(self._bits[site.id] for site in sites if not site.silent)
        self._tiers = [0] * 7  # the sites of each, as bits
        matches = selector.parse(rule.selector)
        states = {one.site: str(one.state) for one in replicas}
        for site in sites:
            state = states.get(site.id, "")
            self._tiers[_tier(site, state)] |= self._bits[site.id]
            if matches(site) and _can(site, size, state):
                self._able[site.id] = site

    def sound(self, names: Sequence[str]) -> bool:
        """Whether each of these sites could hold the shard, and no two are one place."""
        if not all(name in self._able for name in names):
            return False
        places = [self._place(self._able[name]) for name in names]
        return all(_differ(one, other) for one, other in combinations(places, 2))

    def worth(self, names: Iterable[str]) -> Worth:
        """Say what these sites are worth: more in the first figure that differs is better."""
        return self._worth(sum(self._bits[name] for name in names))

    def best(self) -> Worth:
        """Find the most that any choice is worth."""
        return max(map(self._worth, self._all()))

    def serves(self, worth: Worth) -> bool:
        """Whether a choice of this worth serves a rule that asks for a number of copies."""
        return worth[0] >= self._least and worth[1] >= max(self._rule.copies or 0, self._least)

    def _all(self) -> list[int]:
        """List the choices: each site comes to all of those before it that it is apart from."""
        most = len(self._able) if self._rule.copies is None else max(self._rule.copies, self._least)
        choices, before = [0], list[tuple[int, _Place]]()
        for site in self._able.values():
            bit, place = self._bits[site.id], self._place(site)
            near = sum(other for other, theirs in before if not _differ(place, theirs))
            choices += [one | bit for one in choices if not one & near and one.bit_count() < most]
            before.append((bit, place))
        return choices

    def _worth(self, choice: int) -> Worth:
        answering = min(self._least, (choice & self._answering).bit_count())
        tiers = [(choice & tier).bit_count() for tier in self._tiers]
        return answering, choice.bit_count(), *tiers

    def _place(self, site: SiteFacts) -> _Place:
        """Name what no other place may have: the site, all it fronts, and what is spread by.

        It is empty where some of that is unknown.
        """
        values = [(name, getattr(site, name).strip().lower()) for name in self._rule.spread_by]
        if not all(value for _, value in values):
            return frozenset()
        reached = {site.id}
        while more := {to for one in reached for to in self._fronts.get(one, ())} - reached:
            reached |= more
        return frozenset([*values, *(("site", one) for one in reached)])


def _differ(one: _Place, other: _Place) -> bool:
    """Whether two places are known and have nothing in common."""
    return bool(one and other) and one.isdisjoint(other)


def _can(site: SiteFacts, size: int, state: str) -> bool:
    if site.retired or site.driver != "posix" or state == "leaving":
        return False
    return state in _TAKES_ROOM or site.free is None or site.free >= size


def _tier(site: SiteFacts, state: str) -> int:
    """How far a site is from a good copy; where it has none, one that answers is nearer."""
    return _TIERS.get(state, 6 if site.silent else 5)
