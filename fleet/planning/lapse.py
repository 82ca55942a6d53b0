"""What stays of a dataset whose rule has expired, and of a version that nobody needs any more.

For the dataset nothing is copied or mended any more.  Its last ``min`` copies stay until a person
says otherwise, since nobody asked for it to be lost; what is beyond them is surplus.  Only while a
site with one of them is to be retired, and fewer would stay, are they placed anew, as far as they
would go with it: what a gateway has goes for as long as it fronts a site that is retired.

Of a version that is unneeded every copy is surplus.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from fleet.planning import executors
from fleet.planning.facts import Choice, Decision, ReplicaFacts, SiteFacts
from fleet.planning.placement import Field, Taken, place
from fleet.planning.repair import independent
from fleet.planning.states import ReplicaState

_THERE = frozenset({ReplicaState.AVAILABLE, ReplicaState.SUSPECT})
_GONE = frozenset({ReplicaState.RETIRED, ReplicaState.LEAVING})


def keep(
    field: Field,
    size: int,
    replicas: Sequence[ReplicaFacts],
    taken: Mapping[str, Taken] = MappingProxyType({}),
) -> Decision:
    """Choose which copies of a shard of ``size`` bytes stay when its rule has expired."""
    sites, least = field.sites, max(1, field.rule.min_copies)
    held = {one.site for one in replicas}
    kept = {one.site for one in replicas if one.state in _THERE}
    going = _going([one for one in sites if one.id in kept], field.fronted, least)
    left = Field.of(
        replace(field.rule, copies=least, min_copies=least),
        [site for site in sites if going or site.id in held],
    )
    decision = place(left, size, replicas, taken)
    return Decision(
        tuple(
            Choice(one.site, _why(one.site, least, going if one.site not in kept else ()))
            for one in decision.choices
            if going or one.site in kept
        ),
        short=decision.short if going else "",
        surplus=decision.surplus,
    )


def let_go(
    field: Field,
    _size: int,
    replicas: Sequence[ReplicaFacts],
    _taken: Mapping[str, Taken] = MappingProxyType({}),
) -> Decision:
    """Choose no copy of a shard of a version that is unneeded."""
    held = {one.site for one in replicas if one.state not in _GONE}
    reason = "newer ones have taken its version's place"
    return Decision(
        choices=(),
        surplus=tuple(
            Choice(site.id, reason)
            for site in field.sites
            if site.id in held
            and not site.retired  # nothing on its disks is touched
            and site.driver not in executors.WHOLE_DRIVERS  # a record is for good
        ),
    )


def _going(
    holders: Sequence[SiteFacts], fronted: Mapping[str, frozenset[str]], least: int
) -> list[str]:
    """Name the sites that go, where the copies at those that stay and answer are too few."""
    stay = [one.id for one in holders if not (one.retired or one.silent)]
    if independent(stay, fronted) >= least:
        return []
    return sorted({one.goes_with or one.id for one in holders if one.retired})


def _why(site: str, least: int, going: Sequence[str]) -> str:
    if not going:
        return f"the rule has expired, and {site} keeps one of the last {least}"
    are = "is" if len(going) == 1 else "are"
    return (
        f"the rule has expired, but {' and '.join(going)} {are} retired, and {site} takes "
        f"one of the last {least}"
    )
