"""A connection of a service: heads parsed, bodies received in big reads, answers sent."""

import contextlib
import select
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from fleet.rehearsal.exchange import STEP, Answer, Asked, Body, Piece, window

LINE = 1 << 16
BODILESS = frozenset({204, 304})


class Drop(Exception):
    """The connection is reset, here and now."""


class Gone(Exception):
    """The client has closed, or speaks no HTTP; or an answer ends with the connection."""


class Exchange(socketserver.StreamRequestHandler):
    """One connection and the requests on it, one after the other."""

    server: "Connections"
    disable_nagle_algorithm = True
    sent = 0

    def handle(self) -> None:
        """Serve requests until either side closes."""
        self._buffer = memoryview(bytearray(STEP))
        try:
            while asked := self._head():
                self.sent = 0
                self.server.serve(asked, self)
                if asked.headers.get("connection", "").lower() == "close":
                    break
        except Drop:
            self._reset()
        except (Gone, OSError):
            pass

    def _head(self) -> Asked | None:
        words = self.rfile.readline(LINE).decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return None
        headers: dict[str, str] = {}
        while line := self.rfile.readline(LINE).decode("latin-1").strip():
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        parts = urlsplit(words[1])
        segments = tuple(unquote(word) for word in parts.path.lstrip("/").split("/"))
        query = tuple(parse_qsl(parts.query, keep_blank_values=True))
        path = unquote(parts.path)
        return Asked(
            next(self.server.numbers),
            words[0],
            words[1],
            path,
            segments,
            query,
            headers,
            Body(self.server.folder),
        )

    def receive(self, asked: Asked, most: int = 0) -> None:
        """Take the body in; Drop once ``most`` bytes of it came, unless that is 0."""
        if asked.headers.get("expect", "").lower() == "100-continue":
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        for length in self._lengths(asked):
            left = length
            while left:
                got = self.rfile.readinto1(self._buffer[:left])
                if not got:
                    raise Gone
                asked.body.write(self._buffer[:got])
                left -= got
                if most and asked.body.length >= most:
                    raise Drop
        asked.body.rewind()

    def _lengths(self, asked: Asked) -> Iterator[int]:
        """Give the lengths of the body's parts: one, or its chunks'."""
        if asked.headers.get("transfer-encoding", "").lower() != "chunked":
            text = asked.headers.get("content-length", "0")
            if not text.isdecimal():
                raise Gone
            yield int(text)
            return
        while length := self._chunk():
            yield length
            self.rfile.readline(LINE)
        while self.rfile.readline(LINE).strip():
            pass

    def _chunk(self) -> int:
        try:
            return int(self.rfile.readline(LINE).split(b";")[0], 16)
        except ValueError:
            raise Gone from None

    def send(self, asked: Asked, answer: Answer, most: int | None = None) -> None:
        """Send an answer; after ``most`` bytes of its body close."""
        headers: dict[str, str | None] = {"Date": formatdate(usegmt=True), "Connection": None}
        if answer.status not in BODILESS:
            headers["Content-Length"] = str(answer.length)
        headers |= answer.headers
        lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        if asked.method == "HEAD" or answer.status in BODILESS:
            self.connection.sendall(head)
            return
        body = answer.body
        if isinstance(body, bytes):
            part = body if most is None else body[:most]
            self.connection.sendall(head + part)
            self.sent = len(part)
        else:
            self.connection.sendall(head)
            for piece in body if most is None else window(body, 0, most):
                self._send(piece)
        if self.sent < answer.length:
            raise Gone

    def _send(self, piece: Piece) -> None:
        with piece.path.open("rb") as file:
            self.sent += self.connection.sendfile(file, piece.start, piece.length)

    def stall(self) -> None:
        """Be silent until the client goes away or the service ends."""
        while not self.server.ended.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.05)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                break
        raise Gone

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()  # holds the socket open as long as it is
            self.connection.close()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Whatever"


class Connections(socketserver.ThreadingTCPServer):
    """The listening socket, and what is open on it.

    ``folder`` is for the bodies; ``serve`` takes each request whose head has come; ``numbers`` are
    theirs, from 1 on, as their heads come; ``ended`` says that the service is over.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        folder: Path,
        serve: Callable[[Asked, Exchange], None],
        ended: threading.Event,
    ) -> None:
        self.folder = folder
        self.serve = serve
        self.ended = ended
        self.numbers = count(1)  # each is given once, whichever threads ask
        self._open: set[socket.socket] = set()
        self._changing = threading.Lock()
        super().__init__(address, Exchange)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note a connection and give it its thread."""
        with self._changing:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        with self._changing:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close the port, and wake every thread that reads from a client."""
        super().server_close()
        with self._changing:
            still = list(self._open)
        for connection in still:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
