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
- Who holds a copy comes before who does not.  So where those are enough nobody else is looked at:
  what most decisions cost has nothing to do with how many sites there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, Self

from fleet.planning import executors, selector, shortfall, spread
from fleet.planning.facts import Choice, Decision, ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.states import ReplicaState

WRITABLE_DRIVERS = frozenset({"posix"}) | executors.UNMANNED_DRIVERS - executors.WHOLE_DRIVERS
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


@dataclass(frozen=True, slots=True)
class Field:
    """The sites as one rule sees them: made once for all shards that are decided at a moment.

    Attributes:
        rule: what is asked for.
        sites: all of them; ``names``: their ids; ``matching``: those that the rule allows, by
            number; ``numbers``: theirs, by id.
        conflicts, covers, fronted: of those that match, see ``spread``.
        working: the numbers of those that answer, as bits.
        idle: why nothing can be done at some of those that have no worker, by id.
    """

    rule: RuleFacts
    sites: Sequence[SiteFacts]
    names: frozenset[str]
    matching: Sequence[SiteFacts]
    numbers: Mapping[str, int]
    conflicts: Sequence[int]
    covers: Sequence[Sequence[int]]
    fronted: Mapping[str, frozenset[str]]
    working: int
    idle: Mapping[str, str]

    @classmethod
    def of(cls, rule: RuleFacts, sites: Sequence[SiteFacts]) -> Self:
        """See sites as a rule does."""
        matches = selector.parse(rule.selector)
        matching = [site for site in sites if matches(site)]
        fronted = spread.behind({site.id: site.fronts for site in sites})
        conflicts, covers = spread.conflicts(matching, rule.spread_by, fronted)
        working = sum(1 << at for at, site in enumerate(matching) if not site.silent)
        return cls(
            rule=rule,
            sites=sites,
            names=frozenset(site.id for site in sites),
            matching=matching,
            numbers={site.id: at for at, site in enumerate(matching)},
            conflicts=conflicts,
            covers=covers,
            fronted=fronted,
            working=working,
            idle=_idle(matching, sites),
        )


@dataclass(slots=True)
class Taken:
    """What was given to a site since its facts were read, in bytes."""

    room: int = 0
    queued: int = 0


_NOTHING = Taken()


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
    at: int


def place(
    field: Field,
    size: int,
    replicas: Iterable[ReplicaFacts],
    taken: Mapping[str, Taken] = MappingProxyType({}),
) -> Decision:
    """Choose sites for a shard of ``size`` bytes; ``taken`` is by site."""
    copies = {one.site: one for one in replicas if one.state != ReplicaState.RETIRED}
    holders = [field.numbers[name] for name in copies if name in field.numbers]
    able, blocked = _sort_out(field, holders, size, copies, taken)
    chosen, short = _enough(able, field), ""
    if not chosen:
        able, blocked = _sort_out(field, range(len(field.matching)), size, copies, taken)
        chosen, exact = _choose(able, field)
        found = shortfall.Found(
            rule=field.rule,
            chosen=tuple(one.site for one in chosen),
            able=tuple(one.site for one in able),
            blocked=tuple(blocked),
            matching=len(field.matching),
            fronted=field.fronted,
            exact=exact,
        )
        short = shortfall.words(found)
    return Decision(
        tuple(Choice(one.id, _why(one, field.rule)) for one in chosen),
        short,
        _surplus(field, chosen, copies),
    )


def _sort_out(
    field: Field,
    numbers: Iterable[int],
    size: int,
    copies: Mapping[str, ReplicaFacts],
    taken: Mapping[str, Taken],
) -> tuple[list[_Able], list[str]]:
    """Tell sites that can hold the shard, in the order of preference, from why others cannot."""
    able, blocked = list[_Able](), list[str]()
    for at in numbers:
        site = field.matching[at]
        copy, since = copies.get(site.id), taken.get(site.id, _NOTHING)
        needs = 0 if copy and copy.state in _ROOM_TAKEN else size
        problem = _uncited(site, field.rule) if needs else ""
        problem = problem or obstacle(site, needs, since.room)
        if needs and site.id in field.idle:  # what is there already stays
            problem = problem or field.idle[site.id]
        if copy and copy.state == ReplicaState.LEAVING:
            problem = problem or f"{site.id} is deleting its copy just now"
        if problem:
            blocked.append(problem)
        else:
            able.append(_able(at, site, copy, since))
    able.sort()
    return able, blocked


def obstacle(site: SiteFacts, size: int, taken: int = 0) -> str:
    """Say why ``site`` cannot take a shard of ``size`` bytes now; empty when it can.

    ``taken`` bytes of what was free are free no longer.
    """
    if site.goes_with:
        return f"{site.id} fronts {site.goes_with}, which was retired or is to be"
    if site.retired:
        return f"{site.id} is to be retired"
    if site.incident and size:  # what it holds already stays
        return f"{site.id} is at fault: {site.incident}"
    if site.driver in executors.WHOLE_DRIVERS:
        return _published_there(site) if size else ""
    if site.driver not in WRITABLE_DRIVERS:
        return f"{site.id} is written by driver {site.driver!r}, which this release does not have"
    if site.free is not None and size > site.free - taken:
        return f"{site.id} has {site.free - taken:,} bytes free and needs {size:,}"
    return ""


def _uncited(site: SiteFacts, rule: RuleFacts) -> str:
    if rule.citable or site.driver not in executors.WHOLE_DRIVERS:
        return ""
    return f"{site.id} gives a DOI, which is for ever, and editions of the catalogue get none"


def _published_there(site: SiteFacts) -> str:
    return (
        f"{site.id} takes whole versions only: it has this shard once they are published there, "
        "and `fleet why` of the version tells what that waits for, or why its data are not there"
    )


def _idle(matching: Sequence[SiteFacts], sites: Sequence[SiteFacts]) -> dict[str, str]:
    """Say of each site without a worker why nobody can write to it, if nobody can."""
    chosen = {
        site.id: executors.choose(site, sites)
        for site in matching
        if site.driver in executors.UNMANNED_DRIVERS
    }
    return {name: one.reason for name, one in chosen.items() if not one.site}


def _able(at: int, site: SiteFacts, copy: ReplicaFacts | None, since: Taken) -> _Able:
    tier = _NO_COPY + site.silent if copy is None else _TIERS[copy.state]
    marked = copy is not None and copy.tombstone
    queued = site.queued + since.queued
    less_free = 0 if site.free is None else since.room - site.free
    return _Able(tier, site.silent, marked, queued, less_free, site.id, site, copy, at)


def _enough(holders: Sequence[_Able], field: Field) -> Sequence[_Able]:
    """Choose the first of those that hold the shard, if no choice can be better; else none.

    None can where as many as the rule asks for are independent, and ``min`` of them answer.
    """
    wanted, least = _wanted(field.rule), _least(field.rule)
    if wanted is None or len(holders) < wanted:
        return ()
    chosen, shut = holders[:wanted], 0
    for one in chosen:
        if shut >> one.at & 1:
            return ()
        shut |= field.conflicts[one.at]
    return chosen if sum(not one.silent for one in chosen) >= least else ()


def _choose(able: Sequence[_Able], field: Field) -> tuple[Sequence[_Able], bool]:
    """Choose among sites in the order of preference; whether no choice is better."""
    wanted = _wanted(field.rule)
    aim = spread.Aim(len(able) if wanted is None else wanted, _least(field.rule))
    by_number = {one.at: one for one in able}
    candidates = spread.Candidates(
        list(by_number), [one.tier for one in able], field.conflicts, field.working, field.covers
    )
    chosen = spread.choose(candidates, aim)
    return [by_number[at] for at in chosen.picks], chosen.exact


def _least(rule: RuleFacts) -> int:
    return max(1, rule.min_copies)


def _wanted(rule: RuleFacts) -> int | None:
    return None if rule.copies is None else max(rule.copies, _least(rule))


def _why(one: _Able, rule: RuleFacts) -> str:
    wanted = rule.selector.strip() or "any site"
    kept = _KEEPS[one.copy.state] if one.copy else "has room"
    apart = f", differs from the others in {', '.join(rule.spread_by)}" if rule.spread_by else ""
    return f"{one.site.id} matches {wanted!r} and {kept}{apart}"


def _surplus(
    field: Field, chosen: Sequence[_Able], copies: Mapping[str, ReplicaFacts]
) -> tuple[Choice, ...]:
    """Name the copies that serve the rule no longer, once ``min`` of the chosen ones are good."""
    names = {one.id for one in chosen}
    if copies.keys() <= names or sum(map(_good, chosen)) < _least(field.rule):
        return ()
    return tuple(
        Choice(site.id, _why_not(site, field, chosen))
        for site in field.sites
        if site.id in copies
        and site.id not in names
        and not site.retired  # nothing on its disks is touched
        and site.driver not in executors.WHOLE_DRIVERS  # a record is for good
        and copies[site.id].state != ReplicaState.LEAVING
    )


def _good(one: _Able) -> bool:
    held = one.copy is not None and one.copy.state == ReplicaState.AVAILABLE
    return held and not one.site.silent


def _why_not(site: SiteFacts, field: Field, chosen: Sequence[_Able]) -> str:
    if site.id not in field.numbers:
        return f"{site.id} does not match {field.rule.selector!r}"
    for one in chosen:
        reason = spread.together(site, one.site, field.rule.spread_by, field.fronted)
        if reason:
            return f"{reason}, and {one.id} was chosen"
    return f"the {len(chosen)} chosen sites are enough without {site.id}"
