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
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, unquote

PAGE = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
PATIENCE = 20.0
STEP = 64 * 1024


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def start(self) -> int:
        return int(self.range.removeprefix("bytes=").split("-")[0]) if self.range else 0


@dataclass
class File:
    """A body, how it is served, and what its fault needs to know."""

    body: bytes
    fault: str
    etag: str
    modified: str
    options: dict[str, Any]
    times: int = 0


class Closed(Exception):
    """The exchange ends by closing the connection."""


@dataclass
class Exchange:
    """One request being answered; ``time`` counts the requests for its file from 0."""

    server: "FaultServer"
    connection: socket.socket
    asked: Asked
    file: File
    time: int
    sent: int = 0
    _range: tuple[int, int] | None = field(init=False)

    def __post_init__(self) -> None:
        self._range = self._wanted()

    @property
    def span(self) -> tuple[int, int]:
        """The bytes to send, end excluded."""
        return self._range or (0, len(self.file.body))

    def _wanted(self) -> tuple[int, int] | None:
        """The range asked for, if ``If-Range`` lets it be served."""
        text = self.asked.range
        condition = self.asked.headers.get("if-range")
        if text is None or condition not in {None, self.file.etag, self.file.modified}:
            return None
        first, _, last = text.removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1 if last else len(self.file.body), len(self.file.body))

    def head(self, status: int, **headers: str | int | None) -> None:
        """Send a status and headers; ``None`` leaves one out, ``_`` stands for ``-``."""
        lines = [f"HTTP/1.1 {status} Whatever"]
        lines += [
            f"{name.replace('_', '-')}: {value}"
            for name, value in headers.items()
            if value is not None
        ]
        self.connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def send(self, data: bytes) -> None:
        """Send a part of the body, counted."""
        for at in range(0, len(data), STEP):
            step = data[at : at + STEP]
            self.connection.sendall(step)
            self.sent += len(step)
            self.server.count(self.asked.path, len(step))

    def chunk(self, data: bytes) -> None:
        """Send a part of a chunked body."""
        self.connection.sendall(f"{len(data):x}\r\n".encode())
        self.send(data)
        self.connection.sendall(b"\r\n")

    def proper_head(self, **changed: str | int | None) -> None:
        """Send the headers that an honest server would, but for those that are given."""
        start, end = self.span
        whole = len(self.file.body)
        headers: dict[str, str | int | None] = {
            "Content_Type": "application/octet-stream",
            "Content_Length": end - start,
            "ETag": self.file.etag or None,
            "Last_Modified": self.file.modified or None,
            "Accept_Ranges": "bytes",
        }
        if self._range is not None:
            headers["Content_Range"] = f"bytes {start}-{end - 1}/{whole}"
        self.head(200 if self._range is None else 206, **{**headers, **changed})

    def whole(self) -> None:
        """Forget the range."""
        self._range = None

    def data(self) -> bytes:
        """Give the bytes that the request asks for."""
        start, end = self.span
        return self.file.body[start:end]

    def hold(self) -> None:
        """Wait until the test releases the server, or the client gives up."""
        self.connection.settimeout(0.05)
        while not self.server.released.is_set():
            try:
                if self.connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        raise Closed

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise Closed


Fault = Callable[[Exchange], None]
FAULTS: dict[str, Fault] = {}


def _fault(answer: Fault) -> Fault:
    FAULTS[answer.__name__] = answer
    return answer


@_fault
def none(exchange: Exchange) -> None:
    """Serve it as it should be."""
    exchange.proper_head()
    exchange.send(exchange.data())


@_fault
def no_validators(exchange: Exchange) -> None:
    """Serve ranges, but say nothing that tells one state of the file from another."""
    cut = _cut(exchange)
    exchange.proper_head(ETag=None, Last_Modified=None)
    _send_cut(exchange, cut)


@_fault
def dated(exchange: Exchange) -> None:
    """Serve with a Last-Modified but no ETag."""
    cut = _cut(exchange)
    exchange.proper_head(ETag=None)
    _send_cut(exchange, cut)


@_fault
def no_ranges(exchange: Exchange) -> None:
    """Ignore every range."""
    exchange.whole()
    cut = _cut(exchange)
    exchange.proper_head(Accept_Ranges=None)
    _send_cut(exchange, cut)


@_fault
def truncated(exchange: Exchange) -> None:
    """Close each answer after so many bytes (``cuts``, the last one for ever)."""
    cut = _cut(exchange)
    exchange.proper_head()
    _send_cut(exchange, cut)


@_fault
def resetting(exchange: Exchange) -> None:
    """Reset the connection half way, the first time."""
    exchange.proper_head()
    data = exchange.data()
    exchange.send(data if exchange.time else data[: len(data) // 2])
    if exchange.time == 0:
        exchange.reset()


@_fault
def short_ranges(exchange: Exchange) -> None:
    """Answer any range with at most ``most`` bytes, as RFC 9110 lets a server do."""
    if exchange.asked.range is None:
        truncated(exchange)
    start, end = exchange.span
    exchange._range = (start, min(end, start + exchange.file.options["most"]))
    none(exchange)


@_fault
def chunked(exchange: Exchange) -> None:
    """Serve it without a length, properly chunked."""
    exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
    exchange.chunk(exchange.data())
    exchange.connection.sendall(b"0\r\n\r\n")


@_fault
def chunked_truncated(exchange: Exchange) -> None:
    """Close a chunked answer half way, the first time."""
    exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
    data = exchange.data()
    exchange.chunk(data if exchange.time else data[: len(data) // 2])
    if exchange.time == 0:
        raise Closed
    exchange.connection.sendall(b"0\r\n\r\n")


@_fault
def endless_chunked(exchange: Exchange) -> None:
    """Never stop sending."""
    exchange.whole()
    exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
    while not exchange.server.released.is_set():
        exchange.chunk(b"\xaa" * STEP)
    raise Closed


@_fault
def bad_chunks(exchange: Exchange) -> None:
    """Break the chunked framing."""
    exchange.proper_head(Content_Length=None, Transfer_Encoding="chunked")
    exchange.chunk(exchange.data()[:100])
    exchange.connection.sendall(b"not a size\r\n")
    raise Closed


@_fault
def no_length(exchange: Exchange) -> None:
    """Mark the end by closing, as in the nineties."""
    exchange.whole()
    exchange.proper_head(Content_Length=None, Connection="close")
    exchange.send(exchange.data())
    raise Closed


@_fault
def huge_length(exchange: Exchange) -> None:
    """Announce ``length`` bytes, send a thousand and close."""
    exchange.whole()
    exchange.proper_head(Content_Length=exchange.file.options.get("length", 10 * 1000**3))
    exchange.send(b"\xaa" * 1000)
    raise Closed


@_fault
def html(exchange: Exchange) -> None:
    """Answer a page with status 200, labelled as one."""
    exchange.head(200, Content_Type="text/html; charset=utf-8", Content_Length=len(PAGE))
    exchange.send(PAGE)


@_fault
def html_unlabelled(exchange: Exchange) -> None:
    """Answer a page with status 200, labelled as a file."""
    exchange.head(200, Content_Type="application/zip", Content_Length=len(PAGE))
    exchange.send(PAGE)


@_fault
def compressed(exchange: Exchange) -> None:
    """Say that the body is compressed."""
    exchange.proper_head(Content_Encoding="gzip")
    exchange.send(exchange.data())


@_fault
def wrong_range(exchange: Exchange) -> None:
    """Cut the first answer; to a range, send another one."""
    if exchange.asked.range is None:
        truncated(exchange)
    start, end = exchange.span
    whole = len(exchange.file.body)
    exchange.proper_head(Content_Range=f"bytes {start + 1}-{end - 1}/{whole}")
    exchange.send(exchange.data())


@_fault
def unasked_range(exchange: Exchange) -> None:
    """Answer 206 although no range was asked for."""
    whole = len(exchange.file.body)
    exchange.head(206, Content_Range=f"bytes 0-{whole - 1}/{whole}", Content_Length=whole)
    exchange.send(exchange.file.body)


@_fault
def other_total(exchange: Exchange) -> None:
    """Cut the first answer; to a range, answer for a file of another size."""
    if exchange.asked.range is None:
        truncated(exchange)
    start, end = exchange.span
    exchange.proper_head(Content_Range=f"bytes {start}-{end - 1}/{len(exchange.file.body) + 7}")
    exchange.send(exchange.data())


@_fault
def changing(exchange: Exchange) -> None:
    """Be another file, with another ETag, at each request; cut all before the one ``settles``."""
    _change(exchange)


@_fault
def splicing(exchange: Exchange) -> None:
    """Likewise, and serve ranges of whatever the file is now, ignoring If-Range."""
    exchange.asked.headers.pop("if-range", None)
    _change(exchange)


def _change(exchange: Exchange) -> None:
    exchange.file.etag = f'"state-{exchange.time}"'
    exchange._range = exchange._wanted()
    exchange.proper_head()
    data = exchange.data()
    if exchange.time >= exchange.file.options.get("settles", 1 << 30):
        exchange.send(data)
        return
    exchange.send(bytes([exchange.time]) * (len(data) // 2))
    raise Closed


@_fault
def wrong_bytes(exchange: Exchange) -> None:
    """Serve as many bytes, one of them wrong."""
    exchange.proper_head()
    data = bytearray(exchange.data())
    data[len(data) // 2] ^= 0xFF
    exchange.send(bytes(data))


@_fault
def stalling(exchange: Exchange) -> None:
    """Send half of it and then nothing, with the connection open."""
    exchange.proper_head()
    data = exchange.data()
    exchange.send(data[: exchange.file.options.get("after", len(data) // 2)])
    exchange.server.held.set()
    exchange.hold()


@_fault
def trickling(exchange: Exchange) -> None:
    """Send a byte now and then, never long enough apart to be called silent."""
    exchange.proper_head()
    for byte in exchange.data():
        exchange.send(bytes([byte]))
        if exchange.server.released.wait(0.05):
            break
    raise Closed


@_fault
def silent(exchange: Exchange) -> None:
    """Take the request and never answer."""
    exchange.server.held.set()
    exchange.hold()


@_fault
def garbage(exchange: Exchange) -> None:
    """Speak something that is not HTTP."""
    exchange.connection.sendall(b"220 ftp.example ready\r\n")
    raise Closed


@_fault
def status(exchange: Exchange) -> None:
    """Answer ``code`` with ``headers`` the first ``times`` times, and properly from then on."""
    options = exchange.file.options
    if exchange.time >= options.get("times", 1 << 30):
        none(exchange)
        return
    exchange.head(options["code"], Content_Length=0, **options.get("headers", {}))


@_fault
def redirect(exchange: Exchange) -> None:
    """Redirect to ``location``; without one, to itself."""
    location = exchange.file.options.get("location") or exchange.server.url(exchange.asked.path)
    exchange.head(302, Location=location, Content_Length=0)


@_fault
def meeting(exchange: Exchange) -> None:
    """Answer only once ``many`` requests are under way at the same time."""
    server, many = exchange.server, exchange.file.options["many"]
    with server.changed:
        met = server.changed.wait_for(lambda: server.peak >= many, timeout=PATIENCE)
    if not met:
        raise Closed
    none(exchange)


def _cut(exchange: Exchange) -> int | None:
    """Where this answer is cut; None: it is not."""
    cuts: tuple[int | None, ...] = exchange.file.options.get("cuts", (None,))
    return cuts[min(exchange.time, len(cuts) - 1)]


def _send_cut(exchange: Exchange, cut: int | None) -> None:
    data = exchange.data()
    if cut is None or cut >= len(data):
        exchange.send(data)
        return
    exchange.send(data[:cut])
    raise Closed


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
        asked = Asked(unquote(words[1].decode("ascii").split("?")[0]).lstrip("/"), headers)
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
