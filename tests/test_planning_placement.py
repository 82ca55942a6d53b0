"""Which sites shall hold a shard: what holds of every decision."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.every_choice import Choices
from fleet.planning.facts import Decision, ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.placement import Field, Taken
from fleet.planning.placement import place as place_in
from fleet.planning.states import ReplicaState
from tests.planning_support import SPREADS, replicas, rules, site, sites, unhurried

_sizes = st.integers(0, 300)
_GOOD = ReplicaState.AVAILABLE


def place(
    rule: RuleFacts, size: int, known: Sequence[SiteFacts], copies: Iterable[ReplicaFacts]
) -> Decision:
    return place_in(Field.of(rule, known), size, copies)


def _chosen(decision: Decision, known: list[SiteFacts]) -> list[SiteFacts]:
    by_id = {one.id: one for one in known}
    return [by_id[choice.site] for choice in decision.choices]


def _good(*names: str) -> list[ReplicaFacts]:
    return [ReplicaFacts(name, _GOOD) for name in names]


def _names(decision: Decision) -> set[str]:
    return {choice.site for choice in decision.choices}


@settings(unhurried, max_examples=200)
@given(rules, _sizes, sites(), replicas)
def test_no_choice_is_better_than_the_one_that_is_made(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    choices = Choices(rule, size, known, copies)
    assert choices.worth(_names(place(rule, size, known, copies))) == choices.best()


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_every_site_chosen_matches_the_rule_and_can_hold_the_shard_and_no_two_are_one_place(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    chosen = [one.site for one in place(rule, size, known, copies).choices]
    assert Choices(rule, size, known, copies).sound(chosen)
    assert rule.copies is None or len(chosen) <= max(rule.copies, rule.min_copies)


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_short_says_so_exactly_when_the_rule_is_not_served(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    decision = place(rule, size, known, copies)
    choices = Choices(rule, size, known, copies)
    could = choices.serves(choices.best())
    if rule.copies is not None:
        assert bool(decision.short) == (not could)
    elif not decision.short:
        assert could


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_a_decision_that_was_carried_out_is_made_again(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    """What was decided once does not move by itself, whatever the order of the sites."""
    copies = [one for one in copies if one.state != ReplicaState.LEAVING]  # its site is free soon
    first = place(rule, size, known, copies)
    there = [ReplicaFacts(choice.site, _GOOD) for choice in first.choices]
    again = place(rule, size, known[::-1], there)
    assert _names(again) == _names(first)
    assert again.surplus == ()
    assert not again.short or first.short


@unhurried
@given(st.sampled_from(SPREADS), st.integers(1, 5), sites(), replicas)
def test_spread_by_one_attribute_serves_as_many_copies_as_it_has_values(
    name: str, wanted: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    plain = [site(one.id, **{name: getattr(one, name)}) for one in known]
    there = [one for one in copies if one.state != ReplicaState.LEAVING]
    decision = place(RuleFacts(copies=wanted, spread_by=(name,)), 0, plain, there)
    values = {getattr(one, name).lower() for one in plain} - {""}
    assert len(decision.choices) == min(wanted, max(len(values), min(1, len(plain))))


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_every_choice_and_every_surplus_copy_has_a_reason_that_names_its_site(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    decision = place(rule, size, known, copies)
    for choice in decision.choices:
        held = ReplicaFacts(choice.site, _GOOD) in copies
        assert choice.reason.startswith(f"{choice.site} matches ")
        assert rule.selector in choice.reason
        assert ("already holds it" in choice.reason) == held
        assert all(name in choice.reason for name in rule.spread_by)
    for extra in decision.surplus:
        assert extra.site in extra.reason


@unhurried
@given(rules, _sizes, sites(), replicas)
def test_a_copy_is_surplus_only_beside_as_many_good_chosen_ones_as_the_rule_must_have(
    rule: RuleFacts, size: int, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    decision = place(rule, size, known, copies)
    good = [one for one in _chosen(decision, known) if not one.silent]
    good = [one for one in good if ReplicaFacts(one.id, _GOOD) in copies]
    extra = {one.site for one in decision.surplus}
    assert not extra or len(good) >= rule.min_copies
    assert not extra & _names(decision)
    if len(good) >= rule.min_copies:
        passing = (ReplicaState.RETIRED, ReplicaState.LEAVING)
        there = {one.site for one in copies if one.state not in passing}
        standing = {one.id for one in known if not one.retired}
        assert extra == (there & standing) - _names(decision)


@unhurried
@given(rules, _sizes, sites(), replicas, st.data())
def test_neither_a_silent_site_nor_a_better_one_moves_a_copy_while_min_others_stand(
    rule: RuleFacts,
    size: int,
    known: list[SiteFacts],
    copies: list[ReplicaFacts],
    data: st.DataObject,
) -> None:
    decision = place(rule, size, known, copies)
    there = _good(*_names(decision))
    answering = [one for one in _chosen(decision, known) if not one.silent]
    if len(answering) <= rule.min_copies or decision.short:
        return
    lost = data.draw(st.sampled_from(answering))
    changed = [replace(one, silent=True) if one is lost else one for one in known]
    assert _names(place(rule, size, changed, there)) == _names(decision)
    if rule.copies is not None:
        better = site("better", free=10**9, country="CA", trusted=True)
        assert _names(place(rule, size, [*changed, better], there)) == _names(decision)


def test_below_min_another_site_takes_the_place_of_one_that_does_not_answer() -> None:
    known = [site("a"), site("b", silent=True), site("c"), site("d")]
    two = place(RuleFacts(copies=2, min_copies=2), 1, known, _good("a", "b"))
    assert _names(two) == {"a", "c"}
    assert two.surplus == ()
    served = place(RuleFacts(copies=2, min_copies=2), 1, known, _good("a", "b", "c"))
    assert [one.site for one in served.surplus] == ["b"]


@pytest.mark.parametrize("state", [ReplicaState.BAD, ReplicaState.MISSING, ReplicaState.SUSPECT])
def test_a_copy_in_trouble_keeps_its_place_and_is_mended_there(state: ReplicaState) -> None:
    known = [site("empty", free=100), site("was", free=90)]
    decision = place(RuleFacts(copies=1), 10, known, [ReplicaFacts("was", state)])
    assert _names(decision) == {"was"}


def test_a_copy_that_was_given_up_keeps_no_place() -> None:
    known = [site("empty", free=100), site("was", free=90)]
    decision = place(RuleFacts(copies=1), 10, known, [ReplicaFacts("was", ReplicaState.RETIRED)])
    assert _names(decision) == {"empty"}


def test_several_attributes_at_once_are_satisfied_where_the_first_sites_would_not_do() -> None:
    """One site stands in the way of two that differ: taking what fits first would place one."""
    known = [
        site("best", free=99, country="ca", operator="x"),
        site("one", country="ca", operator="y"),
        site("two", country="nl", operator="x"),
    ]
    decision = place(RuleFacts(copies=2, spread_by=("country", "operator")), 1, known, [])
    assert _names(decision) == {"one", "two"}
    assert decision.short == ""


def test_case_makes_no_other_place() -> None:
    known = [site("a", country="CA"), site("b", country="ca ")]
    decision = place(RuleFacts(copies=2, spread_by=("country",)), 1, known, [])
    assert decision.short == (
        "1 of 2 copies can be placed: the 2 sites that could hold it stand in 1 country, and one "
        "more country is needed"
    )


def test_what_nobody_wrote_down_is_independent_of_nothing() -> None:
    known = [site("a", country="CA"), site("b"), site("c")]
    decision = place(RuleFacts(copies=2, spread_by=("country",)), 1, known, [])
    assert len(decision.choices) == 1
    assert "the country of b, c is not known, so it counts as no other" in decision.short


@pytest.mark.parametrize(
    "gateway",
    [
        [site("sf"), site("gate", fronts=("sf",))],
        [site("one", fronts=("r2",)), site("two", fronts=("r2",))],
        [site("far", fronts=("gate",)), site("sf")],
    ],
)
def test_a_gateway_is_one_place_with_what_it_fronts_and_with_others_that_do(
    gateway: list[SiteFacts],
) -> None:
    between = site("gate", fronts=("sf",), driver="tape", kind="http")
    known = [*gateway, site("toronto"), *([between] if len(gateway[0].fronts) else [])]
    known = list({one.id: one for one in known}.values())
    decision = place(RuleFacts(copies=3, selector="kind=node"), 1, known, [])
    assert len(decision.choices) == 2
    assert "toronto" in _names(decision)
    assert "so they are one place" in decision.short


def test_the_emptier_and_less_busy_site_is_chosen_first() -> None:
    known = [site("busy", free=900, queued=5), site("full", free=10), site("idle", free=90)]
    assert place(RuleFacts(copies=1), 10, known, []).choices[0].site == "idle"


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"retired": True}, "a is to be retired"),
        ({"driver": "tape"}, "a is written by driver 'tape', which this release does not have"),
        ({"free": 1999}, "a has 1,999 bytes free and needs 2,000"),
    ],
)
def test_what_blocks_a_site_is_said(details: dict[str, Any], reason: str) -> None:
    for rule in (RuleFacts(), RuleFacts(copies=1)):
        decision = place(rule, 2000, [site("a", **details)], [])
        assert decision.choices == ()
        assert decision.short == f"0 of 1 copies can be placed: {reason}"


@pytest.mark.parametrize(
    ("rule", "short"),
    [
        (
            RuleFacts(selector="country=IS"),
            "0 of 1 copies can be placed: no site matches 'country=IS'",
        ),
        (
            RuleFacts(copies=6),
            "4 of 6 copies can be placed: 4 sites match the rule, and 2 more are needed",
        ),
        (
            RuleFacts(copies=3, spread_by=("country",)),
            (
                "2 of 3 copies can be placed: the 4 sites that could hold it stand in 2 countries, "
                "and one more country is needed"
            ),
        ),
        (
            RuleFacts(copies=4, spread_by=("country", "operator")),
            (
                "2 of 4 copies can be placed: the 4 sites that could hold it stand in 2 countries, "
                "and 2 more countries are needed; the 4 sites that could hold it stand in 3 "
                "operators, and one more operator is needed"
            ),
        ),
        (
            RuleFacts(copies=3, spread_by=("operator", "region")),
            (
                "2 of 3 copies can be placed: no 3 of the 4 sites that could hold it all differ in "
                "operator and region, and one more is needed"
            ),
        ),
    ],
)
def test_what_a_rule_is_short_of_is_said_exactly(rule: RuleFacts, short: str) -> None:
    known = [
        site("a", country="ca", operator="x", region="1"),
        site("b", country="ca", operator="x", region="2"),
        site("c", country="nl", operator="y", region="3"),
        site("d", country="nl", operator="z", region="3"),
    ]
    assert place(rule, 1, known, []).short == short


def test_a_rule_whose_copies_are_where_nobody_answers_says_so() -> None:
    known = [site("a"), site("b", silent=True)]
    decision = place(RuleFacts(copies=2, min_copies=2), 1, known, _good("a", "b"))
    assert decision.short == (
        "2 copies have their places, but 1 of at least 2 at sites that answer: b does not"
    )


def test_a_copy_needs_no_more_room_where_it_is_already() -> None:
    known = [site("full", free=0), site("empty", free=100)]
    assert _names(place(RuleFacts(copies=1), 10, known, _good("full"))) == {"full"}


def test_a_copy_that_is_to_be_dropped_goes_before_one_that_is_not() -> None:
    """What was once found surplus stays it, whatever room there is meanwhile."""
    known = [site("a", free=100), site("b", free=1), site("c", free=50)]
    marked = [ReplicaFacts("a", _GOOD, tombstone=True), *_good("b", "c")]
    assert [one.site for one in place(RuleFacts(copies=2), 1, known, marked).surplus] == ["a"]


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (RuleFacts(copies=1, selector="id=a"), "b does not match 'id=a'"),
        (
            RuleFacts(copies=2, spread_by=("region",)),
            "b shares its region with a, and a was chosen",
        ),
        (RuleFacts(copies=1), "the 1 chosen sites are enough without b"),
    ],
)
def test_a_surplus_copy_says_why_it_serves_no_more(rule: RuleFacts, reason: str) -> None:
    known = [site("a", region="eu"), site("b", region="eu"), site("c", region="na", driver="tape")]
    assert [one.reason for one in place(rule, 1, known, _good("a", "b")).surplus] == [reason]


def test_a_search_of_too_many_choices_is_broken_off_and_claims_nothing() -> None:
    """No ten of these sites differ in all three (a cyclic square of even order), if hardly."""
    known = [
        site(f"s{at:02}", country=f"c{at // 10}", operator=f"o{at % 10}", region=f"r{region}")
        for at in range(100)
        for region in [(at // 10 + at % 10) % 10]
    ]
    rule = RuleFacts(copies=10, spread_by=("country", "operator", "region"))
    decision = place(rule, 1, known, [])
    chosen = [one.site for one in decision.choices]
    assert 8 <= len(chosen) < 10
    assert decision.short == (
        f"{len(chosen)} of 10 copies can be placed: there were too many choices to try them all, "
        "and a better one may exist"
    )
    assert Choices(rule, 1, known, []).sound(chosen)


def test_what_was_taken_since_is_free_no_longer_and_waits_in_line() -> None:
    known = [site("a", free=10), site("b", free=10)]
    field = Field.of(RuleFacts(copies=1), known)
    taken = {"a": Taken(room=0, queued=5)}
    assert _names(place_in(field, 8, [], taken)) == {"b"}
    taken["b"] = Taken(room=4, queued=5)
    assert _names(place_in(field, 4, [], taken)) == {"a"}
    taken["a"] = Taken(room=9, queued=5)
    decision = place_in(field, 8, [], taken)
    assert decision.choices == ()
    assert "a has 1 bytes free and needs 8; b has 6 bytes free and needs 8" in decision.short


def test_a_bucket_is_able_while_a_trusted_node_answers_and_keeps_its_copy_without() -> None:
    bucket = site("r2", kind="object_store", driver="s3")
    for node in (site("a"), site("a", trusted=True, retired=True)):
        decision = place(RuleFacts(selector="id=r2"), 1, [bucket, node], [])
        assert decision.choices == ()
        assert "there is no trusted node that could work for r2" in decision.short
        assert _names(place(RuleFacts(selector="id=r2"), 1, [bucket, node], _good("r2"))) == {"r2"}
    known = [bucket, site("a", trusted=True)]
    assert _names(place(RuleFacts(selector="id=r2"), 1, known, [])) == {"r2"}
