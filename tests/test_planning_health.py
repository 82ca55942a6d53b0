"""When a site is judged as a whole, and how it is cleared."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.health import (
    MANY,
    PATIENCE,
    SAMPLES,
    WINDOW,
    Sampled,
    decide,
    enough_right,
    judge,
    sample,
)
from tests.planning_support import unhurried

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _troubles(count: int, apart: timedelta) -> list[datetime]:
    return [NOW - apart * number for number in range(count)]


def test_many_wrong_copies_in_a_short_time_are_the_sites_fault() -> None:
    reason = judge("toronto", _troubles(MANY, timedelta(minutes=1)), 0, NOW)
    assert "toronto" in reason
    assert str(MANY) in reason


def test_a_few_wrong_copies_or_many_over_a_long_time_are_not() -> None:
    assert judge("toronto", _troubles(MANY - 1, timedelta(0)), 0, NOW) == ""
    assert judge("toronto", _troubles(MANY, WINDOW), 0, NOW) == ""


def test_a_site_where_nearly_all_is_read_right_is_not_judged() -> None:
    troubles = _troubles(MANY, timedelta(minutes=1))
    assert judge("toronto", troubles, enough_right() + 1, NOW) == ""
    assert judge("toronto", troubles, enough_right(), NOW)


@unhurried
@given(st.lists(st.uuids().map(str), unique=True, max_size=100), st.uuids().map(str))
def test_samples_are_the_same_however_the_copies_are_listed(
    copies: list[str], incident: str
) -> None:
    drawn = sample(incident, copies)
    assert drawn == sample(incident, reversed(copies))
    assert len(set(drawn)) == min(SAMPLES, len(copies))


def test_every_copy_is_as_likely_to_be_drawn_as_any_other() -> None:
    copies = [f"re-{number}" for number in range(100)]
    times = Counter(one for number in range(1000) for one in sample(f"in-{number}", copies))
    assert len(times) == 100
    assert 230 < min(times.values()) <= max(times.values()) < 380  # 300 expected, 14.5 deviation


@unhurried
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 3000))
def test_one_wrong_sample_condemns_all_right_clear_and_nothing_waits_for_ever(
    right: int, wrong: int, waiting: int, minutes: int
) -> None:
    began = NOW - timedelta(minutes=minutes)
    found = decide(Sampled(right, wrong, waiting), began, NOW)
    late = bool(waiting) and NOW - began >= PATIENCE
    nothing = not (right or wrong or waiting)
    assert found.reason
    if wrong or late or nothing:
        assert found.outcome == "condemn"
    else:
        assert found.outcome == ("wait" if waiting else "clear")
