"""The base of a stand-in: HTTP/1.1 over real sockets on loopback, with faults on demand.

A service answers one request at a time per connection, each connection in a thread::

    class Echo(Service):
        def answer(self, asked: Asked) -> Answer:
            return Answer(200, {}, asked.body.keep())

    with Echo(folder) as echo:
        echo.script.add("PUT * skip 1 lose")
        httpx.put(echo.url + "/x", content=b"...")
        assert echo.log[0].status == 200

``watch`` is called at each boundary of each request, in the thread that serves it: a test kills its
client there and knows what had happened.  A request that came whole has its effect though its
client is dead; ``Drop`` raised from ``watch`` resets the connection and prevents it.  Once answered
a client runs on: to stop it between two requests, drop the second.
"""

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from fleet.rehearsal.connection import Connections, Drop, Exchange
from fleet.rehearsal.exchange import Answer, Asked
from fleet.rehearsal.faults import Fault, Script

SECRETS = frozenset(
    {"authorization", "cookie", "x-amz-security-token", "accesskey", "access_token", "token"}
)
Phase = Literal["received", "done", "answered"]


@dataclass(frozen=True)
class Moment:
    """A boundary: request ``number`` came whole, had its effect, or was answered."""

    number: int
    phase: Phase
    asked: Asked


@dataclass
class Entry:
    """A line of the log, without secrets, there before the client has its answer.

    ``status`` is 0 where none was sent; ``sent`` is how much of its body was, once it is over.
    """

    number: int
    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    status: int
    received: int
    fault: str | None
    sent: int = 0


class Service:
    """A server on loopback; subclasses give ``answer``.  ``folder`` is for its bytes."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.script = Script()
        self.log: list[Entry] = []
        self.watch: Callable[[Moment], None] = lambda _: None
        self.ended = threading.Event()
        self._sockets = Connections((host, port), folder, self._serve, self.ended)
        self._thread = threading.Thread(target=self._sockets.serve_forever, args=(0.02,))

    def answer(self, asked: Asked) -> Answer:
        """Have the request's effect and say what to answer; called by many threads at once."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Where the service is, without a slash at the end."""
        host, port = self._sockets.server_address[:2]
        return f"http://{host!s}:{port}"

    def start(self) -> Self:
        """Serve from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the port and every connection."""
        self.ended.set()
        self._sockets.shutdown()
        self._sockets.server_close()
        self._thread.join()

    def run(self) -> None:
        """Serve as a process of its own, until SIGINT or SIGTERM."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.ended.set())
        with self:
            self.ended.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, asked: Asked, exchange: Exchange) -> None:
        """Take a request whose head has come to its end, through whatever fault meets it."""
        fault = self.script.meet(asked)
        act = fault.act if fault else None
        line = fault.line if fault else None
        said: Answer | None = None
        try:
            exchange.receive(asked, fault.count if fault and act == "drop" else 0)
            if act == "damage":
                asked.body.damage()
            self.watch(Moment(asked.number, "received", asked))
            if act == "drop":
                raise Drop
            if act == "stall":
                exchange.stall()
            said = self._said(asked, fault)
        finally:
            asked.body.close()
            entry = self._note(asked, said.status if said else 0, line)
        try:
            exchange.send(asked, said, fault.count if fault and act == "cut" else None)
        finally:
            entry.sent = exchange.sent
        self.watch(Moment(asked.number, "answered", asked))

    def _said(self, asked: Asked, fault: Fault | None) -> Answer:
        """Have the effect, unless it is refused, and give what is answered."""
        if fault and fault.act == "refuse" and fault.answer:
            return fault.answer
        said = self.answer(asked)
        self.watch(Moment(asked.number, "done", asked))
        if fault and fault.act == "lose":
            raise Drop
        return (fault and fault.act == "mask" and fault.answer) or said

    def _note(self, asked: Asked, status: int, fault: str | None) -> Entry:
        shown = tuple((key, value) for key, value in asked.query if key.lower() not in SECRETS)
        headers = tuple(pair for pair in asked.headers.items() if pair[0] not in SECRETS)
        received = asked.body.length
        line = (asked.number, asked.method, asked.path, shown, headers, status, received, fault)
        entry = Entry(*line)
        with self.lock:
            self.log.append(entry)
        return entry
