"""What a machine's uplinks carry, without what the fleet itself moves."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from workers.seeder.traffic import Bins, Counters
from workers.uplinks import Pulled, carried, note_pulled

DEV = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs
    lo: 100 1 0 0 0 0 0 0 100 1 0 0 0 0 0 0
  eth0: 2000 1 0 0 0 0 0 0 300 1 0 0 0 0 0 0
docker0:50 1 0 0 0 0 0 0 60 1 0 0 0 0 0 0
"""
ROUTE = """Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0
docker0 000011AC 00000000 0001 0 0 0 0000FFFF 0 0 0
"""
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_only_what_default_routes_lead_over_is_counted(tmp_path: Path) -> None:
    (tmp_path / "dev").write_text(DEV)
    (tmp_path / "route").write_text(ROUTE)
    assert carried(tmp_path) == (2000, 300)


def test_without_a_default_route_all_but_the_loopback_count(tmp_path: Path) -> None:
    (tmp_path / "dev").write_text(DEV)
    assert carried(tmp_path) == (2050, 360)


def test_the_default_route_of_ipv6_counts_and_a_rejecting_one_does_not(tmp_path: Path) -> None:
    nothing = "0" * 32
    route = f"{nothing} 00 {nothing} 00 {nothing} 00000400 1 0 {{}} {{}}\n"
    (tmp_path / "dev").write_text(DEV)
    lines = route.format("00000001", "docker0") + route.format("00200200", "eth0")
    (tmp_path / "ipv6_route").write_text(lines)
    assert carried(tmp_path) == (50, 60)


def test_this_machine_tells() -> None:
    assert all(count >= 0 for count in carried())


def test_pulls_are_added_up_as_they_grow(tmp_path: Path) -> None:
    pulled = Pulled(tmp_path / "pulled")
    assert pulled.since() == 0
    note_pulled(tmp_path / "pulled", "at-1", 100)
    note_pulled(tmp_path / "pulled", "../at-2", 10)
    assert pulled.since() == 110
    note_pulled(tmp_path / "pulled", "at-1", 150)
    assert pulled.since() == 50
    assert pulled.since() == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["pulled"]


def _minutes(count: int, **each: int) -> list[Counters]:
    return [
        Counters(
            START + timedelta(minutes=number),
            **{name: number * grows for name, grows in ({"came": 0, "went": 0} | each).items()},
        )
        for number in range(count)
    ]


def test_a_bin_is_told_once_it_is_over_without_what_was_our_own() -> None:
    bins = Bins()
    for one in _minutes(17, came=1000, went=500, own_came=400, own_went=500):
        bins.add(one)
    [sample] = bins.done
    assert (sample.start, sample.bytes_in, sample.bytes_out) == (START, 14 * 600, 0)
    assert sample.seconds == 14 * 60


def test_counters_that_begin_anew_and_a_machine_that_slept_count_for_nothing() -> None:
    bins = Bins()
    for one in (
        Counters(START, 10**9, 10**9),
        Counters(START + timedelta(minutes=1), 5, 5),
        Counters(START + timedelta(minutes=11), 10**9, 10**9),
        Counters(START + timedelta(minutes=12), 10**9 + 60, 10**9),
        Counters(START + timedelta(minutes=15), 10**9 + 60, 10**9),
    ):
        bins.add(one)
    [sample] = bins.done
    assert (sample.bytes_in, sample.bytes_out, sample.seconds) == (60, 0, 60)
