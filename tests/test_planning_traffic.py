"""Usual weeks, the quiet hours that are made of them, and clocks that cannot be right."""

import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.planning import clocks
from fleet.planning.facts import WindowFacts
from fleet.planning.quiet import choose, quiet_hours
from fleet.planning.traffic import BIN, HOURS, Profile, Sample, hour_of_week, profile

ZONES = ["America/Toronto", "Europe/Amsterdam", "Australia/Lord_Howe"]
START = datetime(2026, 2, 16, tzinfo=UTC)
WEEK = timedelta(days=7)


def _samples(
    zone: str, weeks: int = 4, seed: int = 1, off: timedelta = timedelta(), least: float = 4
) -> list[Sample]:
    """Weeks of people's traffic, least at four in the morning, with some noise."""
    chance, found = random.Random(seed), []
    for number in range(weeks * 672):
        moment = START + BIN * number
        local = moment.astimezone(ZoneInfo(zone))
        turn = 2 * math.pi * (local.hour + local.minute / 60 - least) / 24
        weekend = 0.7 if local.weekday() >= 5 else 1.0
        load = weekend * (1 - 0.6 * math.cos(turn)) * math.exp(chance.gauss(0, 0.05))
        found.append(Sample(moment + off, 1e6 * load))
    return found


@given(
    zone=st.sampled_from(ZONES),
    days=st.integers(0, 365),
)
@settings(max_examples=25, deadline=None)
def test_a_load_that_follows_the_clock_on_the_wall_is_found_again_over_any_change_of_it(
    zone: str, days: int
) -> None:
    at = [START + timedelta(days=days) + BIN * number for number in range(3 * 672)]
    samples = [Sample(one, float(hour_of_week(one, ZoneInfo(zone)))) for one in at]
    found = profile(samples, zone)
    assert found.hours == tuple(float(hour) for hour in range(HOURS))
    assert found.confidence == 1.0


def test_the_order_of_samples_and_gaps_among_them_change_little() -> None:
    samples = _samples("America/Toronto")
    whole = profile(samples, "America/Toronto")
    random.Random(2).shuffle(samples)
    assert profile(samples, "America/Toronto") == whole
    kept = [one for one in samples if not 12 <= (one.start - START).days <= 13]
    gapped = profile(kept, "America/Toronto")
    assert gapped.weeks == whole.weeks
    assert quiet_hours(gapped.hours) ^ quiet_hours(whole.hours) <= frozenset(range(HOURS))
    assert max(abs(a / b - 1) for a, b in zip(gapped.hours, whole.hours, strict=True)) < 0.1


def test_an_hour_that_was_never_measured_is_taken_for_the_same_hour_of_other_days() -> None:
    zone = ZoneInfo("UTC")
    samples = [one for one in _samples("UTC") if hour_of_week(one.start, zone) != 30]
    found = profile(samples, "UTC")
    assert found.measured == round(167 / 168, 3)
    assert found.hours[30] == pytest.approx(
        sum(found.hours[hour] for hour in range(6, HOURS, 24) if hour != 30) / 6
    )


def test_one_burst_does_not_make_an_hour_busy() -> None:
    samples = _samples("UTC")
    burst = [
        replace(one, load=one.load * 50) if n == 2000 else one for n, one in enumerate(samples)
    ]
    hours = zip(profile(samples, "UTC").hours, profile(burst, "UTC").hours, strict=True)
    assert max(b / a for a, b in hours) < 1.2


def test_without_samples_nothing_is_known() -> None:
    assert profile([], "UTC") == Profile("UTC")


@given(st.lists(st.floats(0, 1e9), min_size=HOURS, max_size=HOURS), st.integers(0, HOURS - 1))
@settings(max_examples=100, deadline=None)
def test_quiet_hours_come_in_runs_of_three_and_never_among_the_busiest(
    loads: list[float], turned: int
) -> None:
    found = quiet_hours(loads)
    busiest = sorted(loads)[int(0.45 * HOURS) + 1]
    assert all(loads[hour] <= busiest for hour in found)
    for hour in found:
        run = [
            any((hour + by + step) % HOURS not in found for step in range(3)) for by in (-2, -1, 0)
        ]
        assert not all(run)
    if loads.count(max(loads)) == 1:
        again = quiet_hours([*loads[turned:], *loads[:turned]])
        assert {(hour + turned) % HOURS for hour in again} == found


def test_declared_windows_win_over_learned_ones() -> None:
    learned = profile(_samples("America/Toronto"), "America/Toronto")
    window = WindowFacts("America/Toronto", "22:00", "23:00")
    chosen = choose([window], "America/Toronto", learned)
    assert chosen is not None
    assert chosen.daily == (window,)


def test_a_site_with_neither_windows_nor_a_zone_keeps_no_quiet_hours() -> None:
    assert choose([], "", profile(_samples("UTC"), "UTC")) is None


@pytest.mark.parametrize("weeks", [0, 1])
def test_fixed_hours_are_kept_until_two_weeks_were_measured(weeks: int) -> None:
    learned = profile(_samples("UTC", weeks), "UTC")
    chosen = choose([], "UTC", learned)
    assert chosen is not None
    assert chosen.daily == (WindowFacts("UTC", "00:00", "06:00"),)
    assert "less than two weeks" in chosen.reason
    assert choose([], "UTC", None) == chosen


def test_hours_are_learned_where_the_nights_are_busy() -> None:
    learned = profile(_samples("UTC", least=14), "UTC")
    chosen = choose([], "UTC", learned)
    assert chosen is not None
    assert 14 in chosen.hours
    assert not chosen.hours & frozenset(range(6))
    assert "learned from" in chosen.reason


def test_fixed_hours_are_kept_where_the_newest_week_turned_the_learned_ones_busy() -> None:
    learned = profile(_samples("UTC", least=14), "UTC")
    turned = profile(_samples("UTC", least=4), "UTC").newest
    chosen = choose([], "UTC", replace(learned, newest=turned))
    assert chosen is not None
    assert chosen.daily
    assert "newest week" in chosen.reason


@pytest.mark.parametrize("hours", [-9, -5, -3, 3, 6])
def test_a_site_whose_stamps_are_off_is_told_of_and_keeps_fixed_hours(hours: int) -> None:
    zone = "Europe/Amsterdam"
    right = [profile(_samples(zone, seed=seed), zone) for seed in range(3)]
    wrong = profile(_samples(zone, seed=9, off=timedelta(hours=hours)), zone)
    doubt = clocks.shifted(wrong, right)
    assert f"{abs(hours)} h {'late' if hours > 0 else 'early'}" in doubt
    chosen = choose([], zone, wrong, doubt)
    assert chosen is not None
    assert chosen.daily
    assert "check its clock" in chosen.reason
    assert not any(clocks.shifted(one, [wrong, *right]) for one in right)


def test_of_two_sites_that_differ_nobody_knows_which_is_wrong() -> None:
    right = profile(_samples("UTC"), "UTC")
    wrong = profile(_samples("UTC", off=timedelta(hours=6)), "UTC")
    assert clocks.shifted(wrong, [right]) == ""
    assert clocks.shifted(right, [wrong]) == ""
    assert clocks.shifted(right, [wrong, right]) == ""


@pytest.mark.parametrize(("seconds", "words"), [(301, "301 s ahead of"), (-7200, "7,200 s behind")])
def test_a_clock_minutes_off_the_centres_is_not_trusted(seconds: float, words: str) -> None:
    assert words in clocks.skewed(seconds)
    assert clocks.skewed(299) == ""
