"""What the tests of small files share: servers that talk as they like, and a rush of items."""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from fleet.messages import Item, ItemResult
from tests.fault_server import FaultServer
from tests.pull_support import FOLDER, Site, item, noise, order
from workers.lease import Lease, Stopped
from workers.pull.landing import Landing
from workers.pull.pace import Pace
from workers.pull.quick import quick
from workers.pull.run import Run
from workers.pull.watch import Watch
from workers.pull.web import Web

MANY = 40
Behaviour = Callable[["Talk"], None]


class Talk:
    """A connection of a server that is asked for several things ahead."""

    def __init__(self, server: "Piped", connection: socket.socket, number: int) -> None:
        self.number = number
        self.asked: list[str] = []
        self._server = server
        self._connection = connection
        self._received = b""

    def next(self) -> str:
        """Wait for the next request; give its path."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        request, _, self._received = self._received.partition(b"\r\n\r\n")
        path = request.split()[1].decode().lstrip("/")
        self.asked.append(path)
        self._server.asked.append(path)
        return path

    @property
    def ahead(self) -> bool:
        """Whether another request is here already."""
        with contextlib.suppress(BlockingIOError):
            self._connection.setblocking(False)
            self._receive()
        self._connection.setblocking(True)
        return bool(self._received)

    def answer(self, path: str, *fields: str, length: int | None = None) -> None:
        body = self._server.files[path]
        lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body) if length is None else length}"]
        self.send("\r\n".join([*lines, *fields, "", ""]).encode() + body)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def _receive(self) -> None:
        more = self._connection.recv(65536)
        if not more:
            raise ConnectionError("the client went away")
        self._received += more


class Piped:
    """A server whose connections behave as a test says."""

    def __init__(self, behaviour: Behaviour, bodies: dict[str, bytes]) -> None:
        self.files = bodies
        self.asked: list[str] = []
        self.talks: list[Talk] = []
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/{path}"

    def items(self, *, proven: bool = True) -> list[Item]:
        return items_of(self.files, self.url, proven=proven)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._sockets.append(connection)
                talk = Talk(self, connection, len(self.talks))
                self.talks.append(talk)
                thread = threading.Thread(target=self._talk, args=(connection, talk))
                self._threads.append(thread)
                thread.start()

    def _talk(self, connection: socket.socket, talk: Talk) -> None:
        with contextlib.suppress(OSError), connection:
            self._behaviour(talk)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


class Rush:
    """One quick pull: what it delivered and what it left."""

    def __init__(
        self, site: Site, items: list[Item], lease: Lease | None = None, **fields: Any
    ) -> None:
        settings = site.settings(stall_seconds=fields.pop("stall_seconds", 5.0))
        rest = fields.pop("rest_seconds", 0.0)
        client = Web(settings, context=fields.pop("tls", None), resolve=lambda *_: ["127.0.0.1"])
        given = order(*fields.pop("all_items", items), **fields)
        self.site = site
        self.items = items
        self.results: dict[str, ItemResult] = {}
        self.stopped = False
        lease = lease or Lease(given.budget)
        with client as web, Landing(site.storage) as landing:
            self.run = Run(
                given, site.storage, lease, settings, b"", Watch(), web, landing, Pace(lease)
            )
            if rest:
                self.run.tallies.of(items[0].sources[0]).ready_at = time.monotonic() + rest
            try:
                left = quick(self.run, items, self._delivered)
            except Stopped:
                self.stopped, left = True, []
        self.left = {one.path for one in left}

    def _delivered(self, one: Item, result: ItemResult) -> None:
        assert one.path not in self.results
        self.results[one.path] = result

    def check(self) -> None:
        """What was delivered is right and in its place, and nothing else is anywhere."""
        for one in self.items:
            if one.path in self.results and one.sha256:
                body = self.site.file(one.path).read_bytes()
                assert hashlib.sha256(body).hexdigest() == one.sha256
        assert self.site.visible() == sorted(f"{FOLDER}/{path}" for path in self.results)
        assert self.site.staged() == []
        assert self.stopped or self.left == {one.path for one in self.items} - set(self.results)


def bodies(many: int = MANY, size: int = 1000) -> dict[str, bytes]:
    return {f"d{at % 3}/{at:04}.csv": noise(size, at) for at in range(many)}


def items_of(
    files: dict[str, bytes], url: Callable[[str], str], *, proven: bool = True
) -> list[Item]:
    return [
        item(path, url(path), body=body) if proven else item(path, url(path), size=len(body))
        for path, body in files.items()
    ]


def serve(server: FaultServer, files: dict[str, bytes], *, proven: bool = True) -> list[Item]:
    for path, body in files.items():
        server.serve(path, body)
    return items_of(files, server.url, proven=proven)
