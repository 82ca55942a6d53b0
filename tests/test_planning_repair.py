"""How urgent repairs are, and what they may write to."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.repair import URGENT, independent, untouchable, urgency
from fleet.planning.spread import behind, gateway
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
    fronted = behind(fronting)
    count = independent(held, fronted)
    assert (0 if not held else 1) <= count <= len(held)
    if not any(gateway(one, other, fronted) for one, other in combinations(held, 2)):
        assert count == len(held)


def test_two_sites_behind_one_gateway_are_two_places_and_it_is_none() -> None:
    fronted = behind({"gate": ("one", "two")})
    assert independent(["gate", "one", "two"], fronted) == 2
    assert independent(["gate", "one"], fronted) == 1


def test_two_gateways_to_a_third_site_are_one_place() -> None:
    fronted = behind({"east": ("vault",), "west": ("middle",), "middle": ("vault",)})
    assert independent(["east", "west"], fronted) == 1
    assert independent(["west", "vault"], fronted) == 1


@pytest.mark.parametrize("state", list(ReplicaState))
def test_only_what_is_known_to_lack_something_is_written_to(state: ReplicaState) -> None:
    may = state in {"pending", "copying", "bad", "missing"}
    assert (untouchable("toronto", state) == "") is may
