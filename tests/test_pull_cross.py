"""Cross-examinations: only the whole file's digest is known, and it is wrong."""

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleet.messages import Budget
from tests.fault_exchange import Closed, Exchange
from tests.fault_kinds import none
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order, until
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
    leave_disputed,
)
from workers.lease import Lease
from workers.pull import Watch, pull
from workers.pull.extents import GRANULE

pytestmark = pytest.mark.usefixtures("impatience", "scripted")


def test_who_ignores_ranges_in_a_cross_examination_is_put_out(
    site: Site, servers: list[FaultServer]
) -> None:
    honest, liar = servers[0].serve(NAME, BODY), servers[1].serve(NAME, LIE, "no_ranges")
    leave_disputed(site, honest, liar)

    work = site.pull(order(item(NAME, honest, liar, body=BODY)), Patience(servers))

    assert_right(site, work)
    assert set(blamed(work)) == {servers[1].netloc}
    assert len(servers[1].requests) <= 4


def test_a_liar_that_breaks_off_in_every_round_is_not_asked_for_ever(
    site: Site, servers: list[FaultServer]
) -> None:
    cuts = [cut for first in range(200_000, 5 * GRANULE, 70_000) for cut in (first, None)]
    urls = [servers[0].serve(NAME, LIE, "truncated", cuts=cuts), servers[1].serve(NAME, BODY)]

    work = site.pull(order(item(NAME, *urls, body=BODY)), Patience(servers))

    assert_right(site, work)
    assert servers[0].netloc in blamed(work)
    assert len(servers[0].requests) <= 12


def test_a_liar_of_an_earlier_attempt_costs_only_what_he_sent(
    site: Site, servers: list[FaultServer]
) -> None:
    lie = bytearray(BODY)
    lie[2 * GRANULE] ^= 1
    leave(site, bytes(lie[: 7 * GRANULE]), b"\1" * 7, GONE)
    urls = [server.serve(NAME, BODY) for server in servers[:2]]

    work = site.pull(order(item(NAME, *urls, body=BODY)))

    assert_right(site, work)
    assert blamed(work) == {}
    assert work.bytes_fetched <= len(BODY) + GRANULE, "the missing end, and all of it once more"


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


def test_an_author_is_not_asked_about_its_own_bytes_however_slow_the_other_is(
    site: Site, servers: list[FaultServer]
) -> None:
    body = noise(24 * GRANULE)
    honest = servers[0]

    def slowly(exchange: Exchange) -> None:
        exchange.proper_head()
        data = exchange.data()
        step = GRANULE // 2 if len(honest.requests) <= 2 else GRANULE // 20
        for at in range(0, len(data), step):
            exchange.send(data[at : at + step])
            time.sleep(0.02)  # that is its pace

    urls = [honest.serve(NAME, body, "scripted", answer=slowly)]
    urls.append(servers[1].serve(NAME, bytes(len(body))))

    work = site.pull(order(item(NAME, *urls, body=body)), Patience(servers))

    assert work.items[0].ok, work.items[0].reason
    assert "sent the wrong bytes" in blamed(work)[servers[1].netloc]
    assert len(honest.requests) <= 12
