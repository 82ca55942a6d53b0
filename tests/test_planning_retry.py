"""What follows a failure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.retry import Retry, after_failure
from tests.planning_support import unhurried

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LONGEST = timedelta(hours=6)


def _after(attempts: int, *, most: int = 30, first: float = 30) -> Retry:
    return after_failure(
        "answered 503", attempts=attempts, max_attempts=most, first_wait=first, now=NOW
    )


def _wait(retry: Retry) -> timedelta:
    assert retry.at is not None
    return retry.at - NOW


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 30), (1, 30), (2, 60), (3, 120), (9, 7680), (10, 15360)]
)
def test_the_first_wait_is_as_set_and_each_further_one_is_twice_as_long(
    attempts: int, seconds: int
) -> None:
    assert _wait(_after(attempts)) == timedelta(seconds=seconds)


@pytest.mark.parametrize("attempts", [11, 12, 29])
def test_no_wait_is_longer_than_six_hours(attempts: int) -> None:
    assert _wait(_after(attempts)) == LONGEST


@unhurried
@given(st.integers(0, 28), st.floats(0, 1e5))
def test_waits_never_become_shorter_and_keep_the_reason(attempts: int, first: float) -> None:
    retry, following = _after(attempts, first=first), _after(attempts + 1, first=first)
    assert retry.reason == "answered 503"
    assert _wait(retry) <= _wait(following) <= LONGEST
    rounding = timedelta(microseconds=2)
    assert _wait(following) <= 2 * _wait(retry) + rounding or attempts == 0


@pytest.mark.parametrize("attempts", [6, 7, 1000])
def test_after_the_last_attempt_a_person_is_waited_for(attempts: int) -> None:
    retry = _after(attempts, most=6)
    assert retry == Retry(None, f"gave up after {attempts} attempts: answered 503")


def test_the_attempt_before_the_last_is_not_the_last() -> None:
    assert _after(5, most=6).at is not None
