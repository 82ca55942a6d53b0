"""Troubles that come together: lies, breaks, pauses and disk errors at the worst moment."""

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleet.messages import Budget
from tests.fault_exchange import Closed, Exchange
from tests.fault_kinds import FAULTS, none
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order, until, v1_pieces
from workers.lease import Lease, Stopped
from workers.pull import Watch, pull
from workers.pull.journal import Author, Head, boot_id
from workers.work import Work

pytestmark = pytest.mark.usefixtures("impatience")
NAME = "census.zip"
OTHER = "other.zip"
MIB = 1024 * 1024
BODY = noise(8 * MIB)
LIE = bytes(byte ^ 1 for byte in BODY)
SMALL = noise(5000, seed=2)
GONE = "http://gone.invalid/census.zip"  # a source of an earlier attempt
PATIENCE = 5.0


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test say how a server answers: by the fault ``scripted`` and the option ``answer``."""

    def scripted(exchange: Exchange) -> None:
        exchange.file.options["answer"](exchange)

    monkeypatch.setitem(FAULTS, "scripted", scripted)


@pytest.fixture
def servers() -> Iterator[list[FaultServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FaultServer()) for _ in range(4)]


class Patience(Lease):
    """A lease that ends once these servers were asked too often, lest a test go on for ever."""

    def __init__(self, servers: Sequence[FaultServer], most: int = 60) -> None:
        super().__init__()
        self._servers = servers
        self._most = most

    def check(self) -> None:
        if sum(len(server.requests) for server in self._servers) > self._most:
            raise Stopped("asked too often")


class Pausable(Lease):
    """A lease that a test pauses."""

    pausing = False

    @property
    def paused(self) -> bool:
        return self.pausing


def leave(site: Site, body: bytes, marks: bytes, *urls: str) -> None:
    """Leave what an earlier attempt left: the granules that ``marks`` gives to these authors."""
    data = site.storage.staging(NAME)
    data.write_bytes(body)
    data.with_suffix(".map").write_bytes(marks)
    authors = tuple(Author(url=url) for url in urls)
    head = Head(boot=boot_id(), size=len(BODY), authors=authors)
    data.with_suffix(".json").write_text(head.model_dump_json())


def leave_disputed(site: Site, *urls: str, marks: bytes = b"\1\1\1\1\2\2\2\2") -> None:
    """Leave a whole file of which author 2 lies: a pull begins with a cross-examination."""
    said = [LIE if mark == 2 else BODY for mark in marks]
    body = b"".join(one[at * MIB : (at + 1) * MIB] for at, one in enumerate(said))
    leave(site, body, marks, *urls)


def assert_right(site: Site, work: Work) -> None:
    assert work.items[0].ok, work.items[0].reason
    assert site.file(NAME).read_bytes() == BODY
    assert site.staged() == []


def blamed(work: Work) -> dict[str, str]:
    """Hosts with faults, and what they are blamed for."""
    return {one.host: one.last_error for one in work.sources if one.errors}


def hangs_up(exchange: Exchange, until: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until the client closes the connection (True), or for something else (False)."""
    exchange.connection.settimeout(0.02)
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline:
        try:
            if exchange.connection.recv(1) == b"":
                return True
        except TimeoutError:
            continue
        except OSError:
            return True
    exchange.connection.settimeout(PATIENCE)
    return False


# Answers that ignore ranges


def test_an_answer_that_ignores_its_range_spoils_no_file_that_is_whole(
    site: Site, servers: list[FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(site, bytes(MIB) + BODY[MIB:], b"\0" + b"\1" * 7, GONE)
    url = servers[0].serve(NAME, BODY[:MIB] + LIE[MIB:], "no_ranges")
    before = BODY[: 4 * MIB]
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
        if at >= MIB and os.fstat(descriptor).st_size == len(BODY):
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
    held = bytes(MIB) + BODY[MIB : 5 * MIB] + bytes(MIB) + BODY[6 * MIB :]
    leave(site, held, b"\0\1\1\1\1\0\1\1", GONE)
    urls = [servers[0].serve(NAME, BODY[:MIB] + LIE[MIB:], "no_ranges")]
    urls.append(servers[1].serve(NAME, BODY))

    work = site.pull(order(item(NAME, *urls, body=BODY), budget=Budget(streams=1)))

    assert_right(site, work)
    assert servers[1].sent[NAME] <= 2 * MIB


def test_who_ignores_ranges_in_a_cross_examination_is_put_out(
    site: Site, servers: list[FaultServer]
) -> None:
    honest, liar = servers[0].serve(NAME, BODY), servers[1].serve(NAME, LIE, "no_ranges")
    leave_disputed(site, honest, liar)

    work = site.pull(order(item(NAME, honest, liar, body=BODY)), Patience(servers))

    assert_right(site, work)
    assert set(blamed(work)) == {servers[1].netloc}
    assert len(servers[1].requests) <= 4


# Liars


@pytest.mark.parametrize("streams", [1, 4])
def test_a_liar_that_hangs_up_within_each_piece_is_convicted(
    site: Site, servers: list[FaultServer], streams: int
) -> None:
    length = 4 * MIB
    urls = [servers[0].serve(NAME, LIE, "truncated", cuts=(MIB + MIB // 2,))]
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


def test_a_liar_that_breaks_off_in_every_round_is_not_asked_for_ever(
    site: Site, servers: list[FaultServer]
) -> None:
    cuts = [cut for first in range(200_000, 5 * MIB, 70_000) for cut in (first, None)]
    urls = [servers[0].serve(NAME, LIE, "truncated", cuts=cuts), servers[1].serve(NAME, BODY)]

    work = site.pull(order(item(NAME, *urls, body=BODY)), Patience(servers))

    assert_right(site, work)
    assert servers[0].netloc in blamed(work)
    assert len(servers[0].requests) <= 12


def test_a_liar_of_an_earlier_attempt_costs_only_what_he_sent(
    site: Site, servers: list[FaultServer]
) -> None:
    lie = bytearray(BODY)
    lie[2 * MIB] ^= 1
    leave(site, bytes(lie[: 7 * MIB]), b"\1" * 7, GONE)
    urls = [server.serve(NAME, BODY) for server in servers[:2]]

    work = site.pull(order(item(NAME, *urls, body=BODY)))

    assert_right(site, work)
    assert blamed(work) == {}
    assert work.bytes_fetched <= len(BODY) + MIB, "the missing end, and all of it once more"


def test_a_page_of_an_earlier_attempt_is_replaced(site: Site, servers: list[FaultServer]) -> None:
    leave(site, (b"<!doctype html>" + LIE)[: 4 * MIB], b"\1" * 4, GONE)
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


def test_all_sources_refusing_in_a_cross_examination_fail_their_item_alone(
    site: Site, servers: list[FaultServer]
) -> None:
    urls = [server.serve(NAME, BODY, "status", code=403) for server in servers[:2]]
    leave_disputed(site, *urls)
    other = servers[2].serve(OTHER, SMALL)

    work = site.pull(order(item(NAME, *urls, body=BODY), item(OTHER, other, body=SMALL)))

    assert [one.ok for one in work.items] == [False, True]
    for server in servers[:2]:
        assert f"{server.netloc}: answered 403 Forbidden" in work.items[0].reason


def test_one_glitch_that_breaks_all_connections_of_a_host_is_one_try(
    site: Site, servers: list[FaultServer]
) -> None:
    body, lease = BODY + noise(8 * MIB, seed=3), Lease(Budget(streams=4))
    broken = []

    def glitch(exchange: Exchange) -> None:
        if exchange.time >= 4:
            none(exchange)
            return
        exchange.proper_head()
        exchange.send(exchange.data()[:MIB])
        until(lambda: lease.bytes_done >= 4 * MIB)
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
    bodies = [noise(2 * MIB, seed) for seed in range(40)]
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
    body, [server, *silent] = noise(24 * MIB), servers
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
        exchange.send(data[:MIB])
        until(lambda: all(other.held.is_set() for other in silent), PATIENCE)
        exchange.send(data[MIB:])

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
        exchange.send(BODY[:MIB])
        exchange.server.held.set()
        if not exchange.time and hangs_up(exchange, cut.is_set, seconds=1.0):
            cut.set()
            raise Closed
        exchange.send(BODY[MIB:])
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
    body, lease = noise(32 * MIB), Pausable(Budget(streams=1))
    gave_up = threading.Event()

    def impatient(exchange: Exchange) -> None:
        if exchange.time:
            none(exchange)
            return
        exchange.proper_head()
        data = exchange.data()
        exchange.send(data[:MIB])
        lease.pausing = True
        exchange.connection.settimeout(1.5)
        try:  # more than the sockets on the way can hold
            exchange.send(data[MIB:])
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


def test_fewer_streams_end_the_surplus_answers_of_a_cross_examination_too(
    site: Site, servers: list[FaultServer]
) -> None:
    lease, go_on = Lease(Budget(streams=6)), threading.Event()

    def slow(exchange: Exchange) -> None:
        exchange.proper_head()
        data = exchange.data()
        exchange.send(data[:1000])
        if hangs_up(exchange, go_on.is_set):
            raise Closed
        exchange.send(data[1000:])

    bodies = [BODY, LIE, BODY]
    urls = [
        server.serve(NAME, body, "scripted", answer=slow)
        for server, body in zip(servers, bodies, strict=False)
    ]
    leave_disputed(site, *urls, marks=b"\2\1\2\1\3\1\3\2")

    def active() -> int:
        return sum(server.active for server in servers)

    with ThreadPoolExecutor() as pool:
        pulled = pool.submit(site.pull, order(item(NAME, *urls, body=BODY)), lease)
        try:
            until(lambda: active() == 3)
            lease.budget = Budget(streams=1)
            until(lambda: active() == 1, 2.0)
        finally:
            go_on.set()
        work = pulled.result()

    assert work.items[0].ok, work.items[0].reason


# Disk errors


def test_a_disk_error_in_a_cross_examination_ends_that_item_alone(
    site: Site, servers: list[FaultServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(BODY)
    watch, late = Watch(), threading.Event()
    pwrite = os.pwrite

    def failing(descriptor: int, data: Any, at: int) -> int:
        # What differs is kept in a file without a name.
        if os.fstat(descriptor).st_nlink == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pwrite(descriptor, data, at)

    def asked_too(exchange: Exchange) -> None:
        until(lambda: servers[1].requests)
        none(exchange)

    def slow_liar(exchange: Exchange) -> None:
        exchange.proper_head()
        with ExitStack() as files:
            files.callback(late.set)
            if hangs_up(exchange, lambda: watch.items_failed):
                raise Closed
            for _ in range(8):  # what was a descriptor of that item is of another file now
                files.enter_context(elsewhere.open("rb"))
            exchange.send(exchange.data())

    def slow(exchange: Exchange) -> None:
        exchange.proper_head()
        exchange.send(SMALL[:1000])
        late.wait(2 * PATIENCE)
        exchange.send(SMALL[1000:])

    honest = servers[0].serve(NAME, BODY, "scripted", answer=asked_too)
    liar = servers[1].serve(NAME, LIE, "scripted", answer=slow_liar)
    other = servers[2].serve(OTHER, SMALL, "scripted", answer=slow)
    leave_disputed(site, honest, liar)
    monkeypatch.setattr(os, "pwrite", failing)
    items = [item(NAME, honest, liar, body=BODY), item(OTHER, other, body=SMALL)]

    work = pull(order(*items), site.storage, Lease(), settings=site.settings(), watch=watch)

    assert [one.ok for one in work.items] == [False, True]
    assert work.items[0].fault == "local"
    assert work.items[0].reason == f"this host cannot store {NAME}: Input/output error"
    assert blamed(work) == {}


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
