"""How fast a pull may go, and that nothing goes faster."""

import threading
import time
from pathlib import Path

import pytest

from fleet.messages import Budget, Share
from tests.fault_exchange import Exchange
from tests.fault_kinds import FAULTS
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order, until
from workers.bucket import BURST_SECONDS, Bucket
from workers.lease import Lease, Stopped
from workers.pull import pace as pace_module
from workers.pull.faults import Again
from workers.pull.pace import Pace

MIB = 1024 * 1024


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.most_naps = 100_000

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.most_naps -= 1
        assert self.most_naps, "waits for ever"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace_module, "time", clock)
    return clock


@pytest.mark.parametrize("rate", [1, 2, 3, 5, 1000, 70_000, 10 * MIB, 3 << 30])
@pytest.mark.parametrize("limit", ["bytes_per_second", "source_bytes_per_second"])
def test_the_rate_is_reached_and_never_exceeded(clock: Clock, rate: int, limit: str) -> None:
    pace = Pace(Lease(Budget(**{limit: rate})))
    began, came, wanted = clock.now, 0, min(max(3 * rate, 3), 100 * MIB)
    while came < wanted:
        count = pace.take("a", MIB)
        assert 0 < count <= MIB
        came += count
        assert came <= max(1, rate * BURST_SECONDS) + rate * (clock.now - began)
    slack = 1.5 + MIB / rate
    assert clock.now - began <= wanted / rate + slack


def test_each_host_has_a_rate_of_its_own_below_that_of_all(clock: Clock) -> None:
    pace = Pace(Lease(Budget(bytes_per_second=3 * MIB, source_bytes_per_second=2 * MIB)))
    began, came = clock.now, {"a": 0, "b": 0}
    while clock.now - began < 10:
        for host in came:
            count = pace._grant(host, 100_000)
            came[host] += count
        clock.sleep(0.01)
    assert all(count <= 2 * MIB * 10.5 for count in came.values())
    assert 3 * MIB * 9 < sum(came.values()) <= 3 * MIB * 10.5


def test_nothing_is_had_at_once(clock: Clock) -> None:
    began = clock.now
    assert Pace(Lease(Budget(bytes_per_second=1))).take("a", 0) == 0
    assert clock.now == began


def test_what_was_not_read_is_given_back(clock: Clock) -> None:
    pace = Pace(Lease(Budget(bytes_per_second=4000)))
    assert pace.take("a", 5000) == 1000
    pace.give_back("a", 600)
    assert pace.take("a", 5000) == 600
    assert clock.now == 1000.0


def test_a_budget_of_nothing_waits_and_hears_a_stop() -> None:
    with pytest.raises(Stopped):
        Pace(Halting(Budget(bytes_per_second=0))).take("a", 10)


def test_whoever_waits_in_vain_gives_up(clock: Clock) -> None:
    nothing = Share(provider="p", hosts=("a",))
    pace = Pace(Lease(Budget(shares=(nothing,))))

    def gone() -> bool:
        return clock.now > 1005

    for wait in (
        lambda: pace.request("a", gone),
        lambda: pace.take("a", 10, gone),
        lambda: pace.stream("a", gone).__enter__(),
    ):
        clock.now = 1000.0
        with pytest.raises(Again):
            wait()
        assert 1005 < clock.now < 1006


def test_nothing_is_asked_for_once_it_is_of_no_use() -> None:
    with pytest.raises(Again):
        Pace(Lease()).request("a", lambda: True)


class Halting(Lease):
    """A lease that ends when it was asked a few times."""

    asked = 0

    def check(self) -> None:
        self.asked += 1
        if self.asked > 3:
            raise Stopped("enough")


@pytest.mark.parametrize("rate", [0.1, 1.0, 20.0])
def test_requests_are_counted_by_host(clock: Clock, rate: float) -> None:
    pace = Pace(Lease(Budget(source_requests_per_second=rate)))
    began = clock.now
    for at in range(1, 40):
        pace.request("a")
        pace.request("b")
        assert at <= 2 * max(1, rate * BURST_SECONDS) + rate * (clock.now - began) + 1e-6
    assert clock.now - began <= 40 / rate + 1


def test_a_bucket_that_nobody_emptied_does_not_storm() -> None:
    bucket = Bucket()
    assert bucket.most(1000.0, 0.0, 1e9, 250.0) == 250
    bucket.use(250)
    assert bucket.most(1000.0, 3600.0, 1e9, 250.0) == 250


class Gate:
    """Answers that end only when they are let go; it counts them exactly."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting = 0
        self.peak = 0
        self.allowed = 0

    def __call__(self, exchange: Exchange) -> None:
        exchange.proper_head()
        with self.changed:
            self.waiting += 1
            self.peak = max(self.peak, self.waiting)
            self.changed.wait_for(lambda: self.allowed, timeout=20)
            self.allowed -= 1
            self.waiting -= 1  # before the client can know
        exchange.send(exchange.data())

    def let_go(self, count: int) -> None:
        with self.changed:
            self.allowed += count
            self.changed.notify_all()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setitem(FAULTS, "gated", gate)
    return gate


def test_a_new_number_of_streams_counts_at_once(
    server: FaultServer, site: Site, gate: Gate
) -> None:
    bodies = {f"{at}.csv": noise(100 + at, seed=at) for at in range(30)}
    given = order(*(item(path, server.serve(path, body, "gated")) for path, body in bodies.items()))
    lease = Lease(Budget(streams=2))
    thread = threading.Thread(target=site.pull, args=(given, lease))
    thread.start()

    until(lambda: gate.waiting == 2)
    lease.budget = Budget(streams=5)
    until(lambda: gate.waiting == 5)
    assert gate.peak == 5
    lease.budget = Budget(streams=1)
    gate.let_go(5)
    until(lambda: gate.waiting == 1 and not gate.allowed)
    gate.peak = 1
    gate.let_go(1)
    until(lambda: gate.waiting == 1 and not gate.allowed)
    while thread.is_alive():
        gate.let_go(1)
        until(lambda: not gate.allowed or not thread.is_alive())
    assert gate.peak == 1
    assert all(site.file(path).read_bytes() == body for path, body in bodies.items())


def test_a_pull_of_many_streams_keeps_to_the_rate_of_its_host(
    server: FaultServer, site: Site
) -> None:
    items = [item(f"{at}", server.serve(f"{at}", noise(MIB, seed=at))) for at in range(3)]
    rate = 6 * MIB
    given = order(*items, budget=Budget(streams=3, source_bytes_per_second=rate))

    started = time.monotonic()
    work = site.pull(given)

    assert all(found.ok for found in work.items)
    assert time.monotonic() - started >= 3 * MIB / rate - BURST_SECONDS


def test_fewer_streams_end_those_that_are_too_many(tmp_path: Path) -> None:
    with FaultServer() as server:
        site, lease = Site(tmp_path), Lease(Budget(streams=2))
        items = [item(n, server.serve(n, noise(4 << 20), "stalling", after=1 << 20)) for n in "ab"]
        thread = threading.Thread(
            target=site.pull, args=(order(*items), lease), kwargs={"stall_seconds": 4}
        )
        thread.start()
        try:
            until(lambda: server.active == 2)
            lease.budget = Budget(streams=1)
            until(lambda: server.active == 1, 2)
        finally:
            server.released.set()
            thread.join(20)
