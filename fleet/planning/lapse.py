"""What stays of a dataset whose rule has expired.

Nothing is copied or mended for it any more.  Its last ``min`` copies stay until a person says
otherwise, since nobody asked for it to be lost; what is beyond them is surplus.
"""

from collections.abc import Sequence
from dataclasses import replace

from fleet.planning.facts import Choice, Decision, ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.placement import place
from fleet.planning.states import ReplicaState

_THERE = frozenset({ReplicaState.AVAILABLE, ReplicaState.SUSPECT})


def keep(
    rule: RuleFacts, size: int, sites: Sequence[SiteFacts], replicas: Sequence[ReplicaFacts]
) -> Decision:
    """Choose which copies of a shard of ``size`` bytes stay when its rule has expired."""
    least = max(1, rule.min_copies)
    held = {one.site: one.state for one in replicas}
    decision = place(
        replace(rule, copies=least, min_copies=least),
        size,
        [site for site in sites if site.id in held],
        replicas,
    )
    return Decision(
        tuple(
            Choice(one.site, f"the rule has expired, and {one.site} keeps one of the last {least}")
            for one in decision.choices
            if held[one.site] in _THERE
        ),
        surplus=decision.surplus,
    )
