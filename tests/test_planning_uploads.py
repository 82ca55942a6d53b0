"""What a site may upload: by the clock on the wall, by the month, and shared by two ways."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.facts import WindowFacts
from fleet.planning.uploads import BLOCK, Caps, Hours, allow, month, next_month, share, size

MB, TB = 10**6, 10**12
FIVE_MINUTES = timedelta(minutes=5)
NIGHT = Hours(WindowFacts("America/Toronto", "00:00", "06:00"), 80 * MB)
CAPS = Caps(20 * MB, 15 * TB, (NIGHT,))
NOON = datetime(2026, 7, 1, 16, tzinfo=UTC)

ZONES = ["UTC", "America/Toronto", "Europe/Amsterdam", "America/St_Johns", "Asia/Kathmandu"]
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 59]))
RATES = st.sampled_from([0, 7, 80])
HOURS = st.builds(Hours, st.builds(WindowFacts, st.sampled_from(ZONES), TIMES, TIMES), RATES)
ALL_CAPS = st.builds(
    Caps,
    st.none() | RATES,
    st.none() | st.integers(20_000, 100_000),
    st.lists(HOURS, max_size=3).map(tuple),
)


def test_without_caps_there_is_no_limit_and_nothing_changes() -> None:
    free = allow(Caps(), 10**18, NOON)
    assert (free.bytes_per_second, free.left, free.until, free.pace) == (None, None, None, None)
    assert free.reason == "no limit"
    assert allow(Caps(), None, NOON) == free


def test_within_its_hours_a_rate_holds_and_the_base_one_outside() -> None:
    opens = datetime(2026, 7, 2, 4, tzinfo=UTC)
    day, night = allow(CAPS, 0, NOON), allow(CAPS, 0, opens)
    assert (day.bytes_per_second, day.until) == (20 * MB, opens)
    assert day.reason == "at most 20 MB/s"
    assert (night.bytes_per_second, night.until) == (80 * MB, opens + timedelta(hours=6))
    assert night.reason == "at most 80 MB/s from 00:00 to 06:00 (America/Toronto)"
    assert allow(CAPS, 0, opens - timedelta(microseconds=1)).bytes_per_second == 20 * MB
    assert night.until is not None
    assert allow(CAPS, 0, night.until).bytes_per_second == 20 * MB


def test_a_rate_of_nothing_stops_uploads_for_its_hours() -> None:
    caps = replace(CAPS, hours=(replace(NIGHT, bytes_per_second=0),))
    night = allow(caps, 0, datetime(2026, 7, 2, 5, tzinfo=UTC))
    assert (night.bytes_per_second, night.pace) == (0, 0)
    assert night.reason == "no uploads from 00:00 to 06:00 (America/Toronto)"
    assert night.until == datetime(2026, 7, 2, 10, tzinfo=UTC)


def test_of_hours_that_overlap_the_first_counts() -> None:
    later = Hours(WindowFacts("America/Toronto", "05:00", "08:00"), 40 * MB)
    caps = replace(CAPS, hours=(NIGHT, later))
    night = allow(caps, 0, datetime(2026, 7, 2, 9, 30, tzinfo=UTC))
    assert (night.bytes_per_second, night.until) == (80 * MB, datetime(2026, 7, 2, 10, tzinfo=UTC))
    morning = allow(caps, 0, datetime(2026, 7, 2, 10, tzinfo=UTC))
    assert morning.bytes_per_second == 40 * MB


def test_hours_that_meet_with_one_rate_are_no_change() -> None:
    halves = tuple(
        Hours(WindowFacts("UTC", opens, closes), 5)
        for opens, closes in (("00:00", "12:00"), ("12:00", "00:00"))
    )
    assert allow(Caps(hours=halves), 0, NOON).until is None


def test_a_month_is_used_up_ahead_of_time_and_begins_anew() -> None:
    used = allow(CAPS, 15 * TB, NOON)
    assert (used.bytes_per_second, used.left, used.pace) == (0, 0, 0)
    assert used.reason == "this month's 15 TB are used up"
    assert used.until == datetime(2026, 8, 1, tzinfo=UTC)
    assert allow(CAPS, 0, used.until).bytes_per_second == 20 * MB
    # one byte more than the cap, as when the cap was lowered
    assert allow(CAPS, 15 * TB + 1, NOON) == used


def test_the_last_bytes_of_a_month_are_not_overrun() -> None:
    last = allow(CAPS, 15 * TB - 100_000, NOON)
    assert (last.bytes_per_second, last.left, last.pace) == (20 * MB, 100_000, 80_000)
    assert allow(CAPS, 15 * TB - BLOCK, NOON).left == BLOCK
    assert allow(CAPS, 15 * TB - BLOCK + 1, NOON).left == 0


def test_a_month_of_unknown_count_is_not_uploaded_in() -> None:
    unknown = allow(CAPS, None, NOON)
    assert (unknown.bytes_per_second, unknown.until) == (0, datetime(2026, 8, 1, tzinfo=UTC))
    assert "not known" in unknown.reason
    assert allow(replace(CAPS, bytes_per_month=None), None, NOON).bytes_per_second == 20 * MB


def test_a_month_that_ends_within_hours_of_nothing_waits_for_their_end() -> None:
    quiet = Hours(WindowFacts("UTC", "22:00", "03:00"), 0)
    used = allow(Caps(1, 1, (quiet,)), 1, NOON)
    assert used.until == datetime(2026, 8, 1, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "name", "then"),
    [
        (datetime(2026, 12, 31, 23, 59, tzinfo=UTC), "2026-12", datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2027, 1, 1, tzinfo=UTC), "2027-01", datetime(2027, 2, 1, tzinfo=UTC)),
        # in Toronto it is still February
        (
            datetime(2026, 2, 28, 20, tzinfo=ZoneInfo("America/Toronto")),
            "2026-03",
            datetime(2026, 4, 1, tzinfo=UTC),
        ),
    ],
)
def test_a_month_is_one_of_utc(now: datetime, name: str, then: datetime) -> None:
    assert (month(now), next_month(now)) == (name, then)


@pytest.mark.parametrize(("opens", "closes"), [("00:00", "06:00"), ("22:30", "05:00")])
@pytest.mark.parametrize("day", [(2026, 3, 8), (2026, 11, 1)])
def test_hours_follow_the_clock_on_the_wall_when_it_changes(
    day: tuple[int, int, int], opens: str, closes: str
) -> None:
    zone = ZoneInfo("America/Toronto")
    caps = Caps(1, None, (Hours(WindowFacts(zone.key, opens, closes), 2),))
    first, last = time.fromisoformat(opens), time.fromisoformat(closes)
    start = datetime(*day, tzinfo=zone).astimezone(UTC) - timedelta(hours=12)
    for now in (start + FIVE_MINUTES * count for count in range(48 * 12)):
        local = now.astimezone(zone).time()
        inside = first <= local < last if first < last else local >= first or local < last
        assert allow(caps, 0, now).bytes_per_second == (2 if inside else 1), now


@given(caps=ALL_CAPS, sent=st.integers(0, 120_000), now=MOMENTS)
def test_a_rate_holds_until_the_time_it_names_and_no_longer(
    caps: Caps, sent: int, now: datetime
) -> None:
    told = allow(caps, sent, now)
    assert told.reason
    assert told.left is None or told.left >= 0
    horizon = told.until or now + timedelta(days=3)
    between = now + (horizon - now) / 2
    used_up = told.left == 0
    if told.until is not None:
        assert told.until > now
        fresh = 0 if used_up else sent
        assert allow(caps, fresh, told.until).bytes_per_second != told.bytes_per_second
        before = told.until - timedelta(microseconds=1)
        spent = sent if month(before) == month(now) else 0
        assert allow(caps, spent, before).bytes_per_second == told.bytes_per_second
    spent = sent if month(between) == month(now) else 0
    assert allow(caps, spent, between).bytes_per_second == told.bytes_per_second


@given(
    rate=st.integers(0, 10**12),
    used=st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)),
    granted=st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)),
)
def test_two_ways_together_have_the_rate_and_each_keeps_an_eighth(
    rate: int, used: tuple[int, int], granted: tuple[int, int]
) -> None:
    shares = share(rate, used, granted)
    assert sum(shares) == rate
    assert min(shares) >= rate // 8


def _settled(wants: tuple[int, int], shares: tuple[int, int], rate: int = 800) -> tuple[int, int]:
    """Let two ways use what they want of their shares for ten seconds."""
    for _ in range(10):
        used = (min(wants[0], shares[0]), min(wants[1], shares[1]))
        shares = share(rate, used, shares)
    return shares


@pytest.mark.parametrize("start", [(100, 700), (700, 100), (400, 400)])
def test_what_one_way_leaves_the_other_gets(start: tuple[int, int]) -> None:
    assert _settled((800, 0), start) == (700, 100)
    assert _settled((0, 800), start) == (100, 700)
    assert _settled((800, 800), start) == (400, 400)
    assert _settled((800, 200), start) == (550, 250)
    assert _settled((200, 800), start) == (250, 550)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (2_500_000, "2.5 MB"), (15 * TB, "15 TB")],
)
def test_sizes_are_written_as_people_write_them(count: int, text: str) -> None:
    assert size(count) == text
