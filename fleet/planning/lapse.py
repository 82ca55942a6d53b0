"""What stays of a dataset whose rule has expired.

Nothing is copied or mended for it any more.  Its last ``min`` copies stay until a person says
otherwise, since nobody asked for it to be lost; what is beyond them is surplus.  Only while a site
with one of them is to be retired, and fewer would stay, are they placed anew, as far as they would
go with it: what a gateway has goes for as long as it fronts a site that is retired.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fleet.planning.facts import Choice, Decision, ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.placement import place
from fleet.planning.repair import independent
from fleet.planning.spread import behind
from fleet.planning.states import ReplicaState

_THERE = frozenset({ReplicaState.AVAILABLE, ReplicaState.SUSPECT})


def keep(
    rule: RuleFacts, size: int, sites: Sequence[SiteFacts], replicas: Sequence[ReplicaFacts]
) -> Decision:
    """Choose which copies of a shard of ``size`` bytes stay when its rule has expired."""
    least = max(1, rule.min_copies)
    held = {one.site for one in replicas}
    kept = {one.site for one in replicas if one.state in _THERE}
    fronted = behind({one.id: one.fronts for one in sites})
    going = _going([one for one in sites if one.id in kept], fronted, least)
    decision = place(
        replace(rule, copies=least, min_copies=least),
        size,
        [site for site in sites if going or site.id in held],
        replicas,
    )
    return Decision(
        tuple(
            Choice(one.site, _why(one.site, least, going if one.site not in kept else ()))
            for one in decision.choices
            if going or one.site in kept
        ),
        short=decision.short if going else "",
        surplus=decision.surplus,
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
