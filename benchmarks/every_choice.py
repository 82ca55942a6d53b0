"""Placements by trying every choice: what ``fleet.planning.placement`` is held against.

Written from the rules alone and sharing no code with it: slow, and for a dozen sites at most.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from fleet.planning import selector
from fleet.planning.facts import ReplicaFacts, RuleFacts, SiteFacts

Worth = tuple[int, ...]
_TAKES_ROOM = ("available", "suspect", "copying", "pending")
_TIERS = {"available": 0, "suspect": 1, "copying": 2, "pending": 3, "bad": 4, "missing": 4}


def able(
    rule: RuleFacts, size: int, sites: Sequence[SiteFacts], replicas: Iterable[ReplicaFacts]
) -> list[SiteFacts]:
    """List the sites that match the rule and that could hold a shard of ``size`` bytes."""
    states = {one.site: str(one.state) for one in replicas}
    return [
        site
        for site in sites
        if selector.parse(rule.selector)(site) and _can(site, size, states.get(site.id, ""))
    ]


def apart(one: SiteFacts, other: SiteFacts, rule: RuleFacts, sites: Sequence[SiteFacts]) -> bool:
    """Whether the rule takes two sites for two places."""
    if _reached(one, sites) & _reached(other, sites):
        return False
    for name in rule.spread_by:
        mine, theirs = getattr(one, name).strip().lower(), getattr(other, name).strip().lower()
        if not mine or not theirs or mine == theirs:
            return False
    return True


def worth(rule: RuleFacts, chosen: Sequence[SiteFacts], replicas: Iterable[ReplicaFacts]) -> Worth:
    """Say what a choice is worth: of two, the one with more in the first figure that differs."""
    states = {one.site: str(one.state) for one in replicas}
    answering = sum(not site.silent for site in chosen)
    tiers = [_tier(site, states.get(site.id, "")) for site in chosen]
    least = max(1, rule.min_copies)
    return min(least, answering), len(chosen), *(tiers.count(tier) for tier in range(7))


def best(
    rule: RuleFacts, size: int, sites: Sequence[SiteFacts], replicas: Sequence[ReplicaFacts]
) -> Worth:
    """Find the most that any choice is worth."""
    found = able(rule, size, sites, replicas)
    return max(worth(rule, chosen, replicas) for chosen in _choices(rule, found, sites))


def serves(rule: RuleFacts, value: Worth) -> bool:
    """Whether a choice of this worth serves a rule that asks for a number of copies."""
    least = max(1, rule.min_copies)
    return value[0] >= least and value[1] >= max(rule.copies or 0, least)


def _choices(
    rule: RuleFacts, found: Sequence[SiteFacts], sites: Sequence[SiteFacts]
) -> Iterator[tuple[SiteFacts, ...]]:
    most = len(found) if rule.copies is None else max(rule.copies, rule.min_copies)
    fits: Mapping[tuple[str, str], bool] = {
        (one.id, other.id): apart(one, other, rule, sites) for one, other in combinations(found, 2)
    }
    for count in range(min(most, len(found)) + 1):
        for chosen in combinations(found, count):
            if all(fits[one.id, other.id] for one, other in combinations(chosen, 2)):
                yield chosen


def _reached(site: SiteFacts, sites: Sequence[SiteFacts]) -> set[str]:
    """Name a site and all that it fronts, through other gateways too."""
    fronts = {one.id: one.fronts for one in sites}
    found = {site.id}
    while more := {other for one in found for other in fronts.get(one, ())} - found:
        found |= more
    return found


def _can(site: SiteFacts, size: int, state: str) -> bool:
    if site.retired or site.driver != "posix" or state == "leaving":
        return False
    return state in _TAKES_ROOM or site.free is None or site.free >= size


def _tier(site: SiteFacts, state: str) -> int:
    """How far a site is from a good copy; where it has none, one that answers is nearer."""
    return _TIERS.get(state, 6 if site.silent else 5)
