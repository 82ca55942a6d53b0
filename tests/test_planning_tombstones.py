"""When a copy that serves no rule may go, and what stays when a rule has expired."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.facts import ReplicaFacts, RuleFacts, SiteFacts
from fleet.planning.lapse import keep
from fleet.planning.placement import Field
from fleet.planning.states import ReplicaState
from fleet.planning.tombstones import LIVE, OtherCopy, next_act
from tests.planning_support import SITES, replicas, rules, sites, unhurried

_NOW = datetime(2026, 3, 15, tzinfo=UTC)
_moments = st.integers(-40, 5).map(lambda days: _NOW + timedelta(days=days))
_others = st.lists(
    st.builds(OtherCopy, st.sampled_from(SITES), st.booleans(), st.none() | _moments),
    unique_by=lambda one: one.site,
)


@unhurried
@given(_moments, st.integers(1, 4), _others, st.sampled_from(["", "its verify"]))
def test_a_copy_is_dropped_only_when_enough_good_others_were_read_lately_and_since_its_grace(
    drop_after: datetime, least: int, others: list[OtherCopy], busy: str
) -> None:
    act = next_act(drop_after, least, others, busy, _NOW)
    read = [one.read_since for one in others if one.good and one.read_since]
    proved = sum(drop_after <= at and at >= _NOW - LIVE for at in read)
    due = drop_after <= _NOW and not busy
    assert (act.do == "drop") == (due and proved >= least)
    assert act.reason


@unhurried
@given(_moments, st.integers(1, 4), _others)
def test_what_is_not_dropped_is_looked_at_again_and_asks_only_good_copies_to_be_read(
    drop_after: datetime, least: int, others: list[OtherCopy]
) -> None:
    act = next_act(drop_after, least, others, "", _NOW)
    if act.do != "drop":
        assert act.until is not None
        assert act.until > _NOW
    assert bool(act.verify) == (act.do == "verify")
    assert set(act.verify) <= {one.site for one in others if one.good}


@unhurried
@given(rules, sites(), replicas)
def test_an_expired_rule_asks_for_nothing_new_and_keeps_its_last_copies(
    rule: RuleFacts, known: list[SiteFacts], copies: list[ReplicaFacts]
) -> None:
    known = [replace(site, retired=False) for site in known]
    decision = keep(Field.of(rule, known), 1, copies)
    there = {one.site for one in copies if one.state in ("available", "suspect")}
    assert {one.site for one in decision.choices} <= there
    assert all("expired" in one.reason for one in decision.choices)
    if decision.surplus:
        good = {one.site for one in copies if one.state == ReplicaState.AVAILABLE}
        assert len(good & {one.site for one in decision.choices}) >= rule.min_copies


def _site(name: str, *, retired: bool = False, country: str = "", goes: str = "") -> SiteFacts:
    return SiteFacts(
        id=name,
        kind="node",
        driver="posix",
        country=country,
        retired=retired or goes != "",
        goes_with=goes,
    )


def test_the_last_copies_of_an_expired_rule_are_placed_away_from_a_site_that_goes() -> None:
    known = [_site("a", retired=True), _site("b"), _site("c"), _site("d")]
    held = [ReplicaFacts(site, ReplicaState.AVAILABLE) for site in ("a", "b")]
    decision = keep(Field.of(RuleFacts(copies=3, min_copies=2), known), 1, held)
    assert [one.site for one in decision.choices] == ["b", "c"]
    assert "b keeps one of the last 2" in decision.choices[0].reason
    assert "a is retired, and c takes one of the last 2" in decision.choices[1].reason
    assert (decision.short, decision.surplus) == ("", ())


def test_what_an_expired_rule_cannot_place_away_from_a_site_that_goes_is_said() -> None:
    known = [_site("a", retired=True), _site("b")]
    held = [ReplicaFacts("a", ReplicaState.AVAILABLE)]
    decision = keep(Field.of(RuleFacts(selector="id=a"), known), 1, held)
    assert decision.choices == ()
    assert decision.short == "0 of 1 copies can be placed: a is to be retired"


def test_a_site_that_goes_with_no_good_copy_has_nothing_placed_for_an_expired_rule() -> None:
    known = [_site("a", retired=True), _site("b")]
    held = [ReplicaFacts("a", ReplicaState.BAD)]
    assert keep(Field.of(RuleFacts(), known), 1, held).choices == ()


def test_a_gateway_to_a_retired_site_has_nothing_placed_anew_where_enough_copies_stay() -> None:
    gateway = _site("a", country="CA", goes="gone")
    known = [gateway, _site("b", country="DE"), _site("c", country="DE"), _site("d", country="NL")]
    held = [ReplicaFacts(site, ReplicaState.AVAILABLE) for site in ("a", "b", "c")]
    rule = RuleFacts(copies=3, min_copies=2, spread_by=("country",))
    decision = keep(Field.of(rule, known), 1, held)
    assert [one.site for one in decision.choices] == ["b"]
    assert (decision.short, decision.surplus) == ("", ())
