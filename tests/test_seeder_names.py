"""Names that a seeder looks up: a dead resolver is the trouble of nobody else."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from workers.seeder import dialling
from workers.seeder.dialling import addresses, resolve

PATIENCE = 10.0


class Resolver:
    """The system's resolver; names that begin with "dead" wait for as long as it lives."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.busy = threading.Event()  # with two names
        self.ended = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if len(self.asked) > 1:
            self.busy.set()
        if host.startswith("dead"):
            self.ended.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    with ThreadPoolExecutor(2) as threads:
        monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
        monkeypatch.setattr(dialling, "_threads", threads)
        monkeypatch.setattr(dialling, "_failed", {})
        monkeypatch.setattr(dialling, "LOOKUP_SECONDS", 0.2)
        yield resolver
        resolver.ended.set()


def test_while_no_name_resolves_the_loops_threads_are_free(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "LOOKUP_SECONDS", PATIENCE)

    async def scene() -> None:
        looking = asyncio.create_task(resolve(f"dead{at}.example:6881" for at in range(64)))
        for wait in (resolver.busy.wait, resolver.busy.is_set):
            assert await asyncio.wait_for(asyncio.to_thread(wait), PATIENCE / 2)
        assert not looking.done()
        looking.cancel()

    asyncio.run(scene())
    assert len(resolver.asked) == 2


def test_an_address_needs_no_resolver_and_a_dead_name_is_given_up(resolver: Resolver) -> None:
    peers = ["dead.example:1", "192.0.2.7:2", "[2001:db8::1]:3", "a.example:4"]
    found = asyncio.run(resolve(peers))
    assert found == [("192.0.2.7", 2), ("2001:db8::1", 3), ("192.0.2.1", 4)]


def test_a_name_that_failed_is_not_asked_for_at_once_again_and_one_that_waited_is(
    resolver: Resolver,
) -> None:
    async def scene() -> None:
        assert await resolve(["dead1.example:1", "dead2.example:1", "a.example:1"]) == []
        resolver.ended.set()
        assert await resolve(["dead1.example:1", "a.example:1"]) == [("192.0.2.1", 1)]
        assert await addresses("dead2.example", 1) == []

    asyncio.run(scene())
    assert sorted(resolver.asked) == ["a.example", "dead1.example", "dead2.example"]
