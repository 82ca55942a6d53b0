"""The HTTP door: a site's verified files, for web seeds, sibling sites and people.

Rules this module keeps:

- Only what a pull has verified and published by renaming is below the root under plain names;
  folders that begin with a dot (staging, quarantine) are never served, nor is a listing.
- A file that a verify found corrupt is not served while it may still be mended (see ``doubts``).
- A path stays below the root: no symbolic link is followed, wherever it points.
- A file's entity tag is strong and changes when the file is replaced, so that a download which
  is resumed with ``If-Range`` never mixes two files.
- Nothing is sent that the gate has not granted; while it is shut, every request is told when to
  come again.
"""

import asyncio
import contextlib
import errno
import mimetypes
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from workers.seeder.gate import Gate
from workers.seeder.ranges import choose
from workers.storage.doubts import Doubts
from workers.storage.paths import UnsafePathError, contained

CHUNK: Final = 1024 * 1024
MOST_CONNECTIONS: Final = 256
STALL_SECONDS: Final = 60
GRACE_SECONDS: Final = 1
WAIT_SECONDS: Final = 0.05
HEAD_BYTES: Final = 16 * 1024

# Python's own table, not the machine's: a file has the same type at every site
_TYPES: Final = mimetypes.MimeTypes()
_BUSY: Final = {errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM}


class NotServed(Exception):
    """There is no such file to serve, or (``status`` 503) not just now."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Opened:
    """A file that may be served; whoever opened it closes ``descriptor``."""

    descriptor: int
    size: int
    etag: str
    media_type: str


def open_verified(root: Path, path: str) -> Opened:
    """Open the file at ``path`` below ``root``.

    Raises:
        NotServed: it is not there, is not a plain file, or the path may not be used.
    """
    try:
        place = contained(root, path)
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except UnsafePathError as error:
        raise NotServed(404) from error
    except OSError as error:
        raise NotServed(503 if error.errno in _BUSY else 404) from error
    about = os.fstat(descriptor)
    plain = stat.S_ISREG(about.st_mode)
    if not plain or Doubts(root).about(place, about.st_ino):
        os.close(descriptor)
        raise NotServed(503 if plain else 404)
    etag = f'"{about.st_ino:x}-{about.st_size:x}-{about.st_mtime_ns:x}"'
    media_type, encoding = _TYPES.guess_type(place.name)
    if media_type is None or encoding is not None:
        media_type = "application/octet-stream"
    return Opened(descriptor, about.st_size, etag, media_type)


class App:
    """The ASGI application."""

    def __init__(self, root: Path, gate: Gate) -> None:
        """Serve what lies below ``root``, as fast as ``gate`` lets it."""
        self._root = root
        self._gate = gate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, when its turn comes."""
        while not self._gate.head():  # noqa: ASYNC110 - a bucket tells only who asks
            await asyncio.sleep(WAIT_SECONDS)
        method = scope["method"]
        if method not in {"GET", "HEAD"}:
            await _refuse(send, 405, (b"allow", b"GET, HEAD"))
            return
        if self._gate.shut:
            await _refuse(send, 503, (b"retry-after", b"%d" % self._gate.retry_after))
            return
        try:
            file = await asyncio.to_thread(open_verified, self._root, scope["path"][1:])
        except NotServed as error:
            await _refuse(send, error.status)
            return
        try:
            await self._answer(method, scope["headers"], file, receive, send)
        finally:
            os.close(file.descriptor)

    async def _answer(
        self, method: str, raw: list[tuple[bytes, bytes]], file: Opened, receive: Any, send: Any
    ) -> None:
        asked = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
        status, start, end = choose(method, asked, file.size, file.etag)
        headers = [
            (b"accept-ranges", b"bytes"),
            (b"etag", file.etag.encode()),
            (b"x-content-type-options", b"nosniff"),
            # a page among the data is data: it shall not run as a page of this site
            (b"content-security-policy", b"sandbox"),
        ]
        if status == 416:
            headers.append((b"content-range", b"bytes */%d" % file.size))
        if status == 206:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, file.size)))
        if status != 304:
            headers.append((b"content-length", b"%d" % (end - start)))
            headers.append((b"content-type", file.media_type.encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if method == "GET" and start < end:
            await _stream(self._gate, file.descriptor, start, end, receive, send)
        else:
            await send({"type": "http.response.body"})


class Door(uvicorn.Server):
    """The server around the application, for a loop whose signals are somebody else's."""

    def __init__(self, root: Path, address: str, gate: Gate) -> None:
        """Bind ``address``, ``host:port``; port 0 lets the system choose one.

        What is sent passes ``gate``.

        Raises:
            OSError: the address cannot be bound.
            ValueError: it is no address.
        """
        self._socket = _bind(address)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            App(root, gate),
            http="h11",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            # what strangers send is not worth a line each
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        super().__init__(config)

    async def run_until_closed(self) -> None:
        """Serve until ``close`` is called."""
        await self.serve(sockets=[self._socket])

    def close(self) -> None:
        """Take no more requests, and end those that are running within a second."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def _bind(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is no address for the door: give host:port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=MOST_CONNECTIONS)
    # the kernel drops a client that takes nothing for this long; accepted sockets inherit it
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_SECONDS * 1000)
    return listener


async def _refuse(send: Any, status: int, *headers: tuple[bytes, bytes]) -> None:
    body = {404: b"not found\n", 405: b"method not allowed\n"}.get(status, b"try again later\n")
    plain = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": plain})
    await send({"type": "http.response.body", "body": body})


async def _stream(
    gate: Gate, descriptor: int, start: int, end: int, receive: Any, send: Any
) -> None:
    """Send a run of bytes; stop when the client has gone, the file ends early, or nothing may go.

    Many wait for one bucket, and what it holds is only told by asking.
    """
    gone = asyncio.create_task(_gone(receive))
    try:
        while start < end and not gone.done() and not gate.shut:
            count = gate.grant(min(CHUNK, end - start))
            if not count:
                await asyncio.wait([gone], timeout=WAIT_SECONDS)
                continue
            chunk = await asyncio.to_thread(os.pread, descriptor, count, start)
            if not chunk:
                return
            start += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": start < end})
    finally:
        gone.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
