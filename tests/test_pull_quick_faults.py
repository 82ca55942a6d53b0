"""Hosts that do not do as they should while many small files are asked of them."""

import time
from typing import Any

import pytest

from fleet.messages import Budget
from tests.fault_server import FaultServer
from tests.pull_support import Site, noise
from tests.quick_support import MANY, Piped, Rush, Talk, bodies, serve
from workers.pull.quick.hosts import MOST_FAILURES, MOST_SHORT


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("wrong_bytes", {}),
        ("html", {}),
        ("html_unlabelled", {}),
        ("compressed", {}),
        ("chunked", {}),
        ("no_length", {}),
        ("truncated", {"cuts": (300,)}),
        ("huge_length", {}),
        ("huge_length", {"length": 1001}),
        ("huge_length", {"length": 10**30}),
        ("status", {"code": 404}),
        ("status", {"code": 500}),
        ("status", {"code": 204}),
        ("redirect", {}),
        ("garbage", {}),
        ("endless_chunked", {}),
        ("unasked_range", {}),
    ],
)
@pytest.mark.parametrize("at", [0, 25])
def test_one_bad_answer_leaves_one_item_without_blame(
    site: Site, server: FaultServer, fault: str, options: dict[str, Any], at: int
) -> None:
    items = serve(server, bodies())
    bad = items[at]
    server.serve(bad.path, noise(1000, at), fault, **options)

    rush = Rush(site, items, budget=Budget(streams=1))

    rush.check()
    (report,) = rush.run.tallies.reports()
    assert at == 0 or rush.left == {bad.path}  # who begins badly may not be asked on
    assert report.errors == 0


@pytest.mark.parametrize("fault", ["silent", "stalling", "trickling"])
def test_a_host_that_falls_silent_is_left(site: Site, server: FaultServer, fault: str) -> None:
    items = serve(server, bodies(200))
    server.serve(items[150].path, noise(1000, 150), fault)

    rush = Rush(site, items, stall_seconds=0.3, budget=Budget(streams=1))

    rush.check()
    assert items[150].path in rush.left
    assert len(rush.results) >= 100


def test_a_host_that_fails_again_and_again_is_left(site: Site, server: FaultServer) -> None:
    items = serve(server, bodies(400))
    for at, one in enumerate(items[10:]):
        server.serve(one.path, noise(1000, at), "status", code=404)

    rush = Rush(site, items, budget=Budget(streams=1))

    rush.check()
    assert set(rush.results) == {one.path for one in items[:10]}
    assert len(server.requests) < 10 + MOST_FAILURES + 64


@pytest.mark.parametrize("good", [0, 3])
@pytest.mark.parametrize(
    ("answer", "out", "rests"),
    [
        (b"429 Too Many Requests\r\nRetry-After: 60", True, False),
        (b"500 Oops\r\nRetry-After: 5", False, True),
        (b"429 Too Many Requests", False, False),
        (b"503 Service Unavailable", False, False),
    ],
)
def test_a_host_that_it_is_too_much_for_is_left_at_once(
    site: Site, good: int, answer: bytes, out: bool, rests: bool
) -> None:
    def behave(talk: Talk) -> None:
        while True:
            path = talk.next()
            if len(server.asked) <= good:
                talk.answer(path)
            else:
                talk.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % answer)

    with Piped(behave, bodies(200)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()
        assert len(rush.results) == good
        assert len(server.asked) <= 2 * good + 1  # so many were sent ahead before it said so
        (tally,) = rush.run.tallies.hosts.values()
        assert (tally.out is not None, tally.errors) == (out, int(out))
        assert (tally.ready_at > time.monotonic()) == rests


def test_a_host_that_rests_is_not_asked(site: Site, server: FaultServer) -> None:
    rush = Rush(site, serve(server, bodies()), rest_seconds=60)

    assert len(rush.left) == MANY
    assert not server.requests


def test_more_is_sent_ahead_only_as_answers_come(site: Site) -> None:
    ahead: list[int] = []

    def behave(talk: Talk) -> None:
        while True:
            paths = [talk.next()]
            while talk.ahead:
                paths.append(talk.next())
            ahead.append(len(paths))
            for path in paths:
                talk.answer(path)

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        assert not rush.left
        assert all(many <= sum(ahead[:at]) + 1 for at, many in enumerate(ahead))


def test_a_host_that_nobody_reaches_is_left(site: Site) -> None:
    with FaultServer() as gone:
        items = serve(gone, bodies())

    rush = Rush(site, items)

    rush.check()
    assert len(rush.left) == MANY


@pytest.mark.parametrize("announced", [True, False])
def test_a_host_that_closes_after_so_many_answers_is_asked_on(site: Site, announced: bool) -> None:
    def behave(talk: Talk) -> None:
        for at in range(50):
            last = announced and at == 49
            talk.answer(talk.next(), *(["Connection: close"] if last else []))

    with Piped(behave, bodies(300)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()
        assert not rush.left
        assert len(server.talks) == 6
        # Once it is known how many answers there are, nothing is asked in vain.
        assert all(len(talk.asked) == 50 for talk in server.talks[1:])


def test_a_host_that_closes_at_once_is_left(site: Site) -> None:
    with Piped(lambda talk: talk.answer(talk.next()), bodies(300)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()
        assert len(server.talks) == len(rush.results) == MOST_SHORT


def test_answers_out_of_turn_are_not_taken_for_others(site: Site) -> None:
    def behave(talk: Talk) -> None:
        talk.answer(talk.next())
        while True:
            first, second = talk.next(), talk.next()
            talk.answer(second)
            talk.answer(first)

    with Piped(behave, bodies(61)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1), stall_seconds=0.5)

        rush.check()
        assert len(rush.results) == 1


@pytest.mark.parametrize("extra", [b"x", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 70_000])
def test_bytes_between_answers_end_the_connection(site: Site, extra: bytes) -> None:
    def behave(talk: Talk) -> None:
        for _ in range(40):
            talk.answer(talk.next())
        talk.send(extra)
        while True:
            talk.answer(talk.next())

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()
        assert len(rush.results) > 90


@pytest.mark.parametrize("length", [999, 1001, 0])
def test_a_length_that_lies_puts_nothing_in_the_wrong_place(site: Site, length: int) -> None:
    def behave(talk: Talk) -> None:
        for at in range(1000):
            talk.answer(talk.next(), length=length if at % 20 == 19 else None)

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1), stall_seconds=0.5)

        rush.check()
        assert len(rush.results) >= 19


def test_an_answer_that_nobody_asked_for_is_not_taken(site: Site) -> None:
    def behave(talk: Talk) -> None:
        while True:
            path = talk.next()
            talk.answer(path)
            if len(talk.asked) % 30 == 0:
                talk.answer(path)

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()


def test_what_only_says_to_wait_is_no_answer(site: Site) -> None:
    def behave(talk: Talk) -> None:
        while True:
            path = talk.next()
            talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            talk.answer(path)

    with Piped(behave, bodies()) as server:
        rush = Rush(site, server.items())

        rush.check()
        assert not rush.left
