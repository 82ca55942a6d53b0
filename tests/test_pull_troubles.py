"""Troubles that come together: lies, breaks, pauses and disk errors at the worst moment."""

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fleet.messages import Budget
from tests.fault_exchange import Closed, Exchange
from tests.fault_kinds import none
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order, until, v1_pieces
from tests.trouble_support import (
    BODY,
    GONE,
    LIE,
    NAME,
    OTHER,
    PATIENCE,
    SMALL,
    Patience,
    assert_right,
    blamed,
    hangs_up,
    leave,
)
from workers.lease import Lease
from workers.pull.extents import GRANULE

pytestmark = pytest.mark.usefixtures("impatience", "scripted")


class Pausable(Lease):
    """A lease that a test pauses."""

    pausing = False

    @property
    def paused(self) -> bool:
        return self.pausing


# Answers that ignore ranges


def test_an_answer_that_ignores_its_range_spoils_no_file_that_is_whole(
    site: Site, servers: list[FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(site, bytes(GRANULE) + BODY[GRANULE:], b"\0" + b"\1" * 7, GONE)
    url = servers[0].serve(NAME, BODY[:GRANULE] + LIE[GRANULE:], "no_ranges")
    before = BODY[: 4 * GRANULE]
    busy = [item(path, servers[1].serve(path, before), body=before) for path in ("a", "b")]
    fsync, pwrite = os.fsync, os.pwrite
    writing, synced = threading.Event(), threading.Event()

    def slow_fsync(descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size == len(before):  # nobody is free to prove a file until there is more to write
            writing.wait(1.0)
        fsync(descriptor)
        if size == len(BODY):
            synced.set()

    def slow_pwrite(descriptor: int, data: Any, at: int) -> int:
        if at >= GRANULE and os.fstat(descriptor).st_size == len(BODY):
            writing.set()  # the file may be hashed now, and is not yet published
            synced.wait(1.0)
            synced.set()
        return pwrite(descriptor, data, at)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    monkeypatch.setattr(os, "pwrite", slow_pwrite)
    items = [*busy, item(NAME, url, body=BODY)]

    work = site.pull(order(*items, budget=Budget(streams=1)))

    assert work.items[2].ok == site.file(NAME).exists()
    assert not work.items[2].ok or site.file(NAME).read_bytes() == BODY


def test_an_answer_that_ignores_its_range_costs_nothing_that_is_held(
    site: Site, servers: list[FaultServer]
) -> None:
    held = bytes(GRANULE) + BODY[GRANULE : 5 * GRANULE] + bytes(GRANULE) + BODY[6 * GRANULE :]
    leave(site, held, b"\0\1\1\1\1\0\1\1", GONE)
    urls = [servers[0].serve(NAME, BODY[:GRANULE] + LIE[GRANULE:], "no_ranges")]
    urls.append(servers[1].serve(NAME, BODY))

    work = site.pull(order(item(NAME, *urls, body=BODY), budget=Budget(streams=1)))

    assert_right(site, work)
    assert servers[1].sent[NAME] <= 2 * GRANULE


# Liars


@pytest.mark.parametrize("streams", [1, 4])
def test_a_liar_that_hangs_up_within_each_piece_is_convicted(
    site: Site, servers: list[FaultServer], streams: int
) -> None:
    length = 4 * GRANULE
    urls = [servers[0].serve(NAME, LIE, "truncated", cuts=(GRANULE + GRANULE // 2,))]
    urls.append(servers[1].serve(NAME, BODY))
    wanted = order(
        item(NAME, *urls, body=BODY),
        shard="s1",
        piece_length=length,
        digests=("sha256",),
        budget=Budget(streams=streams),
    )
    lease = Patience(servers)
    lease.budget = wanted.budget

    work = site.pull(wanted, lease, known=v1_pieces(BODY, length))

    assert_right(site, work)
    assert set(blamed(work)) == {servers[0].netloc}
    assert "sent the wrong bytes" in blamed(work)[servers[0].netloc]
    assert len(servers[0].requests) <= 12


def test_a_page_of_an_earlier_attempt_is_replaced(site: Site, servers: list[FaultServer]) -> None:
    leave(site, (b"<!doctype html>" + LIE)[: 4 * GRANULE], b"\1" * 4, GONE)
    url = servers[0].serve(NAME, BODY)

    work = site.pull(order(item(NAME, url, body=BODY)))

    assert_right(site, work)
    assert blamed(work) == {}


@pytest.mark.parametrize(
    ("body", "fault", "options"),
    [
        (BODY, "huge_length", {"length": 10**17}),
        (BODY + BODY, "truncated", {"cuts": (100, None)}),
    ],
)
def test_a_lie_about_an_unknown_size_puts_no_honest_source_out(
    site: Site, servers: list[FaultServer], body: bytes, fault: str, options: dict[str, Any]
) -> None:
    urls = [servers[0].serve(NAME, body, fault, **options), servers[1].serve(NAME, BODY)]
    known = item(NAME, body=BODY).sha256

    work = site.pull(order(item(NAME, *urls, sha256=known), max_bytes=0), Patience(servers))

    assert_right(site, work)
    assert set(blamed(work)) == {servers[0].netloc}


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        (503, {"Retry_After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}),
        (503, {"Retry_After": "9" * 4000}),
        (302, {"Location": "https://@//|(\\@*1["}),
        (302, {"Location": "//["}),
    ],
)
def test_a_hostile_header_ends_nothing_but_its_source(
    site: Site, servers: list[FaultServer], code: int, headers: dict[str, str]
) -> None:
    bad = servers[0].serve(NAME, BODY, "status", code=code, headers=headers)
    alone = servers[0].serve(OTHER, BODY, "status", code=code, headers=headers)
    good = servers[1].serve(NAME, BODY)

    work = site.pull(order(item(NAME, bad, good, body=BODY), item(OTHER, alone, body=BODY)))

    assert_right(site, work)
    assert not work.items[1].ok
    assert work.items[1].reason
    assert servers[0].netloc in blamed(work)
    assert servers[1].netloc not in blamed(work)


# Breaks and refusals


def test_one_glitch_that_breaks_all_connections_of_a_host_is_one_try(
    site: Site, servers: list[FaultServer]
) -> None:
    body, lease = BODY + noise(8 * GRANULE, seed=3), Lease(Budget(streams=4))
    broken = []

    def glitch(exchange: Exchange) -> None:
        if exchange.time >= 4:
            none(exchange)
            return
        exchange.proper_head()
        exchange.send(exchange.data()[:GRANULE])
        until(lambda: lease.bytes_done >= 4 * GRANULE)
        broken.append(exchange.time)
        raise Closed

    url = servers[0].serve(NAME, body, "scripted", answer=glitch)

    work = site.pull(order(item(NAME, url, body=body)), lease)

    assert sorted(broken) == [0, 1, 2, 3]
    assert work.items[0].ok, work.items[0].reason
    assert site.file(NAME).read_bytes() == body


def test_a_host_that_asks_to_be_left_alone_is_left_alone(
    site: Site, servers: list[FaultServer]
) -> None:
    headers = {"Retry_After": 60}
    bodies = [noise(2 * GRANULE, seed) for seed in range(40)]
    items = [
        item(path, servers[0].serve(path, body, "status", code=429, headers=headers), body=body)
        for path, body in ((f"{at}.zip", body) for at, body in enumerate(bodies))
    ]

    work = site.pull(order(*items))

    assert not any(one.ok for one in work.items)
    assert all(one.reason.startswith(servers[0].netloc) for one in work.items)
    assert len(servers[0].requests) <= 8


def test_silent_sources_do_not_hold_up_the_end(
    site: Site, servers: list[FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    body, [server, *silent] = noise(24 * GRANULE), servers
    fsync = os.fsync
    proved = 0.0

    def noted(descriptor: int) -> None:
        nonlocal proved
        fsync(descriptor)
        if os.fstat(descriptor).st_size == len(body):
            proved = time.monotonic()

    def patient(exchange: Exchange) -> None:
        exchange.proper_head()
        data = exchange.data()
        exchange.send(data[:GRANULE])
        until(lambda: all(other.held.is_set() for other in silent), PATIENCE)
        exchange.send(data[GRANULE:])

    urls = [server.serve(NAME, body, "scripted", answer=patient)]
    urls += [other.serve(NAME, body, "silent") for other in silent]
    monkeypatch.setattr(os, "fsync", noted)
    budget = Budget(streams=len(servers))

    work = site.pull(order(item(NAME, *urls, body=body), budget=budget), stall_seconds=30)

    took = time.monotonic() - proved
    assert work.items[0].ok, work.items[0].reason
    assert took < 3, "two seconds for each of three were too many"


# Budgets and pauses


def test_our_own_cut_of_an_answer_without_a_length_is_not_its_end(
    site: Site, servers: list[FaultServer]
) -> None:
    lease, cut = Lease(Budget(streams=2)), threading.Event()

    def as_in_the_nineties(exchange: Exchange) -> None:
        exchange.whole()
        exchange.proper_head(Content_Length=None, Connection="close")
        exchange.send(BODY[:GRANULE])
        exchange.server.held.set()
        if not exchange.time and hangs_up(exchange, cut.is_set, seconds=1.0):
            cut.set()
            raise Closed
        exchange.send(BODY[GRANULE:])
        raise Closed

    names = [NAME, OTHER]
    items = [
        item(
            name,
            server.serve(name, BODY, "scripted", answer=as_in_the_nineties),
            sha256=item(name, body=BODY).sha256,
        )
        for name, server in zip(names, servers, strict=False)
    ]
    with ThreadPoolExecutor() as pool:
        pulled = pool.submit(site.pull, order(*items), lease)
        until(lambda: all(server.held.is_set() for server in servers[:2]))
        lease.budget = Budget(streams=1)
        work = pulled.result()

    assert [one.reason for one in work.items] == ["", ""]
    assert blamed(work) == {}
    assert [site.file(name).read_bytes() for name in names] == [BODY, BODY]


def test_a_pause_longer_than_a_server_waits_for_us_is_no_fault_of_it(
    site: Site, servers: list[FaultServer]
) -> None:
    body, lease = noise(32 * GRANULE), Pausable(Budget(streams=1))
    gave_up = threading.Event()

    def impatient(exchange: Exchange) -> None:
        if exchange.time:
            none(exchange)
            return
        exchange.proper_head()
        data = exchange.data()
        exchange.send(data[:GRANULE])
        lease.pausing = True
        exchange.connection.settimeout(1.5)
        try:  # more than the sockets on the way can hold
            exchange.send(data[GRANULE:])
        except TimeoutError:
            gave_up.set()
            exchange.reset()
        finally:
            lease.pausing = False

    url = servers[0].serve(NAME, body, "scripted", answer=impatient)

    work = site.pull(order(item(NAME, url, body=body)), lease)

    assert gave_up.is_set()
    assert work.items[0].ok, work.items[0].reason
    assert blamed(work) == {}


# Disk errors


def test_a_disk_error_in_the_last_sync_ends_that_item_alone(
    site: Site, servers: list[FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if os.fstat(descriptor).st_size == len(BODY):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    one = item(NAME, servers[0].serve(NAME, BODY), body=BODY)
    other = item(OTHER, servers[1].serve(OTHER, SMALL), body=SMALL)

    work = site.pull(order(one, other))

    assert [result.ok for result in work.items] == [False, True]
    assert work.items[0].fault == "local"
    assert work.items[0].reason == f"this host cannot store {NAME}: Input/output error"
    assert blamed(work) == {}
    assert site.file(OTHER).read_bytes() == SMALL


def test_a_liar_that_goes_on_with_a_piece_of_an_earlier_attempt_is_convicted_in_the_end(
    site: Site, servers: list[FaultServer]
) -> None:
    length = 4 * GRANULE
    liar = servers[0].serve(NAME, LIE, "truncated", cuts=(GRANULE + GRANULE // 2,))
    leave(site, LIE, b"\1" + bytes(7), liar)
    wanted = order(
        item(NAME, liar, servers[1].serve(NAME, BODY), body=BODY),
        shard="s1",
        piece_length=length,
        digests=("sha256",),
        budget=Budget(streams=1),
    )
    lease = Patience(servers)
    lease.budget = wanted.budget

    work = site.pull(wanted, lease, known=v1_pieces(BODY, length))

    assert_right(site, work)
    assert set(blamed(work)) == {servers[0].netloc}


@pytest.mark.parametrize("proven", [True, False])
def test_the_end_of_a_part_is_not_taken_for_the_end_of_a_file_of_unknown_size(
    site: Site, servers: list[FaultServer], *, proven: bool
) -> None:
    def part(exchange: Exchange) -> None:
        if exchange.asked.range is None:
            exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
            exchange.chunk(BODY[: 5 * GRANULE // 2])
            raise Closed
        start = exchange.span[0]
        data = BODY[start : start + GRANULE]
        tells = f"bytes {start}-{start + len(data) - 1}/*"
        exchange.proper_head(Content_Length=len(data), Content_Range=tells)
        exchange.send(data)

    url = servers[0].serve(NAME, BODY, "scripted", answer=part)
    wanted = item(NAME, url, body=BODY) if proven else item(NAME, url)
    wanted = wanted.model_copy(update={"size": None})

    work = site.pull(order(wanted), Patience(servers))

    assert not work.items[0].ok
    assert "without telling its size" in work.items[0].reason
    assert not site.file(NAME).exists()


def test_one_busy_moment_of_a_host_counts_once_however_many_items_meet_it(
    site: Site, servers: list[FaultServer]
) -> None:
    met, lock, all_met = [0], threading.Lock(), threading.Event()

    def busy(exchange: Exchange) -> None:
        with lock:
            met[0] += 1
            early = met[0] <= 4
        if not early:
            return none(exchange)
        if met[0] == 4:
            all_met.set()
        all_met.wait(PATIENCE)
        exchange.head(503, Retry_After=1, Content_Length=0)
        return None

    bodies = {f"part-{number}": noise(2 * GRANULE, seed=number) for number in range(6)}
    items = [
        item(name, servers[0].serve(name, body, "scripted", answer=busy), body=body)
        for name, body in bodies.items()
    ]

    work = site.pull(order(*items), Patience(servers))

    assert [one.reason for one in work.items if not one.ok] == []


class Noting(Lease):
    """A lease that remembers all that was noted on it."""

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "note":
            self.__dict__.setdefault("notes", []).append(value)


def test_a_wait_of_the_source_s_choosing_is_told(site: Site, servers: list[FaultServer]) -> None:
    def busy(exchange: Exchange) -> None:
        if len(servers[0].requests) > 1:
            return none(exchange)
        return exchange.head(503, Retry_After=1, Content_Length=0)

    lease = Noting()
    url = servers[0].serve(NAME, BODY, "scripted", answer=busy)

    work = site.pull(order(item(NAME, url, body=BODY)), lease)

    assert_right(site, work)
    [told] = [note for note in lease.notes if note]
    assert told.startswith("waits before it asks again: ")
    assert "503" in told
    assert lease.note == ""
