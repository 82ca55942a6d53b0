"""Random fleets, rules and losses: every placement is checked, small ones against every choice.

Each case is a fleet of up to 30 sites and a rule, all from one seed.  The shard is placed, the
decision carried out, some sites lost (retired, silent, a copy bad or missing), and it is placed
again.  Nothing that claims to serve its rule may break it; where there are few sites, every choice
is tried beside it (``every_choice``), so that what is said to be short is, and nothing is better.
"""

import os
import random
import statistics
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks import every_choice
from benchmarks.contest import missed, options, show
from benchmarks.ground import say
from fleet.planning.facts import Decision, ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.placement import Field, place
from fleet.planning.states import ReplicaState

CASES = 100_000
SEED = 20_260_301
FEW = 7  # sites that every choice is tried of
AT_ONCE = 1_000
SPREADS = ("jurisdiction", "country", "region", "operator", "provider")
SELECTORS = ("", "", "kind=node", "kind=node & region!=r1", "trusted=true | region=r0,r2")
WANTED = {
    "violations": ("<=", 0),
    "false_unsatisfiable": ("<=", 0),
    "optimal_ratio": (">=", 1.0),
    "without_reason": ("<=", 0),
    "moved_in_vain": ("<=", 0),
}


@dataclass(frozen=True)
class Case:
    """A shard to place."""

    rule: RuleFacts
    size: int
    sites: list[SiteFacts]
    replicas: list[ReplicaFacts]


@dataclass
class Tally:
    """What some cases came to; ``seconds`` of each placement."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)


def fleet(chance: random.Random) -> list[SiteFacts]:
    """Make sites whose attributes take few values or many, some of them unknown."""
    count = chance.choice((2, 3, 4, 5, 5, 6, 6, 7, 7, 10, 14, 20, 30))
    names = [f"s{at}" for at in range(count)]
    values = {name: chance.randint(1, 6) for name in SPREADS}
    sites = []
    for name in names:
        attributes: dict[str, Any] = {
            spread: "" if chance.random() < 0.03 else f"{spread[0]}{chance.randrange(most)}"
            for spread, most in values.items()
        }
        fronts = chance.sample(names, 1) if chance.random() < 0.08 else []
        sites.append(
            SiteFacts(
                id=name,
                kind="node" if chance.random() < 0.85 else "object_store",
                driver="posix" if chance.random() < 0.95 else "tape",
                trusted=chance.random() < 0.5,
                silent=chance.random() < 0.05,
                fronts=tuple(front for front in fronts if front != name),
                free=None if chance.random() < 0.2 else chance.randrange(1_000),
                queued=chance.randrange(1_000),
                **attributes,
            )
        )
    return sites


def rule(chance: random.Random) -> RuleFacts:
    """Make a rule with none to three attributes to spread by."""
    copies = chance.choice((None, 1, 2, 2, 3, 3, 3, 4, 5))
    return RuleFacts(
        copies=copies,
        min_copies=chance.randint(1, copies or 3),
        selector=chance.choice(SELECTORS),
        spread_by=tuple(chance.sample(SPREADS, chance.choice((0, 1, 1, 1, 2, 2, 3)))),
    )


def carried_out(decision: Decision) -> list[ReplicaFacts]:
    """Give the copies that a decision came to."""
    return [ReplicaFacts(one.site, ReplicaState.AVAILABLE) for one in decision.choices]


def after_losses(case: Case, decision: Decision, chance: random.Random) -> Case:
    """Retire or silence some sites, and spoil some copies."""
    states = list(ReplicaState)
    spoiled = [
        one._replace(state=chance.choice(states)) if chance.random() < 0.2 else one
        for one in carried_out(decision)
    ]
    sites = [
        replace(
            site,
            retired=chance.random() < 0.1,
            silent=chance.random() < 0.2,
            free=site.free and chance.randrange(1_000),
        )
        for site in case.sites
    ]
    return replace(case, sites=sites, replicas=spoiled)


def judge(case: Case, tally: Tally) -> Decision:
    """Place a shard and check what is decided."""
    began = time.perf_counter()
    decision = place(Field.of(case.rule, case.sites), case.size, case.replicas)
    tally.seconds.append(time.perf_counter() - began)
    counts = tally.counts
    counts["placements"] += 1
    counts["short"] += bool(decision.short)
    counts["broken_off"] += "too many choices" in decision.short
    chosen = [one.site for one in decision.choices]
    choices = every_choice.Choices(case.rule, case.size, case.sites, case.replicas)
    worth = choices.worth(chosen)
    served = choices.serves(worth)
    counts["violations"] += not choices.sound(chosen) or (not decision.short and not served)
    said = [one.reason for one in (*decision.choices, *decision.surplus)]
    counts["without_reason"] += not all(said) or (not served and not decision.short)
    if len(case.sites) <= FEW:
        best = choices.best()
        counts["small"] += 1
        counts["optimal"] += worth == best
        asked = case.rule.copies is not None
        counts["false_unsatisfiable"] += bool(decision.short) and asked and choices.serves(best)
    return decision


def moved(case: Case, decision: Decision, chance: random.Random) -> bool:
    """Whether a site's silence moves a copy of a rule that is served, while ``min`` stand."""
    silent = {site.id for site in case.sites if site.silent}
    names = [one.site for one in decision.choices]
    answering = [name for name in names if name not in silent]
    if decision.short or len(answering) <= case.rule.min_copies:
        return False
    lost = chance.choice(answering)
    sites = [replace(site, silent=True) if site.id == lost else site for site in case.sites]
    after = place(Field.of(case.rule, sites), case.size, carried_out(decision))
    return {one.site for one in after.choices} != set(names)


def run(seed: int, cases: int) -> Tally:
    """Judge some cases."""
    chance, tally = random.Random(seed), Tally()  # noqa: S311 - no secret
    for _ in range(cases):
        case = Case(rule(chance), chance.randrange(300), fleet(chance), [])
        decision = judge(case, tally)
        tally.counts["moved_in_vain"] += moved(case, decision, chance)
        judge(after_losses(case, decision, chance), tally)
    return tally


def main() -> None:
    """Judge all cases on every core and print what came of them."""
    given = options(__doc__, f"cases ({CASES})").parse_args()
    cases, began = given.size or CASES, time.monotonic()
    parts = [min(AT_ONCE, cases - at) for at in range(0, cases, AT_ONCE)]
    total = Tally()
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        seeds = range(SEED, SEED + len(parts))
        for done, part in enumerate(pool.map(run, seeds, parts), start=1):
            total.counts += part.counts
            total.seconds += part.seconds
            if done % 20 == 0:
                say(f"{done * AT_ONCE} cases")
    counts, small = total.counts, max(1, total.counts["small"])
    result = {
        "cases": cases,
        **{
            name: counts[name]
            for name in ("placements", "short", "small", "violations", "false_unsatisfiable")
        },
        "optimal_ratio": counts["optimal"] / small,
        "without_reason": counts["without_reason"],
        "moved_in_vain": counts["moved_in_vain"],
        "broken_off": counts["broken_off"],
        "place_median_us": round(statistics.median(total.seconds) * 1e6, 1),
        "place_p99_us": round(statistics.quantiles(total.seconds, n=100)[-1] * 1e6, 1),
        "seconds": round(time.monotonic() - began, 1),
    }
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
