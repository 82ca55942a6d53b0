"""Pulls of real processes that die: what is fetched twice, and that the result is right."""

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.messages import Budget, Order
from tests.fault_exchange import STEP, Exchange
from tests.fault_kinds import FAULTS
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise, order, until
from workers.pull.extents import GRANULE
from workers.pull.journal import SYNCED

NAME = "census.zip"
MIB = 1024 * 1024
HEAD = 4096  # bytes of an answer that are not counted as sent

PULLER = """
import sys
from fleet.messages import Order
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull import pull
from workers.storage.posix import PosixStorage
settings = SiteSettings.model_validate_json(sys.argv[1])
order = Order.model_validate_json(sys.argv[2])
pull(order, PosixStorage(settings.store_root), Lease(order.budget), settings=settings)
"""


def steady(exchange: Exchange) -> None:
    """Serve it no faster than anybody reads, with little under way."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STEP)
    exchange.proper_head()
    data = exchange.data()
    for at in range(0, len(data), STEP):
        exchange.send(data[at : at + STEP])
        exchange.server.released.wait(0.002)


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FaultServer]]:
    monkeypatch.setitem(FAULTS, "steady", steady)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FaultServer(f"127.0.0.{at}")) for at in (1, 2, 3)]


@contextlib.contextmanager
def worker(site: Site, given: Order) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that pulls; it is dead in the end."""
    arguments = [site.settings(site_token="").model_dump_json(), given.model_dump_json()]
    with subprocess.Popen([sys.executable, "-c", PULLER, *arguments]) as process:
        try:
            yield process
        finally:
            process.kill()


def sent(servers: list[FaultServer]) -> int:
    return sum(server.sent.get(NAME, 0) for server in servers)


def queued(servers: list[FaultServer]) -> int:
    """Bytes that wait in the sockets of both ends (proc(5): the queues of /proc/net/tcp)."""
    ports = {f"{int(server.netloc.split(':')[1]):04X}" for server in servers}
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, queues = line.split()[:5]
        to_send, received = (int(part, 16) for part in queues.split(":"))
        if remote.split(":")[1] in ports:
            count += received
        elif local.split(":")[1] in ports:
            count += to_send
    return count


def kill(process: "subprocess.Popen[bytes]", servers: list[FaultServer], streams: int) -> int:
    """Kill a worker; say how many body bytes it had read at most."""
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    read = sent(servers) - queued(servers) + streams * (STEP + HEAD)
    process.kill()
    process.wait()
    until(lambda: not any(server.active for server in servers))
    return read


def lose_power(part: Path) -> int:
    """Have the machine be started anew: what was not synced is anything; say how much was."""
    head, marks = part.with_suffix(".json"), part.with_suffix(".map").read_bytes()
    head.write_text(json.dumps(json.loads(head.read_text()) | {"boot": "an earlier one"}))
    size, sealed = part.stat().st_size, 0
    with part.open("r+b") as file:
        for at in range(-(-size // GRANULE)):
            length = min(GRANULE, size - at * GRANULE)
            if at < len(marks) and marks[at] & SYNCED:
                sealed += length
                continue
            file.seek(at * GRANULE)
            file.write(bytes(length) if at % 2 else noise(length, seed=99))
    return sealed


def mirrored(servers: list[FaultServer], body: bytes, *, known: bool, streams: int) -> Order:
    urls = [server.serve(NAME, body, "steady") for server in servers]
    one = item(NAME, *urls, body=body if known else None)
    return order(one, budget=Budget(streams=streams))


@pytest.mark.parametrize(
    ("sources", "streams", "known", "seed"),
    [(1, 1, True, 1), (1, 1, False, 2), (1, 3, True, 3), (3, 3, True, 4)],
)
def test_after_kill_9_at_most_a_granule_of_each_stream_is_fetched_twice(
    servers: list[FaultServer], site: Site, sources: int, streams: int, known: bool, seed: int
) -> None:
    dice, servers = random.Random(seed), servers[:sources]
    body = noise(20 * MIB + 12345, seed=seed)
    given = mirrored(servers, body, known=known, streams=streams)
    read, kills = 0, 2
    for _ in range(kills):
        before, more = sent(servers), dice.randrange(MIB // 2, 8 * MIB)
        with worker(site, given) as process:
            until(lambda before=before, more=more: sent(servers) >= before + more)
            read += kill(process, servers, streams) - before
        assert site.visible() == []

    work = site.pull(given)

    (found,) = work.items
    assert found.ok, found.reason
    assert found.sha256 == hashlib.sha256(body).hexdigest()
    assert site.file(NAME).read_bytes() == body
    assert site.staged() == []
    twice = read + work.bytes_fetched - len(body)
    print(f"{twice=} of {kills=} {streams=}")
    assert twice <= kills * streams * (GRANULE + STEP + HEAD)


@pytest.mark.parametrize(("sources", "known"), [(1, True), (1, False), (3, True)])
def test_after_a_power_cut_what_was_sealed_is_kept_and_nothing_else_is_believed(
    servers: list[FaultServer], site: Site, sources: int, known: bool
) -> None:
    servers = servers[:sources]
    body = noise(40 * MIB + 77)
    given = mirrored(servers, body, known=known, streams=3)
    marks = site.root / ".staging" / f"{NAME}.map"
    part = marks.with_suffix(".part")

    with worker(site, given) as process:
        until(lambda: marks.exists() and any(at & SYNCED for at in marks.read_bytes()), 30)
        kill(process, servers, 3)
    sealed = lose_power(part)
    assert sealed >= 7 * GRANULE  # the eighth may be the last one, of 77 bytes

    work = site.pull(given)

    (found,) = work.items
    assert found.ok, found.reason
    assert work.bytes_fetched <= len(body) - sealed
    assert site.file(NAME).read_bytes() == body
