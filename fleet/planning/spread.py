"""Which sites are independent of each other, and the best choice of sites that are.

Rules this module keeps:

- Two sites are one place where they share a value of any attribute named (case aside), or where a
  gateway fronts the other, or the same site as the other, however many gateways lie between.
- A value that nobody wrote down is unknown, and what is unknown is independent of nothing: such a
  site can only be the one place of a rule that spreads by that attribute.
- The choice is exact.  Several attributes at once make it no matching but a maximum independent
  set: it is searched by branch and bound, in the order of preference, and bounded by the number of
  values that are left of each attribute.  Fleets of tens of sites take some hundred steps at most.
  After ``STEPS`` the best found so far is given, and said to be no more than that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from fleet.planning.facts import SiteFacts

STEPS = 5_000  # of a search: about a tenth of a second
_NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Aim:
    """What is wanted of a choice: ``wanted`` places, ``least`` of them where somebody answers."""

    wanted: int
    least: int


@dataclass(frozen=True, slots=True)
class Candidates:
    """Sites by number, and who of them can be chosen.

    Attributes:
        order: those that can, in the order of preference.
        tiers: how far each of these is from being a good copy already, 0 the best; it never falls.
        conflicts: for each site, the set of those that are one place with it, as bits.
        working: the set of those that answer, as bits.
        covers: ways to share all sites out into sets of which a choice can have one each.
    """

    order: Sequence[int]
    tiers: Sequence[int]
    conflicts: Sequence[int]
    working: int
    covers: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Chosen:
    """Sites by number, in the order of preference; ``exact``: no choice is better."""

    picks: tuple[int, ...]
    exact: bool


def conflicts(
    sites: Sequence[SiteFacts], spread_by: Sequence[str], fronted: Mapping[str, frozenset[str]]
) -> tuple[list[int], list[list[int]]]:
    """Find which sites are one place, as bits, and the covers that a search is bounded by.

    Args:
        sites: the candidates.
        spread_by: attributes of which no two chosen sites may share a value.
        fronted: as ``behind`` gives it.
    """
    found = [0] * len(sites)
    covers = []
    everyone = (1 << len(sites)) - 1
    for name in spread_by:
        groups: dict[str, int] = {}
        values = [value_of(site, name) for site in sites]
        for at, value in enumerate(values):
            groups[value] = groups.get(value, 0) | 1 << at
        unknown = groups.get("", 0)
        for at, value in enumerate(values):
            found[at] |= groups[value] | unknown if value else everyone
        covers.append(list(groups.values()))
    if fronted:
        reached = [(site.id, *fronted.get(site.id, ())) for site in sites]
        reaching: dict[str, int] = {}
        for at, names in enumerate(reached):
            for name in names:
                reaching[name] = reaching.get(name, 0) | 1 << at
        for at, names in enumerate(reached):
            for name in names:
                found[at] |= reaching[name]
    return [mask & ~(1 << at) for at, mask in enumerate(found)], covers


def value_of(site: SiteFacts, name: str) -> str:
    """Return an attribute as it is compared: case and blanks make no other place."""
    return _plain(getattr(site, name))


@lru_cache(maxsize=4096)
def _plain(value: str) -> str:
    return value.strip().casefold()


def behind(direct: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """Map each gateway to all that it fronts, through other gateways too."""
    found: dict[str, frozenset[str]] = {}
    for gateway, fronts in direct.items():
        if not fronts:
            continue
        seen: set[str] = set()
        todo = list(fronts)
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                todo += direct.get(one, ())
        found[gateway] = frozenset(seen)
    return found


def gateway(one: str, other: str, fronted: Mapping[str, frozenset[str]]) -> str:
    """Say why a gateway makes two sites one place; empty where none does."""
    mine, theirs = fronted.get(one, _NOTHING), fronted.get(other, _NOTHING)
    if other in mine:
        return f"{one} fronts {other}"
    if one in theirs:
        return f"{other} fronts {one}"
    both = mine & theirs
    return f"{one} and {other} both front {min(both)}" if both else ""


def together(
    one: SiteFacts,
    other: SiteFacts,
    spread_by: Sequence[str],
    fronted: Mapping[str, frozenset[str]],
) -> str:
    """Say why two sites are one place; empty where they are two."""
    for name in spread_by:
        mine, theirs = value_of(one, name), value_of(other, name)
        if not (mine and theirs):
            return f"the {name} of {other.id if mine else one.id} is not known"
        if mine == theirs:
            return f"{one.id} shares its {name} with {other.id}"
    return gateway(one.id, other.id, fronted)


def choose(candidates: Candidates, aim: Aim, steps: int = STEPS) -> Chosen:
    """Choose independent candidates.

    The best choice has the most that answer, up to ``least``; of these, the most in all, up to
    ``wanted``; then the most of the best tier, and so on; then those that come first.
    """
    picks = _greedy(candidates, aim.wanted)
    if _plainly_best(candidates, picks, aim):
        return Chosen(tuple(picks), exact=True)
    found = _Search(_in_order(candidates), aim, steps).run()
    return Chosen(tuple(candidates.order[at] for at in found.picks), found.exact)


def _greedy(candidates: Candidates, wanted: int) -> list[int]:
    picks: list[int] = []
    shut = 0
    for at in candidates.order:
        if len(picks) == wanted:
            break
        if not shut >> at & 1:
            picks.append(at)
            shut |= candidates.conflicts[at]
    return picks


def _plainly_best(candidates: Candidates, picks: list[int], aim: Aim) -> bool:
    """Whether taking each that fits in turn is the best: nobody passed over, or groups apart.

    Where those that are one place with each other form groups that have nothing to do with each
    other, as with one attribute, the first of each group is its best.
    """
    order = candidates.order
    able = sum(1 << at for at in order)
    answering = sum(candidates.working >> at & 1 for at in picks)
    if answering < min(aim.least, (candidates.working & able).bit_count()):
        return False
    if picks == order[: aim.wanted]:
        return True
    closed = {candidates.conflicts[at] & able | 1 << at for at in order}
    apart = sum(mask.bit_count() for mask in closed) == len(order)
    return apart and answering >= aim.least


def _in_order(candidates: Candidates) -> Candidates:
    """Give those that can be chosen numbers in the order of preference."""
    rank = {at: place for place, at in enumerate(candidates.order)}

    def renumbered(mask: int) -> int:
        return sum(1 << place for at, place in rank.items() if mask >> at & 1)

    return Candidates(
        range(len(rank)),
        candidates.tiers,
        [renumbered(candidates.conflicts[at]) for at in rank],
        renumbered(candidates.working),
        [[renumbered(group) for group in cover] for cover in candidates.covers],
    )


class _Branch(NamedTuple):
    """Some candidates taken, of whom so many answer, and those that could be taken yet."""

    left: int
    picks: tuple[int, ...] = ()
    answering: int = 0
    weight: int = 0


class _Search:
    """Branch and bound: each candidate in turn is taken, and then left; numbered by their order."""

    def __init__(self, candidates: Candidates, aim: Aim, steps: int) -> None:
        count = len(candidates.conflicts)
        self.conflicts = candidates.conflicts
        self.working = candidates.working
        self.wanted = min(aim.wanted, count)
        self.least = aim.least
        self.covers = candidates.covers or [[1 << at for at in range(count)]]
        # one of a better tier outweighs any number of worse ones; then a place, then an answer
        base = count + 1
        tiers = sorted(set(candidates.tiers), reverse=True)
        worth = {tier: base**rank for rank, tier in enumerate(tiers)}
        self.weights = [worth[tier] for tier in candidates.tiers]
        self.place: int = base ** len(tiers)
        self.answer: int = self.place * base
        self.steps = steps
        self.best: tuple[int, ...] = ()
        self.best_key = -1

    def run(self) -> Chosen:
        everyone = (1 << len(self.conflicts)) - 1
        todo = [_Branch(self._worth_trying(everyone))]
        while todo and self.steps:
            self.steps -= 1
            branch = todo.pop()
            if self._bound(branch) <= self.best_key:
                continue
            if branch.left and len(branch.picks) < self.wanted:
                todo += self._fork(branch)
            else:
                self.best, self.best_key = branch.picks, self._bound(branch)
        return Chosen(self.best, exact=not todo)

    def _worth_trying(self, everyone: int) -> int:
        """Leave out who is worse than another in every way: later, and in as many's way."""
        kept: list[int] = []
        for at, mask in enumerate(self.conflicts):
            mine = mask | 1 << at
            answers = self.working >> at & 1
            if any(
                mask >> other & 1
                and not (self.conflicts[other] | 1 << other) & ~mine
                and (self.working >> other & 1) >= answers
                for other in kept
            ):
                everyone &= ~(1 << at)
            else:
                kept.append(at)
        return everyone

    def _fork(self, branch: _Branch) -> tuple[_Branch, _Branch]:
        """Leave the first candidate that is left, or take it: what comes last is tried first."""
        first = branch.left & -branch.left
        at, rest = first.bit_length() - 1, branch.left ^ first
        taken = _Branch(
            rest & ~self.conflicts[at],
            (*branch.picks, at),
            branch.answering + (self.working >> at & 1),
            branch.weight + self.weights[at],
        )
        return branch._replace(left=rest), taken

    def _bound(self, branch: _Branch) -> int:
        """Say what no choice can be better than that has these picks and some of what is left.

        Where nothing is left it is what the picks themselves are worth.
        """
        places = len(branch.picks)
        room = self.wanted - places
        return min(
            self._key(branch, *self._most(cover, branch.left, room)) for cover in self.covers
        )

    def _most(self, cover: Sequence[int], left: int, room: int) -> tuple[int, int, int]:
        """Count who could answer, the places, and their worth: one of each set of a cover."""
        bests, answers = [], 0
        for group in cover:
            there = group & left
            if there:
                bests.append(self.weights[(there & -there).bit_length() - 1])
                answers += 1 if there & self.working else 0
        bests.sort(reverse=True)
        return min(answers, room), min(len(bests), room), sum(bests[:room])

    def _key(self, branch: _Branch, answers: int, places: int, worth: int) -> int:
        answering = min(self.least, branch.answering + answers)
        return (
            self.answer * answering
            + self.place * (len(branch.picks) + places)
            + branch.weight
            + worth
        )
