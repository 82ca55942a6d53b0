"""What a rule is short of, in words: which constraint, and by how much."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleet.planning import spread
from fleet.planning.facts import RuleFacts, SiteFacts

_NAMED = 5
_ATTRIBUTES = {  # one, several
    "jurisdiction": ("jurisdiction", "jurisdictions"),
    "country": ("country", "countries"),
    "region": ("region", "regions"),
    "operator": ("operator", "operators"),
    "provider": ("provider", "providers"),
}


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a search for sites.

    Attributes:
        rule: what was asked for.
        chosen: the sites that serve it.
        able: those that match and could hold the shard, the chosen ones among them.
        blocked: why each other one that matches cannot.
        matching: how many match.
        fronted: each gateway with all that it fronts.
        exact: whether no choice is better than this one.
    """

    rule: RuleFacts
    chosen: tuple[SiteFacts, ...]
    able: tuple[SiteFacts, ...]
    blocked: tuple[str, ...]
    matching: int
    fronted: Mapping[str, frozenset[str]]
    exact: bool


def words(found: Found) -> str:
    """Say what the rule is short of; empty when it holds."""
    rule, served = found.rule, len(found.chosen)
    least = max(1, rule.min_copies)
    # every site that matches: those that are one place with another were never asked for
    every = served + len(found.blocked)
    wanted = max(least, every if rule.copies is None else rule.copies)
    if served < wanted:
        parts = "; ".join(_parts(found, wanted))
        return f"{served} of {wanted} copies can be placed: {parts}"
    silent = [site.id for site in found.chosen if site.silent and not site.incident]
    faulty = [site.id for site in found.chosen if site.silent and site.incident]
    answering = served - len(silent) - len(faulty)
    if answering < least:
        said = [f"{_list(silent)} {'does' if len(silent) == 1 else 'do'} not"] if silent else []
        if faulty:
            said.append(
                f"{_list(faulty)} {'is' if len(faulty) == 1 else 'are'} at fault as a whole"
            )
        return (
            f"{wanted} copies have their places, but {answering} of at least {least} at sites that "
            f"answer: {', and '.join(said)}"
        )
    return ""


def _parts(found: Found, wanted: int) -> Iterator[str]:
    rule, served = found.rule, len(found.chosen)
    selected = repr(rule.selector) if rule.selector.strip() else "the rule"
    if found.matching == 0:
        yield f"no site matches {selected}"
    elif found.matching < wanted:
        match = "site matches" if found.matching == 1 else "sites match"
        yield f"{found.matching} {match} {selected}, and {_needed(wanted - found.matching)}"
    yield from found.blocked[:_NAMED]
    if len(found.blocked) > _NAMED:
        yield f"{len(found.blocked) - _NAMED} more cannot hold it either"
    if served < min(wanted, len(found.able)):
        yield from _spread(found, wanted)
    if not found.exact:
        yield "there were too many choices to try them all, and a better one may exist"


def _spread(found: Found, wanted: int) -> Iterator[str]:
    """Say which attribute has too few values, or who fronts whom, or that it is all together."""
    able, explained = len(found.able), False
    for name in found.rule.spread_by:
        one, several = _ATTRIBUTES[name]
        values = {site.id: spread.value_of(site, name) for site in found.able}
        known = len({value for value in values.values() if value})
        unknown = [site for site, value in values.items() if not value]
        if known < min(wanted, able):
            explained = True
            lack = _needed(wanted - max(known, 1), f" {one}", f" {several}")
            yield (
                f"the {able} sites that could hold it stand in {known} "
                f"{one if known == 1 else several}, and {lack}"
            )
        if unknown:
            yield f"the {one} of {_list(unknown)} is not known, so it counts as no other"
    for reason in _fronting(found)[:_NAMED]:
        explained = True
        yield f"{reason}, so they are one place"
    if not explained and found.exact:
        yield (
            f"no {len(found.chosen) + 1} of the {able} sites that could hold it all differ in "
            f"{' and '.join(found.rule.spread_by)}, and {_needed(wanted - len(found.chosen))}"
        )


def _fronting(found: Found) -> list[str]:
    """Say of the sites left out which are one place with a chosen one because of a gateway."""
    if not found.fronted:
        return []
    names = {site.id for site in found.chosen}
    pairs = ((out, one) for out in found.able if out.id not in names for one in found.chosen)
    said = [spread.gateway(out.id, one.id, found.fronted) for out, one in pairs]
    return [reason for reason in said if reason]


def _needed(lack: int, one: str = "", several: str = "") -> str:
    return f"one more{one} is needed" if lack == 1 else f"{lack} more{several} are needed"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
