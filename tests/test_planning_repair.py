"""How urgent repairs are, and what they may write to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.repair import URGENT, independent, untouchable, urgency
from fleet.planning.states import ReplicaState
from tests.planning_support import SITES, unhurried

priorities = st.integers(-1000, 99)
fronts = st.dictionaries(st.sampled_from(SITES), st.lists(st.sampled_from(SITES), max_size=2))


@unhurried
@given(priorities, priorities, st.integers(0, 8), st.integers(0, 8), st.integers(1, 9))
def test_of_two_repairs_the_one_with_fewer_good_copies_comes_first(
    mine: int, other: int, few: int, many: int, least: int
) -> None:
    few, many = sorted((few, many))
    one = urgency(mine, least, few, ["bad"])
    two = urgency(other, least, many, ["missing"])
    if few < many and few < least:
        assert one.priority > two.priority


@unhurried
@given(priorities, st.integers(0, 9), st.integers(1, 9))
def test_a_repair_below_the_minimum_waits_for_no_quiet_hours_and_says_why(
    priority: int, good: int, least: int
) -> None:
    found = urgency(priority, least, good, ["available", "bad"])
    assert (found.priority >= URGENT) == (good < least)
    assert bool(found.reason) == (good < least)


def test_a_new_shard_is_spread_at_its_rules_own_priority() -> None:
    assert urgency(7, 3, 1, ["available", "pending"]).priority == 7


@unhurried
@given(st.lists(st.sampled_from(SITES), unique=True), fronts)
def test_a_gateway_and_what_it_fronts_count_once(
    held: list[str], fronting: dict[str, list[str]]
) -> None:
    count = independent(held, fronting)
    assert (0 if not held else 1) <= count <= len(held)
    if not any(other in fronting.get(site, ()) for site in held for other in held):
        assert count == len(held)


def test_two_sites_behind_one_gateway_are_two_places_and_it_is_none() -> None:
    assert independent(["gate", "one", "two"], {"gate": ("one", "two")}) == 2
    assert independent(["gate", "one"], {"gate": ("one", "two")}) == 1


@pytest.mark.parametrize("state", list(ReplicaState))
def test_only_what_is_known_to_lack_something_is_written_to(state: ReplicaState) -> None:
    may = state in {"pending", "copying", "bad", "missing"}
    assert (untouchable("toronto", state) == "") is may
