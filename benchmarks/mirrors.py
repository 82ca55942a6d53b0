"""Mirrors with a cap and with faults: small HTTP servers of one file.

The cap holds for a mirror as a whole, however many connections it is asked on, which nginx's own
limits do not do.  A liar's copy differs in single bytes, always the same; a mirror that stalls
keeps its connections open, takes new ones, and sends no more of the file on any.
"""

import os
import re
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

SLICE = 64 * 1024
CREDIT_SECONDS = 0.05  # how late a slice may be without the cap growing smaller
ETAG = '"benchmark"'
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Mirror:
    """One mirror; use it as a context manager.

    Args:
        host: the loopback address that it has for itself.
        file: what it serves.
        rate: bytes per second that it sends at most, on all connections together.
        lies: offsets whose byte it sends wrong.
        silent_after: bytes after which it sends nothing more; None for never.
    """

    def __init__(
        self,
        host: str,
        file: Path,
        rate: float,
        *,
        lies: Collection[int] = (),
        silent_after: int | None = None,
    ) -> None:
        self.host = host
        self.lies = sorted(lies)
        self.size = file.stat().st_size
        self._rate = rate
        self._silent_after = silent_after
        self._descriptor = os.open(file, os.O_RDONLY)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.refresh()

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"of": self})
        self._server = ThreadingHTTPServer((self.host, 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where the file is served."""
        return f"http://{self.host}:{self._server.server_address[1]}/file.bin"

    def refresh(self) -> None:
        """Begin anew: count from 0, and be silent no more."""
        with self._lock:
            self._over.set()
            self._over = threading.Event()
            self._next = 0.0
            self.sent = 0
            self.lies_told = 0

    def take(self, at: int, end: int) -> bytes:
        """Read the next slice of ``[at, end)`` once it may be sent; empty if it never may be."""
        body = bytearray(os.pread(self._descriptor, min(SLICE, end - at), at))
        with self._lock:
            over = self._over
            silent = self._silent_after is not None and self.sent >= self._silent_after
            now = time.monotonic()
            due = max(self._next, now - CREDIT_SECONDS)
            if not silent:
                self._next = due + len(body) / self._rate
                self.sent += len(body)
                for lie in self.lies:
                    if at <= lie < at + len(body):
                        body[lie - at] ^= 1
                        self.lies_told += 1
        stopped = over.wait() if silent else over.wait(max(due - now, 0.0))
        return b"" if stopped else bytes(body)


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with ranges, for one file."""

    of: Mirror
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send the file, or a range of it."""
        start, end, status = self._range()
        self.send_response(status)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", ETAG)
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{self.of.size}")
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            self.send_header("Content-Range", f"bytes */{self.of.size}")
        with suppress(OSError):  # the client has gone
            self.end_headers()
            if self.command == "GET":
                self._send(start, end)
            return
        self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - http.server asks for this name

    def log_message(self, *_: object) -> None:
        """Keep still."""

    def _range(self) -> tuple[int, int, HTTPStatus]:
        """Decide which bytes are asked for."""
        size, whole = self.of.size, (0, self.of.size, HTTPStatus.OK)
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is None or self.headers.get("If-Range", ETAG) != ETAG:
            return whole
        first, last = asked.groups()
        if not first:
            return whole
        start, end = int(first), min(int(last) + 1 if last else size, size)
        if start >= end:
            return 0, 0, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return start, end, HTTPStatus.PARTIAL_CONTENT

    def _send(self, at: int, end: int) -> None:
        while at < end:
            body = self.of.take(at, end)
            if not body:
                self.close_connection = True
                return
            self.wfile.write(body)
            at += len(body)
