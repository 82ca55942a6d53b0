"""What the tests of the workers' client share: reading answers, and a server that plays a script.

The fault server behaves as real sources do; ``Script`` sends bytes that no HTTP library would.
"""

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import Self

from fleet.messages import Source
from workers.pull.web import Answer, Web


def read(answer: Answer, step: int = 1 << 16) -> bytes:
    """Read an answer's body to its end, at most ``step`` bytes at a time."""
    body = bytearray()
    view = memoryview(bytearray(step))
    while count := answer.readinto(view):
        body += view[:count]
    return bytes(body)


def get(web: Web, url: str, **headers: str) -> bytes:
    """GET a whole body."""
    answer = web.get(Source(url=url), headers)
    try:
        return read(answer)
    finally:
        answer.close()


def plain(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """A plain answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


class Script:
    """A server: to the n-th connection's m-th request it sends ``connections[n][m]``.

    After the last answer it waits for another request, and then closes without answering it.
    ``SILENCE`` stands for no answer, ``HANG_UP`` for not even waiting for the request.
    """

    SILENCE = b"<silence>"
    HANG_UP = b"<hang up>"

    def __init__(self, *connections: Sequence[bytes]) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._scripts = iter(connections)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.netloc}/census.zip"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(
                    target=self._play, args=(connection, next(self._scripts, ()))
                )
                self._threads.append(thread)
                thread.start()

    def _play(self, connection: socket.socket, script: Sequence[bytes]) -> None:
        with connection, contextlib.suppress(OSError):
            for answer in script:
                if answer == self.HANG_UP:
                    return
                self.requests.append(_request(connection))
                if answer != self.SILENCE:
                    connection.sendall(answer)
            connection.recv(1)


def _request(connection: socket.socket) -> bytes:
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        more = connection.recv(1)
        if not more:
            raise ConnectionError("the client went away")
        request += more
    return request
