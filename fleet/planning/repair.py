"""How urgent the repair of a shard is, and what a repair may write to.

Rules this module keeps:

- A copy that is good, or only in doubt, is read and never written to: it may be the last one.
- Of two repairs the one with fewer independent good copies left comes first, whatever the
  priorities of their rules; among equals the rule's priority decides.
- Below a rule's minimum a repair is urgent and waits for no quiet hours.  Above it, and while a
  new shard is still being spread, the rule's own priority holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet.planning.spread import gateway
from fleet.planning.states import ReplicaState

URGENT = 100  # work of this priority or more does not wait for quiet hours
LEVELS = 10  # from so many good copies on, one more or less makes no difference to urgency
LOST = frozenset(
    {ReplicaState.SUSPECT, ReplicaState.BAD, ReplicaState.MISSING, ReplicaState.RETIRED}
)
_TOUCHABLE = frozenset(
    {ReplicaState.PENDING, ReplicaState.COPYING, ReplicaState.BAD, ReplicaState.MISSING}
)


@dataclass(frozen=True, slots=True)
class Urgency:
    """How early a copy is made, and why."""

    priority: int
    reason: str = ""


def independent(sites: Iterable[str], fronted: Mapping[str, frozenset[str]]) -> int:
    """Count the sites that stand for themselves: a gateway and what it fronts are one place.

    ``fronted`` is of all sites, as ``spread.behind`` gives it: two gateways to a third are one.
    """
    if not fronted:
        return len(set(sites))
    chosen: list[str] = []
    for site in sorted(set(sites), key=lambda one: (len(fronted.get(one, ())), one)):
        if not any(gateway(site, other, fronted) for other in chosen):
            chosen.append(site)
    return len(chosen)


def urgency(rule_priority: int, min_copies: int, good: int, states: Iterable[str]) -> Urgency:
    """Say how urgent it is to copy a shard of which ``good`` independent copies are left.

    ``states`` are those of its replicas: where none was ever lost, it is spread, not repaired.
    """
    if good >= min_copies or not LOST.intersection(states):
        return Urgency(rule_priority)
    band = URGENT * (LEVELS - min(good, LEVELS - 1))
    left = "no verified copy is" if not good else "1 verified copy is" if good == 1 else ""
    reason = (
        f"repair: {left or f'{good} independent verified copies are'} left where the rule wants at "
        f"least {min_copies}, so it waits for no quiet hours"
    )
    return Urgency(band + min(max(rule_priority, 0), URGENT - 1), reason)


def untouchable(site: str, state: str) -> str:
    """Say why nothing may be copied over what ``site`` holds; empty where it may."""
    if state in _TOUCHABLE:
        return ""
    if state == ReplicaState.SUSPECT:
        return f"the copy at {site} is in doubt: it is read where it lies and not written over"
    if state == ReplicaState.AVAILABLE:
        return f"{site} holds a verified copy already"
    return f"the copy at {site} is {state}: nothing is to be copied there"
