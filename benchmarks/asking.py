"""Who asks a server when it is measured: `python -m benchmarks.asking HOST:PORT REQUESTS`.

A process of its own, of which each connection asks anew as soon as it was answered.  It reads of an
answer no more than where it ends, for it must be faster than who is asked: ``busy`` is the share of
a core that it used.  Requests come from its standard input, one path a line, and are repeated.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice

CONNECTIONS = 64
_COUNTRIES = ("CA", "US", "NL", "JP", "BR")


class _Connection(asyncio.Protocol):
    """Asks one thing after the other; answers have no body."""

    def __init__(self, requests: Iterator[bytes], done: asyncio.Future[None]) -> None:
        self.waits: list[float] = []
        self.other = 0
        self._requests, self._done = requests, done
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        self.waits.append(time.perf_counter() - self._asked)
        self.other += not self._received.startswith(b"HTTP/1.1 307 ")
        self._received = b""
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server hung up"))

    def _ask(self) -> None:
        request = next(self._requests, None)
        if request is None:
            if not self._done.done():
                self._done.set_result(None)
            return
        self._asked = time.perf_counter()
        self._transport.write(request)


async def _ask(host: str, port: int, requests: Iterator[bytes]) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    done = [loop.create_future() for _ in range(CONNECTIONS)]
    made = [
        await loop.create_connection(partial(_Connection, requests, one), host, port)
        for one in done
    ]
    await asyncio.gather(*done)
    return [protocol for _, protocol in made]


def main() -> None:
    """Ask, and print what came of it."""
    (host, _, port), count = sys.argv[1].rpartition(":"), int(sys.argv[2])
    paths = [line.strip() for line in sys.stdin]
    asked = [
        f"GET {path} HTTP/1.1\r\nHost: here\r\nAccept: */*\r\nCF-IPCountry: {country}\r\n\r\n"
        for path, country in zip(paths, cycle(_COUNTRIES), strict=False)
    ]
    requests = islice(cycle([one.encode() for one in asked]), count)
    began, cpu = time.perf_counter(), time.process_time()
    connections = asyncio.run(_ask(host, int(port), requests))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    waits = sorted(wait for one in connections for wait in one.waits)
    result = {
        "seconds": seconds,
        "requests": len(waits),
        "p50_ms": 1000 * waits[len(waits) // 2],
        "p99_ms": 1000 * waits[len(waits) * 99 // 100],
        "other_answers": sum(one.other for one in connections),
        "busy": cpu / seconds,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
