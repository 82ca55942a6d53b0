"""Which sites shall hold a shard.

Rules this module keeps:

- ``min`` copies shall be at sites that answer; then as many copies as the rule asks for; then as
  many as can stay where they are.  So a better site never moves a copy, and one that does not
  answer keeps its own while ``min`` others stand: only below that others take its place.
- A copy that is bad or missing is mended where it is, rather than made elsewhere.
- ``spread_by`` is a constraint, and who fronts whom is part of it (see ``spread``): no two chosen
  sites are one place.
- What cannot be satisfied is served as far as it can be, and says what it is short of.
- A copy that no longer serves the rule is surplus once ``min`` chosen ones are good, never before.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fleet.planning import selector, shortfall, spread
from fleet.planning.facts import Choice, Decision, ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.states import ReplicaState

WRITABLE_DRIVERS = frozenset({"posix"})
_ROOM_TAKEN = frozenset(
    {ReplicaState.AVAILABLE, ReplicaState.SUSPECT, ReplicaState.COPYING, ReplicaState.PENDING}
)
_TIERS = {
    ReplicaState.AVAILABLE: 0,
    ReplicaState.SUSPECT: 1,
    ReplicaState.COPYING: 2,
    ReplicaState.PENDING: 3,
    ReplicaState.BAD: 4,
    ReplicaState.MISSING: 4,
}
_NO_COPY = 5
_KEEPS = {
    ReplicaState.AVAILABLE: "already holds it",
    ReplicaState.SUSPECT: "holds a copy that is being checked",
    ReplicaState.COPYING: "is copying it",
    ReplicaState.PENDING: "waits to copy it",
    ReplicaState.BAD: "has a bad copy to mend",
    ReplicaState.MISSING: "lost its copy and gets it anew",
}


class _Able(NamedTuple):
    """A site that can hold the shard, and its copy if it has one; in the order of preference.

    The id comes before what cannot be compared, and no two have the same.
    """

    tier: int
    silent: bool
    marked: bool
    queued: int
    less_free: int
    id: str
    site: SiteFacts
    copy: ReplicaFacts | None


def place(
    rule: RuleFacts, size: int, sites: Sequence[SiteFacts], replicas: Iterable[ReplicaFacts]
) -> Decision:
    """Choose sites for a shard of ``size`` bytes."""
    copies = {one.site: one for one in replicas if one.state != ReplicaState.RETIRED}
    matches = selector.parse(rule.selector)
    able, blocked, matching = [], [], 0
    for site in sites:
        if not matches(site):
            continue
        matching += 1
        copy = copies.get(site.id)
        problem = obstacle(site, 0 if copy and copy.state in _ROOM_TAKEN else size)
        if copy and copy.state == ReplicaState.LEAVING:
            problem = problem or f"{site.id} is deleting its copy just now"
        if problem:
            blocked.append(problem)
        else:
            able.append(_able(site, copy))
    able.sort()
    fronted = spread.behind({site.id: site.fronts for site in sites})
    chosen, exact = _choose(able, rule, fronted)
    standing = tuple(one.site for one in able)
    picked = tuple(one.site for one in chosen)
    found = shortfall.Found(rule, picked, standing, tuple(blocked), matching, fronted, exact)
    return Decision(
        tuple(Choice(one.site.id, _why(one, rule)) for one in chosen),
        shortfall.words(found),
        _surplus(found, chosen, sites, copies),
    )


def obstacle(site: SiteFacts, size: int) -> str:
    """Say why ``site`` cannot take a shard of ``size`` bytes now; empty when it can."""
    if site.goes_with:
        return f"{site.id} fronts {site.goes_with}, which was retired or is to be"
    if site.retired:
        return f"{site.id} is to be retired"
    if site.incident and size:  # what it holds already stays
        return f"{site.id} is at fault: {site.incident}"
    if site.driver not in WRITABLE_DRIVERS:
        return f"{site.id} is written by driver {site.driver!r}, which this release does not have"
    if site.free is not None and size > site.free:
        return f"{site.id} has {site.free:,} bytes free and needs {size:,}"
    return ""


def _able(site: SiteFacts, copy: ReplicaFacts | None) -> _Able:
    tier = _NO_COPY + site.silent if copy is None else _TIERS[copy.state]
    marked = copy is not None and copy.tombstone
    return _Able(tier, site.silent, marked, site.queued, -(site.free or 0), site.id, site, copy)


def _choose(
    able: Sequence[_Able], rule: RuleFacts, fronted: Mapping[str, frozenset[str]]
) -> tuple[list[_Able], bool]:
    """Choose among sites in the order of preference; whether no choice is better."""
    least = max(1, rule.min_copies)
    wanted = len(able) if rule.copies is None else max(rule.copies, least)
    sites = [one.site for one in able]
    conflicts, covers = spread.conflicts(sites, rule.spread_by, fronted)
    working = sum(1 << at for at, site in enumerate(sites) if not site.silent)
    candidates = spread.Candidates(conflicts, working, [one.tier for one in able], covers)
    chosen = spread.choose(candidates, spread.Aim(wanted, least))
    return [able[at] for at in chosen.picks], chosen.exact


def _why(one: _Able, rule: RuleFacts) -> str:
    wanted = rule.selector.strip() or "any site"
    kept = _KEEPS[one.copy.state] if one.copy else "has room"
    apart = f", differs from the others in {', '.join(rule.spread_by)}" if rule.spread_by else ""
    return f"{one.site.id} matches {wanted!r} and {kept}{apart}"


def _surplus(
    found: shortfall.Found,
    chosen: Sequence[_Able],
    sites: Sequence[SiteFacts],
    copies: Mapping[str, ReplicaFacts],
) -> tuple[Choice, ...]:
    """Name the copies that serve the rule no longer, once ``min`` of the chosen ones are good."""
    names = {one.site.id for one in chosen}
    if copies.keys() <= names or sum(map(_good, chosen)) < max(1, found.rule.min_copies):
        return ()
    return tuple(
        Choice(site.id, _why_not(site, found))
        for site in sites
        if site.id in copies
        and site.id not in names
        and not site.retired  # nothing on its disks is touched
        and copies[site.id].state != ReplicaState.LEAVING
    )


def _good(one: _Able) -> bool:
    held = one.copy is not None and one.copy.state == ReplicaState.AVAILABLE
    return held and not one.site.silent


def _why_not(site: SiteFacts, found: shortfall.Found) -> str:
    rule = found.rule
    if not selector.parse(rule.selector)(site):
        return f"{site.id} does not match {rule.selector!r}"
    for one in found.chosen:
        reason = spread.together(site, one, rule.spread_by, found.fronted)
        if reason:
            return f"{reason}, and {one.id} was chosen"
    return f"the {len(found.chosen)} chosen sites are enough without {site.id}"
