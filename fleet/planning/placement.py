"""Which sites shall hold a shard.

Rules this module keeps:

- A copy that stands where it may stand stays there: placements change only when a rule, the sites
  or the copies do.
- ``spread_by`` is a constraint: no two chosen sites share a value of any attribute named.  A
  gateway and a site that it fronts are one place.
- What cannot be satisfied is served as far as it can be, and says what it is short of.
"""

from collections.abc import Iterable, Sequence

from fleet.planning import selector
from fleet.planning.facts import Choice, Decision, ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.states import ReplicaState

WRITABLE_DRIVERS = frozenset({"posix"})
_HELD = frozenset({ReplicaState.AVAILABLE, ReplicaState.COPYING, ReplicaState.PENDING})


def place(
    rule: RuleFacts, size: int, sites: Sequence[SiteFacts], replicas: Iterable[ReplicaFacts]
) -> Decision:
    """Choose sites for a shard of ``size`` bytes."""
    held = {replica.site for replica in replicas if replica.state in _HELD}
    matches = selector.parse(rule.selector)
    matching = [site for site in sites if matches(site)]
    obstacles = {site.id: obstacle(site, 0 if site.id in held else size) for site in matching}
    able = [site for site in matching if not obstacles[site.id]]
    able.sort(key=lambda site: (site.id not in held, site.queued, -(site.free or 0), site.id))
    chosen = _spread(able, rule)
    choices = tuple(Choice(site.id, _why(site, rule, held)) for site in chosen)
    return Decision(choices, _short(rule, chosen, matching, obstacles))


def obstacle(site: SiteFacts, size: int) -> str:
    """Say why ``site`` cannot take a shard of ``size`` bytes now; empty when it can."""
    if site.retired:
        return f"{site.id} is retired"
    if site.incident and size:  # what it holds already stays
        return f"{site.id} is at fault: {site.incident}"
    if site.driver not in WRITABLE_DRIVERS:
        return f"{site.id} is written by driver {site.driver!r}, which this release does not have"
    if site.free is not None and size > site.free:
        return f"{site.id} has {site.free:,} bytes free and needs {size:,}"
    return ""


def _spread(able: Sequence[SiteFacts], rule: RuleFacts) -> list[SiteFacts]:
    chosen: list[SiteFacts] = []
    for site in able:
        if rule.copies is not None and len(chosen) >= rule.copies:
            break
        if all(_independent(site, other, rule.spread_by) for other in chosen):
            chosen.append(site)
    return chosen


def _independent(site: SiteFacts, other: SiteFacts, spread_by: Sequence[str]) -> bool:
    if other.id in site.fronts or site.id in other.fronts:
        return False
    return all(getattr(site, name) != getattr(other, name) for name in spread_by)


def _why(site: SiteFacts, rule: RuleFacts, held: set[str]) -> str:
    wanted = rule.selector.strip() or "any site"
    kept = "already holds it" if site.id in held else "has room"
    spread = f", differs from the others in {', '.join(rule.spread_by)}" if rule.spread_by else ""
    return f"{site.id} matches {wanted!r} and {kept}{spread}"


def _short(
    rule: RuleFacts,
    chosen: Sequence[SiteFacts],
    matching: Sequence[SiteFacts],
    obstacles: dict[str, str],
) -> str:
    wanted = max(rule.min_copies, rule.copies or 0)
    if len(chosen) >= wanted:
        return ""
    missing = f"{len(chosen)} of {wanted} copies can be placed"
    if not matching:
        return f"{missing}: no site matches {rule.selector!r}"
    blocked = [reason for reason in obstacles.values() if reason]
    spread = len(matching) - len(blocked) - len(chosen)
    if spread > 0:
        names = ", ".join(rule.spread_by) or "the sites they front"
        blocked.append(f"{spread} more would share {names} with a chosen one")
    return f"{missing}: " + "; ".join(blocked or ["no other site matches"])
