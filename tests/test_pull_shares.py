"""A pull keeps to its slices of a provider's budget, on every path that it reads by."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from fleet.messages import Budget, Item, Order, Share, Slice, Throttle
from fleet.planning.budgets import LONGEST_REST
from tests.fault_exchange import Closed, Exchange
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order, until
from tests.quick_support import Rush, serve
from tests.quick_support import bodies as some
from tests.trouble_support import hangs_up
from workers.lease import Lease
from workers.quotas import CLOSING_SECONDS, GUARD_SECONDS, Quotas
from workers.work import Work

HOST = "data.example"
SOON = 0.01


def share(host: str, *slices: Slice, reason: str = "") -> Share:
    return Share(provider="p", hosts=(host,), slices=slices, reason=reason)


def rate(seconds: float = 60, begins: float = 0, **figures: float) -> Slice:
    return Slice.model_validate({"begins": begins, "ends": seconds, "streams": 4} | figures)


def begin(site: Site, given: Order, lease: Lease) -> tuple[threading.Thread, list[Work]]:
    done: list[Work] = []
    thread = threading.Thread(target=lambda: done.append(site.pull(given, lease)))
    thread.start()
    return thread, done


def halting(server: FaultServer, count: int, go_on: threading.Event) -> list[Item]:
    """Serve large files that halt after their first bytes until all may go on."""

    def halt(exchange: Exchange) -> None:
        exchange.proper_head()
        data = exchange.data()
        exchange.send(data[:1000])
        if hangs_up(exchange, go_on.is_set):
            raise Closed
        exchange.send(data[1000:])

    bodies = {f"{at}": noise((3 << 20) + at, seed=at) for at in range(count)}
    return [
        item(path, server.serve(path, body, "scripted", answer=halt), body=body)
        for path, body in bodies.items()
    ]


def hear(lease: Lease, told: Share) -> None:
    lease.quotas.hear([told], time.monotonic(), time.monotonic())


@pytest.mark.parametrize("size", [1000, 3 << 20], ids=["small", "large"])
def test_nothing_is_asked_without_a_slice_and_all_goes_on_with_one(
    server: FaultServer, site: Site, size: int
) -> None:
    bodies = {f"{at}.csv": noise(size + at, seed=at) for at in range(10)}
    items = [item(path, server.serve(path, body), body=body) for path, body in bodies.items()]
    lease = Lease(Budget(shares=(share(server.netloc, reason="waits for its turn"),)))
    thread, done = begin(site, order(*items), lease)
    until(lambda: lease.note == "waits for its turn")
    assert lease.quotas.demands(time.monotonic())[0] == ("p",)
    assert server.requests == []
    hear(lease, share(server.netloc, rate()))
    thread.join(20)
    assert all(one.ok for one in done[0].items)


def test_a_slice_that_ends_stops_the_pull_until_the_next(server: FaultServer, site: Site) -> None:
    body = noise(8 << 20)
    given = order(item("a", server.serve("a", body), body=body))
    ending = share(server.netloc, rate(seconds=1.0, bytes_per_second=1 << 20))
    lease = Lease(Budget(shares=(ending,)))
    thread, done = begin(site, given, lease)
    until(lambda: lease.quotas.waits(time.monotonic()))
    came = lease.bytes_done
    assert came <= (1 << 20) * 1.0
    hear(lease, share(server.netloc, rate()))
    thread.join(20)
    assert done[0].items[0].ok


def pull_small_ones(
    server: FaultServer, site: Site, count: int, per_second: float
) -> tuple[Work, float]:
    """Pull some small files, all well, under a limit of requests; give the seconds it took."""
    bodies = {f"{at}.csv": noise(100 + at, seed=at) for at in range(count)}
    items = [item(path, server.serve(path, body), body=body) for path, body in bodies.items()]
    limited = share(server.netloc, rate(requests_per_second=per_second))
    began = time.monotonic()
    work = site.pull(order(*items, budget=Budget(shares=(limited,))))
    assert all(one.ok for one in work.items)
    return work, time.monotonic() - began


def test_requests_ahead_of_small_files_wait_for_their_turns(
    server: FaultServer, site: Site
) -> None:
    _, took = pull_small_ones(server, site, 30, per_second=20)
    assert len(server.requests) == 30
    assert took >= 30 / 20 - SOON


def test_our_own_waits_for_a_turn_are_no_slowness_of_the_host(
    server: FaultServer, site: Site
) -> None:
    work, took = pull_small_ones(server, site, 10, per_second=4)
    assert took >= 10 / 4 - SOON
    assert work.sources[0].seconds < took / 2


def test_each_redirect_waits_for_its_own_turn(server: FaultServer, site: Site) -> None:
    bodies = {f"{at}.csv": noise(100 + at, seed=at) for at in range(4)}
    urls = {path: server.serve(path, body) for path, body in bodies.items()}

    items = [
        item(path, server.serve(f"to-{path}", b"", "redirect", location=url))
        for path, url in urls.items()
    ]
    limited = share(server.netloc, rate(requests_per_second=4))
    began = time.monotonic()
    work = site.pull(order(*items, budget=Budget(shares=(limited,))))
    assert all(one.ok for one in work.items)
    assert len(server.requests) == 8
    assert time.monotonic() - began >= 8 / 4 - 0.5 - SOON


def test_no_more_streams_than_the_slice_has(server: FaultServer, site: Site) -> None:
    bodies = {f"{at}": noise((3 << 20) + at, seed=at) for at in range(6)}
    items = [item(path, server.serve(path, body), body=body) for path, body in bodies.items()]
    limited = share(server.netloc, rate(streams=2))
    work = site.pull(order(*items, budget=Budget(streams=6, shares=(limited,))))
    assert all(one.ok for one in work.items)
    assert server.peak <= 2


def test_a_429_is_counted_and_told_with_the_next_heartbeat(
    server: FaultServer, site: Site, scripted: None, impatience: None
) -> None:
    body, asked = noise(1000), []

    def answer(exchange: Exchange) -> None:
        asked.append(exchange)
        if len(asked) > 1:
            exchange.proper_head()
            exchange.send(exchange.data())
        else:
            exchange.head(429, Retry_After=1, Content_Length=0)

    one = item("a", server.serve("a", body, "scripted", answer=answer), body=body)
    lease = Lease(Budget(shares=(share(server.netloc, rate()),)))
    work = site.pull(order(one), lease)
    assert work.items[0].ok
    [report] = work.sources
    assert (report.throttled, report.retry_after) == (1, 1.0)
    _, [told] = lease.quotas.demands(time.monotonic())
    assert (told.host, told.retry_after) == (server.netloc, 1.0)
    assert lease.quotas.demands(time.monotonic())[1] == ()


def test_a_503_that_asks_for_nothing_is_counted_and_not_told(
    server: FaultServer, site: Site, scripted: None, impatience: None
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(503, Content_Length=0)

    one = item("a", server.serve("a", b"x", "scripted", answer=answer), body=b"x")
    lease = Lease()
    [report] = site.pull(order(one), lease).sources
    assert report.throttled >= 1
    assert report.retry_after is None
    assert lease.quotas.demands(time.monotonic())[1] == ()


def test_a_slice_is_used_within_its_time_whatever_messages_take() -> None:
    quotas = Quotas()
    quotas.hear([share(HOST, rate(seconds=10, begins=2))], asked=100.0, heard=103.0)
    assert not quotas.open(HOST, 104.9)
    assert quotas.open(HOST, 105.1)
    assert quotas.grant(HOST, 109.9, 1)
    assert not quotas.grant(HOST, 110.1, 1)


def test_what_was_not_used_in_one_slice_is_not_saved_for_another() -> None:
    quotas = Quotas()
    first, later = rate(seconds=10, bytes_per_second=1000), rate(20, 15, bytes_per_second=1000)
    quotas.hear([share(HOST, first, later)], asked=0.0, heard=0.0)
    assert quotas.grant(HOST, 9.0, 5000) == 500
    assert quotas.grant(HOST, 14.0, 5000) == 0
    assert quotas.grant(HOST, 15.0, 5000) == 0
    assert quotas.grant(HOST, 15.4, 5000) == pytest.approx(400, abs=1)


def test_streams_end_before_their_slice_but_for_those_that_the_next_one_has() -> None:
    quotas, ends = Quotas(), 10 - GUARD_SECONDS
    told = share(HOST, rate(10, streams=3), rate(20, 10, streams=2))
    quotas.hear([told], asked=0.0, heard=0.0)
    held = [quotas.enter(HOST, 1.0) for _ in range(3)]
    assert [one is not None and quotas.ends(one, ends - 0.01) for one in held] == [False] * 3
    assert held[2] is not None
    quotas.leave(held[2], 2.0)
    assert quotas.open(HOST, ends - 0.01)
    assert not quotas.open(HOST, ends + 0.01)
    for now in (ends + 0.01, 10.0, 20 - GUARD_SECONDS - 0.01):
        assert [one is not None and quotas.ends(one, now) for one in held] == [False] * 3
    assert quotas.ends(held[0], 20 - GUARD_SECONDS + 0.01)


def test_nothing_is_asked_while_too_many_streams_are_held() -> None:
    quotas = Quotas()
    quotas.hear([share(HOST, rate(streams=2))], 0.0, 0.0)
    held = [quotas.enter(HOST, 1.0) for _ in range(2)]
    quotas.hear([share(HOST, rate(streams=1))], 2.0, 2.0)
    assert quotas.request(HOST, 3.0)
    assert [quotas.ends(one, 3.0) for one in held] == [True, False]
    assert quotas.request(HOST, 3.0)
    quotas.leave(held[0], 3.0)
    assert not quotas.request(HOST, 3.0)


def test_a_stream_whose_answer_was_broken_off_is_free_once_its_server_has_seen_that() -> None:
    quotas = Quotas()
    quotas.hear([share(HOST, rate(streams=1))], 0.0, 0.0)
    for asked, later in ((False, 0.0), (True, CLOSING_SECONDS)):
        held = quotas.enter(HOST, 1.0)
        assert held is not None
        held.asked = asked
        quotas.leave(held, 1.0)
        assert quotas.open(HOST, 1.0) == (not asked)
        assert quotas.open(HOST, 1.0 + later)


@pytest.mark.parametrize("whole", [True, False])
def test_only_an_answer_that_came_whole_leaves_its_stream_at_once(
    server: FaultServer, site: Site, scripted: None, whole: bool
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.head(403, Content_Length=0 if whole else 1 << 20)
        if not whole:
            hangs_up(exchange, lambda: False)

    one = item("a", server.serve("a", b"x", "scripted", answer=answer), body=b"x")
    lease = Lease(Budget(shares=(share(server.netloc, rate(streams=1)),)))
    began = time.monotonic()
    assert not site.pull(order(one), lease).items[0].ok
    assert lease.quotas.open(server.netloc, began) == whole


def test_streams_are_closed_at_the_server_before_the_slice_that_had_them_ends(
    server: FaultServer, site: Site, scripted: None
) -> None:
    go_on = threading.Event()
    items = halting(server, 3, go_on)
    lease, ends = Lease(), time.monotonic() + 2.0
    hear(lease, share(server.netloc, rate(2.0, streams=3), rate(60, 2.0, streams=1)))
    thread, done = begin(site, order(*items), lease)
    try:
        until(lambda: server.active == 3)
        until(lambda: server.active == 1)
        assert time.monotonic() < ends
    finally:
        go_on.set()
        thread.join(20)
    assert all(one.ok for one in done[0].items)


def test_streams_are_ended_while_the_disk_takes_its_time_to_land_what_came(
    server: FaultServer, site: Site, scripted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, syncing, body, fsync = threading.Event(), threading.Event(), noise(1000), os.fsync

    def slow(descriptor: int) -> None:
        syncing.set()
        go_on.wait(20)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    items = [item("small", server.serve("small", body), body=body), *halting(server, 3, go_on)]
    lease = Lease(Budget(shares=(share(server.netloc, rate(streams=3)),)))
    thread, done = begin(site, order(*items), lease)
    try:
        until(lambda: server.active == 3 and syncing.is_set())
        hear(lease, share(server.netloc, rate(streams=1)))
        until(lambda: server.active == 1, 2.0)
    finally:
        go_on.set()
        thread.join(20)
    assert all(one.ok for one in done[0].items)


def test_who_waits_for_the_turn_of_a_request_asks_nothing_once_its_stream_has_ended(
    server: FaultServer, site: Site
) -> None:
    bodies = {f"{at}": noise((3 << 20) + at, seed=at) for at in range(2)}
    items = [item(path, server.serve(path, body), body=body) for path, body in bodies.items()]
    slow = rate(0.9, requests_per_second=0.1, streams=2)
    limited = share(server.netloc, slow, rate(60, 0.9, streams=1))
    work = site.pull(order(*items, budget=Budget(shares=(limited,))))
    assert all(one.ok for one in work.items)
    assert server.peak == 1


def test_small_files_give_their_streams_back_before_the_slice_ends(
    server: FaultServer, site: Site
) -> None:
    items = serve(server, some(30))
    ends = time.monotonic() + 2.0
    lease = Lease(Budget(shares=(share(server.netloc, rate(2.0, requests_per_second=8)),)))
    rush = Rush(site, items, lease)
    assert time.monotonic() < ends
    assert rush.results
    assert {*rush.results, *rush.left} == {one.path for one in items}
    assert len(server.requests) == len(rush.results)


def test_a_provider_once_named_stays_limited() -> None:
    quotas = Quotas()
    quotas.hear([share(HOST, rate(seconds=1))], 0.0, 0.0)
    quotas.hear([], 5.0, 5.0)
    assert not quotas.open(HOST, 6.0)
    assert quotas.open("other.example", 6.0)


def test_a_provider_that_rests_is_not_wanted_and_rests_no_longer_than_the_centre_lets_it() -> None:
    quotas, rest = Quotas(), LONGEST_REST.total_seconds()
    quotas.hear([share(HOST, rate(2 * rest))], 0.0, 0.0)
    quotas.throttled(HOST, 1e19, 1.0)
    assert not quotas.open(HOST, rest)
    assert quotas.demands(rest) == ((), (Throttle(host=HOST, retry_after=rest),))
    assert quotas.open(HOST, rest + 1)
    assert quotas.demands(rest + 1) == (("p",), ())


def test_a_stream_is_given_back_to_the_provider_that_it_was_taken_of() -> None:
    quotas = Quotas()
    early = quotas.enter(HOST, 1.0)  # nobody limits it yet
    assert early is not None
    quotas.hear([share(HOST, rate(streams=1))], 2.0, 2.0)
    assert quotas.enter(HOST, 3.0)
    quotas.leave(early, 3.5)
    assert quotas.enter(HOST, 4.0) is None


def test_a_complaint_that_the_centre_could_not_hear_is_told_again() -> None:
    quotas = Quotas()
    quotas.throttled(HOST, 5.0, 1.0)
    _, told = quotas.demands(1.0)
    quotas.throttled(HOST, 2.0, 2.0)
    quotas.put_back(told)
    assert quotas.demands(3.0)[1] == told


@pytest.mark.parametrize("size", [1000, 3 << 20], ids=["small", "large"])
def test_a_run_that_ends_waits_for_no_slice(server: FaultServer, site: Site, size: int) -> None:
    bodies = {f"{at}.csv": noise(size + at, seed=at) for at in range(10)}
    items = [item(path, server.serve(path, body), body=body) for path, body in bodies.items()]
    slow = share(server.netloc, rate(requests_per_second=0.01, streams=1))
    lease = Breaking(Budget(shares=(slow,)))
    lease.enough = lambda: not lease.quotas.open(server.netloc, time.monotonic())

    with pytest.raises(RuntimeError, match="enough"):
        site.pull(order(*items), lease)

    working = [one for one in threading.enumerate() if one.name in {"pull", "quick"}]
    for thread in working:
        thread.join(2)
        assert not thread.is_alive()


class Breaking(Lease):
    """A lease that its owner breaks off, of which only the main thread hears."""

    enough: Callable[[], bool]

    def check(self) -> None:
        if threading.current_thread() is threading.main_thread() and self.enough():
            raise RuntimeError("enough")
