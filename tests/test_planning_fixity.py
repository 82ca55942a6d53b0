"""When copies are read again: in their slots, by risk, within what a site may read."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from fleet.planning import fixity
from fleet.planning.fixity import DueCopy, Reader, choose, daily, due, risk
from fleet.planning.windows import Turn
from tests.planning_support import unhurried

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGE = timedelta(days=90)
QUIET = Turn(
    False, "waits for the quiet hours from 00:00 (America/Toronto)", NOW + timedelta(hours=12)
)

ages = st.floats(1, 400).map(lambda days: timedelta(days=days))
copies = st.lists(
    st.builds(
        DueCopy,
        id=st.uuids().map(str),
        state=st.sampled_from(["available", "suspect"]),
        good=st.integers(0, 6),
        size=st.integers(0, 10**12),
        verified_at=st.none() | st.integers(0, 120).map(lambda days: NOW - timedelta(days=days)),
    ),
    unique_by=lambda copy: copy.id,
    max_size=20,
)


def _copy(name: str, **details: object) -> DueCopy:
    usual: dict[str, object] = {"state": "available", "good": 3, "size": 100}
    usual["verified_at"] = NOW - timedelta(days=60)
    return DueCopy(id=name, **(usual | details))  # type: ignore[arg-type]


@unhurried
@given(st.text(min_size=1), ages, st.datetimes(datetime(2001, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_a_copy_is_due_well_before_its_age_is_over_and_not_at_once(
    name: str, age: timedelta, read: datetime
) -> None:
    at = read.replace(tzinfo=UTC)
    wait = due(name, at, age) - at
    second = timedelta(seconds=1)
    assert age * fixity.SETTLED - second <= wait
    assert wait <= age * (fixity.SETTLED + fixity.CYCLE) + second


@unhurried
@given(st.text(min_size=1), ages)
def test_a_copy_read_on_time_is_read_once_in_each_cycle(name: str, age: timedelta) -> None:
    first = due(name, NOW, age)
    assert abs(due(name, first, age) - first - age * fixity.CYCLE) < timedelta(seconds=1)


def test_copies_made_on_one_day_are_not_read_on_one_day() -> None:
    made = 100_000
    days = Counter((due(f"re-{number}", NOW, AGE) - NOW).days for number in range(made))
    even = made / (AGE.days * fixity.CYCLE)
    assert max(days.values()) < 1.2 * even
    assert len(days) >= AGE.days * fixity.CYCLE


def test_a_site_reads_all_that_it_holds_in_a_cycle() -> None:
    reader = Reader("toronto", slots=4, held=67_500)
    cycle = AGE * fixity.CYCLE
    assert daily(reader, AGE) * (cycle / timedelta(days=1)) >= reader.held


@unhurried
@given(copies, st.integers(1, 20), st.integers(0, 10**12))
def test_what_is_in_doubt_comes_first_then_what_has_fewest_good_copies(
    known: list[DueCopy], slots: int, held: int
) -> None:
    by_id = {copy.id: copy for copy in known}
    plan = choose(known, Reader("toronto", slots=slots, held=held), AGE, NOW)
    chosen = [by_id[one.copy] for one in plan.readings]
    assert [risk(copy) for copy in chosen] == sorted(risk(copy) for copy in chosen)
    assert all(one.reason for one in plan.readings)
    assert len(chosen) == len(known) or plan.wait


@unhurried
@given(copies, st.integers(1, 20), st.integers(0, 20))
def test_a_site_never_reads_more_at_once_than_half_of_its_slots(
    known: list[DueCopy], slots: int, running: int
) -> None:
    plan = choose(known, Reader("toronto", slots, running, held=10**18), AGE, NOW)
    assert len(plan.readings) + running <= max(1, slots // 2, running)


def test_a_share_of_the_day_that_is_used_up_holds_back_only_what_can_wait() -> None:
    reader = Reader("toronto", slots=20, held=100, read=100)
    known = [
        _copy("ordinary"),
        _copy("doubted", state="suspect"),
        _copy("alone", good=1),
        _copy("late", verified_at=NOW - timedelta(days=85)),
    ]
    plan = choose(known, reader, AGE, NOW)
    assert [one.copy for one in plan.readings] == ["doubted", "alone", "late"]
    assert "share of the day" in plan.wait


def test_ordinary_readings_wait_for_quiet_hours_and_last_copies_do_not() -> None:
    reader = Reader("toronto", slots=20, held=10**9, wait=QUIET)
    plan = choose([_copy("ordinary"), _copy("alone", good=1)], reader, AGE, NOW)
    assert [one.copy for one in plan.readings] == ["alone"]
    assert "the quiet hours" in plan.wait


def test_a_copy_larger_than_the_share_of_a_day_is_read_all_the_same() -> None:
    plan = choose([_copy("huge", size=10**12)], Reader("toronto", slots=4, held=10**12), AGE, NOW)
    assert [one.copy for one in plan.readings] == ["huge"]


def test_a_condemned_site_is_read_whole_whatever_its_share_and_its_hours() -> None:
    reader = Reader("toronto", slots=20, read=10**9, wait=QUIET, condemned=True)
    known = [_copy("many", good=4), _copy("two", good=2), _copy("one", good=1)]
    plan = choose(known, reader, AGE, NOW)
    assert [one.copy for one in plan.readings] == ["one", "two", "many"]
