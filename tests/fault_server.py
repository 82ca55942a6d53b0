"""A web server over real sockets that misbehaves on request; every misbehaviour has a name.

``serve`` puts a body at a path under one of ``FAULTS`` and gives its URL.  The server counts what
it was asked and what it sent, so that a test can say what a client did and not only what it got::

    with FaultServer() as server:
        url = server.serve("census.zip", b"...", fault="truncated", cuts=(100, 50))
        ...
        assert server.asked("census.zip")[1].range == "bytes=100-"
"""

import contextlib
import hashlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

from tests.fault_exchange import Asked, Closed, Exchange, File
from tests.fault_kinds import FAULTS


class _Handler(socketserver.StreamRequestHandler):
    server: "_Sockets"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        owner = self.server.owner
        with owner.changed:
            owner.connections += 1
            owner.open += 1
        with contextlib.suppress(Closed, OSError):
            while self._exchange():
                pass
        with owner.changed:
            owner.open -= 1

    def _exchange(self) -> bool:
        words = self.rfile.readline(65536).split()
        if len(words) != 3:
            return False
        headers = {}
        while line := self.rfile.readline(65536).strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        path = unquote(words[1].decode("ascii").split("?")[0]).lstrip("/")
        asked = Asked(words[0].decode("ascii"), path, headers)
        with self.server.owner.under_way(asked) as (file, time):
            if file is None:
                self.wfile.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                return True
            exchange = Exchange(self.server.owner, self.connection, asked, file, time)
            whole = len(file.body)
            if exchange.span[0] >= whole > 0:
                exchange.head(416, Content_Range=f"bytes */{whole}", Content_Length=0)
            else:
                FAULTS[file.fault](exchange)
        return True


class _Sockets(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, owner: "FaultServer", address: tuple[str, int], certificate: Path | None
    ) -> None:
        self.owner = owner
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        return connection, address


class FaultServer:
    """The server; ``start`` it or use it as a context manager."""

    def __init__(self, host: str = "127.0.0.1", certificate: Path | None = None) -> None:
        self.host = host
        self.files: dict[str, File] = {}
        self.requests: list[Asked] = []
        self.sent: dict[str, int] = {}
        self.connections = 0
        self.open = 0
        self.active = 0
        self.peak = 0
        self.released = threading.Event()
        self.held = threading.Event()
        self.changed = threading.Condition()
        self._sockets = _Sockets(self, (host, 0), certificate)
        self._thread = threading.Thread(target=self._sockets.serve_forever, args=(0.02,))

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the server's port; once more does no harm."""
        self.released.set()
        self._sockets.shutdown()
        self._sockets.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def netloc(self) -> str:
        """Host and port, as reports name them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self._sockets.server_address[1]}"

    def url(self, path: str) -> str:
        return f"http://{self.netloc}/{quote(path)}"

    def serve(
        self,
        path: str,
        body: bytes = b"",
        fault: str = "none",
        *,
        etag: str | None = None,
        modified: str | None = None,
        **options: Any,
    ) -> str:
        """Put ``body`` at ``path``; give its URL."""
        assert fault in FAULTS, fault
        if etag is None:
            etag = f'"{hashlib.sha1(body).hexdigest()[:16]}"'
        if modified is None:
            modified = formatdate(1_700_000_000, usegmt=True)
        self.files[path] = File(body, fault, etag, modified, options)
        return self.url(path)

    def asked(self, path: str) -> list[Asked]:
        """The requests for one path, in order."""
        return [asked for asked in self.requests if asked.path == path]

    def count(self, path: str, sent: int) -> None:
        """Count body bytes as sent."""
        with self.changed:
            self.sent[path] = self.sent.get(path, 0) + sent

    @contextlib.contextmanager
    def under_way(self, asked: Asked) -> Iterator[tuple[File | None, int]]:
        """Note a request, and that it is being answered."""
        with self.changed:
            self.requests.append(asked)
            file = self.files.get(asked.path)
            time = file.times if file else 0
            if file:
                file.times += 1
            self.active += 1
            self.peak = max(self.peak, self.active)
            self.changed.notify_all()
        try:
            yield file, time
        finally:
            with self.changed:
                self.active -= 1
