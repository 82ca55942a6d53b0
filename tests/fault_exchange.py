"""One request to the fault server, and the means to answer it well or badly."""

import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fault_server import FaultServer

STEP = 64 * 1024


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
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
        if not self.file.body:
            return None  # as nginx does it: of nothing there are no ranges
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
        """Send a part of the body, counted; who asks for the head alone gets none."""
        if self.asked.method == "HEAD":
            return
        for at in range(0, len(data), STEP):
            step = data[at : at + STEP]
            self.connection.sendall(step)
            self.sent += len(step)
            self.server.count(self.asked.path, len(step))

    def chunk(self, data: bytes) -> None:
        """Send a part of a chunked body."""
        if self.asked.method == "HEAD":
            return
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
