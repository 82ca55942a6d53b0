"""An origin on the loopback that serves one folder, slowly or with faults.

With faults, about one request in ten fails: it is answered 503 with ``Retry-After: 1``, or its
connection is cut in the middle of the body.

Rules this module keeps:

- Only files that were in the folder at the start are served, so that no path leads outside it.
- Faults follow from the seed, the path and how often that path was asked for, so that a run can
  be repeated whatever the order of requests.
- Strong ETags, Range and If-Range (RFC 9110, sections 13 and 14), so that transfers can resume.
- The body bytes that were sent are counted; ``GET /_counters`` tells, and does not count itself.
"""

import hashlib
import json
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from typing import Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

MB = 1_000_000
OLD = "/old/"
"""What lies below it has moved: it is redirected to the same path without it."""
CHUNK = 256 * 1024

Fault = Literal["none", "busy", "cut"]


def fault(seed: int, path: str, turn: int) -> Fault:
    """Decide how the ``turn``-th request for ``path`` fails, if it does: one in ten does."""
    digest = hashlib.blake2b(f"{seed}:{path}:{turn}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest) / 2**64
    return "busy" if share < 0.05 else "cut" if share < 0.1 else "none"


def byte_range(header: str, size: int) -> range | None:
    """Read a Range header that asks for one range of bytes; None where it is to be ignored.

    An empty range stands for one that cannot be satisfied (RFC 9110, section 14.1.2).
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header, re.ASCII)
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        return range(max(size - int(match[2]), 0), size)
    end = min(int(match[2]) + 1, size) if match[2] else size
    if match[2] and int(match[2]) < int(match[1]):
        return None
    return range(int(match[1]), max(end, int(match[1])))


class Throttle:
    """A rate that all connections share."""

    def __init__(self, bytes_per_second: float) -> None:
        """Let ``bytes_per_second`` pass."""
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, count: int) -> None:
        """Wait until ``count`` bytes may pass."""
        with self._lock:
            begin = max(self._free_at, time.monotonic())
            self._free_at = begin + count / self._rate
        time.sleep(max(begin - time.monotonic(), 0.0))


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    etag: str

    @classmethod
    def of(cls, path: Path) -> Self:
        stat = path.stat()
        return cls(path, stat.st_size, f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"')


class Origin(ThreadingTCPServer):
    """One origin, on a port of its own on the loopback."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, folder: Path, *, megabytes_per_second: float = 0, seed: int | None = None
    ) -> None:
        """Serve the files of ``folder``.

        Args:
            folder: what to serve, as it is now.
            megabytes_per_second: the most it sends, over all connections; 0 is no limit.
            seed: what its faults follow from; None: it has none.
        """
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {
            path.relative_to(folder).as_posix(): _File.of(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }
        self.throttle = Throttle(megabytes_per_second * MB) if megabytes_per_second else None
        self.seed = seed
        self.counters = {"bytes": 0, "requests": 0, "faults": 0}
        self._turns: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that go away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def count(self, name: str, number: int = 1) -> None:
        """Count what has happened."""
        with self._lock:
            self.counters[name] += number

    def next_fault(self, path: str) -> Fault:
        """Take the next turn of ``path``."""
        if self.seed is None:
            return "none"
        with self._lock:
            self._turns[path] += 1
            fails = fault(self.seed, path, self._turns[path])
            self.counters["faults"] += fails != "none"
            return fails


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Origin

    def log_message(self, *_: object) -> None:
        """Say nothing: the counters tell."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/_counters":
            self._short(HTTPStatus.OK, content=json.dumps(self.server.counters).encode())
            return
        self.server.count("requests")
        if (moved := path.removeprefix(OLD)) in self.server.files:
            self._short(HTTPStatus.FOUND, header=f"Location: /{quote(moved)}")
            return
        file = self.server.files.get(path.removeprefix("/"))
        if file is None:
            self._short(HTTPStatus.NOT_FOUND)
            return
        fails = self.server.next_fault(path)
        if fails == "busy":
            self._short(HTTPStatus.SERVICE_UNAVAILABLE, header="Retry-After: 1")
        else:
            self._file(file, body=body, cut=fails == "cut")

    def _short(self, status: HTTPStatus, *, content: bytes = b"", header: str = "") -> None:
        self.send_response(status)
        if header:
            self.send_header(*header.split(": ", 1))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _file(self, file: _File, *, body: bool, cut: bool) -> None:
        wanted = None
        if self.headers.get("If-Range", file.etag) == file.etag:
            wanted = byte_range(self.headers.get("Range", ""), file.size)
        if wanted is not None and not wanted:
            self._short(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                header=f"Content-Range: bytes */{file.size}",
            )
            return
        span = range(file.size) if wanted is None else wanted
        self.send_response(HTTPStatus.OK if wanted is None else HTTPStatus.PARTIAL_CONTENT)
        if wanted is not None:
            last = f"{span.start}-{span.stop - 1}"
            self.send_header("Content-Range", f"bytes {last}/{file.size}")
        self.send_header("Content-Length", str(len(span)))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", file.etag)
        self.end_headers()
        if cut:
            span = span[: len(span) // 2]
            self.close_connection = True
        if body:
            self._send(file, span)

    def _send(self, file: _File, span: range) -> None:
        """Send part of a file, at the origin's pace."""
        with file.path.open("rb") as source:
            for at in range(span.start, span.stop, CHUNK):
                count = min(CHUNK, span.stop - at)
                if self.server.throttle:
                    self.server.throttle.take(count)
                sent = self.connection.sendfile(source, at, count)
                self.server.count("bytes", sent)
