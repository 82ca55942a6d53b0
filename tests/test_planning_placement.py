"""Which sites shall hold a shard: what holds of every decision."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.planning import selector
from fleet.planning.facts import Decision, ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.placement import obstacle, place
from fleet.planning.states import ReplicaState
from tests.planning_support import SPREADS, replicas, rules, site, sites, unhurried

_sizes = st.integers(0, 300)
_HOLDING = (ReplicaState.AVAILABLE, ReplicaState.COPYING, ReplicaState.PENDING)


def _chosen(decision: Decision, known: list[SiteFacts]) -> list[SiteFacts]:
    by_id = {one.id: one for one in known}
    return [by_id[choice.site] for choice in decision.choices]


def _apart(one: SiteFacts, other: SiteFacts, rule: RuleFacts) -> bool:
    """Whether the rule takes two sites for two places."""
    if other.id in one.fronts or one.id in other.fronts:
        return False
    return not any(getattr(one, name) == getattr(other, name) for name in rule.spread_by)


def _held(copies: list[ReplicaFacts]) -> set[str]:
    return {copy.site for copy in copies if copy.state in _HOLDING}


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_every_site_chosen_matches_the_rule_and_can_take_the_shard(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    chosen = _chosen(place(rule, size, known, copies), known)
    matches = selector.parse(rule.selector)
    assert len({one.id for one in chosen}) == len(chosen)
    for one in chosen:
        assert matches(one)
        assert not one.retired
        assert one.driver == "posix"
        assert one.id in _held(copies) or one.free is None or one.free >= size


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_no_two_sites_chosen_are_one_place(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    chosen = _chosen(place(rule, size, known, copies), known)
    assert all(_apart(one, other, rule) for one, other in itertools.combinations(chosen, 2))


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_never_more_than_copies_and_short_says_so_exactly_when_there_are_too_few(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    decision = place(rule, size, known, copies)
    assert rule.copies is None or len(decision.choices) <= rule.copies
    wanted = max(rule.min_copies, rule.copies or 0)
    assert bool(decision.short) == (len(decision.choices) < wanted)
    if decision.short:
        head = f"{len(decision.choices)} of {wanted} copies can be placed: "
        assert decision.short.startswith(head)
        assert decision.short != head


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_no_site_is_left_out_that_could_have_served(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    chosen = _chosen(place(rule, size, known, copies), known)
    if rule.copies is not None and len(chosen) == rule.copies:
        return
    matches = selector.parse(rule.selector)
    for one in known:
        if one in chosen or not matches(one) or obstacle(one, size):
            continue
        assert not all(_apart(one, other, rule) for other in chosen)


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_copies_that_stand_where_they_may_stand_stay(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    matches = selector.parse(rule.selector)
    standing = [
        one for one in known if one.id in _held(copies) and matches(one) and not obstacle(one, 0)
    ]
    chosen = {choice.site for choice in place(rule, size, known, copies).choices}
    fit = all(_apart(one, other, rule) for one, other in itertools.combinations(standing, 2))
    if fit and (rule.copies is None or len(standing) <= rule.copies):
        assert {one.id for one in standing} <= chosen
    elif standing:
        assert {one.id for one in standing} & chosen


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_a_decision_that_was_carried_out_is_made_again(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    """What was decided once does not move by itself, whatever the order of the sites."""
    first = place(rule, size, known, copies)
    there = [ReplicaFacts(choice.site, ReplicaState.AVAILABLE) for choice in first.choices]
    again = place(rule, size, known[::-1], there)
    assert {one.site for one in again.choices} == {one.site for one in first.choices}
    assert bool(again.short) == bool(first.short)


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_every_choice_has_a_reason_that_names_the_site_and_the_rule(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    for choice in place(rule, size, known, copies).choices:
        held = choice.site in _held(copies)
        assert choice.reason.startswith(f"{choice.site} matches ")
        assert rule.selector in choice.reason
        assert ("already holds it" in choice.reason) == held
        assert all(name in choice.reason for name in rule.spread_by)


@unhurried
@given(st.sampled_from(SPREADS), st.integers(1, 5), sites(), replicas)
def test_spread_by_one_attribute_serves_as_many_copies_as_it_has_values(
    name: str, wanted: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    plain = [replace(one, fronts=()) for one in known]
    rule = RuleFacts(copies=wanted, spread_by=(name,))
    decision = place(rule, 0, plain, copies)
    values = {getattr(one, name) for one in plain if not obstacle(one, 0)}
    assert len(decision.choices) == min(wanted, len(values))


def test_a_gateway_and_the_site_it_fronts_are_one_place() -> None:
    known = [site("sf"), site("vancouver", fronts=("sf",)), site("toronto")]
    decision = place(RuleFacts(copies=3), 1, known, [])
    assert len(decision.choices) == 2
    assert "toronto" in {choice.site for choice in decision.choices}
    assert decision.short == (
        "2 of 3 copies can be placed: 1 more would share the sites they front with a chosen one"
    )


def test_the_emptier_and_less_busy_site_is_chosen_first() -> None:
    known = [site("busy", free=900, queued=5), site("full", free=10), site("idle", free=90)]
    assert place(RuleFacts(copies=1), 10, known, []).choices[0].site == "idle"


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"retired": True}, "a is retired"),
        ({"driver": "s3"}, "a is written by driver 's3', which this release does not have"),
        ({"free": 1999}, "a has 1,999 bytes free and needs 2,000"),
    ],
)
def test_what_blocks_a_site_is_said(details: dict[str, Any], reason: str) -> None:
    decision = place(RuleFacts(), 2000, [site("a", **details)], [])
    assert decision.choices == ()
    assert decision.short == f"0 of 1 copies can be placed: {reason}"


def test_a_rule_that_nobody_matches_says_which_selector_it_was() -> None:
    decision = place(RuleFacts(selector="country=IS"), 1, [site("a", country="CA")], [])
    assert decision.short == "0 of 1 copies can be placed: no site matches 'country=IS'"


def test_sites_that_share_a_value_are_counted_in_the_reason() -> None:
    known = [site(name, jurisdiction="CA") for name in "abc"]
    decision = place(RuleFacts(copies=2, spread_by=("jurisdiction",)), 1, known, [])
    assert decision.short.endswith("2 more would share jurisdiction with a chosen one")


@pytest.mark.parametrize("state", [ReplicaState.BAD, ReplicaState.MISSING, ReplicaState.RETIRED])
def test_a_copy_that_is_not_there_keeps_no_place(state: ReplicaState) -> None:
    known = [site("empty", free=100), site("was", free=90)]
    decision = place(RuleFacts(copies=1), 10, known, [ReplicaFacts("was", state)])
    assert decision.choices[0].site == "empty"


def test_a_copy_needs_no_more_room_where_it_is_already() -> None:
    held = [ReplicaFacts("full", ReplicaState.AVAILABLE)]
    known = [site("full", free=0), site("empty", free=100)]
    assert place(RuleFacts(copies=1), 10, known, held).choices[0].site == "full"
