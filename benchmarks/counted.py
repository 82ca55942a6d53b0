"""A server that counts what it is asked and what it sends: `python -m benchmarks.counted`.

It has any file of `/NAME/SIZE`, gives ranges under a strong ETag, and counts requests, bytes and
answers under way in bins of ``BIN`` seconds of the machine's monotonic clock.  It prints its port;
for each line of its standard input it prints what it counted so far as one JSON object.
"""

import json
import re
import socket
import sys
import threading
import time
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BIN = 0.01
CHUNK = 32 * 1024
SEND_BUFFER = 64 * 1024
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_BODY = bytes(range(256)) * (CHUNK // 256)


class Counts:
    """What was asked and sent, by bin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests: Counter[int] = Counter()
        self.bytes: Counter[int] = Counter()
        self.streams = self.most_streams = 0

    def begin(self) -> None:
        """Count a request, whose answer begins."""
        with self._lock:
            self.requests[int(time.monotonic() / BIN)] += 1
            self.streams += 1
            self.most_streams = max(self.most_streams, self.streams)

    def sent(self, count: int) -> None:
        """Count bytes that went into the socket."""
        with self._lock:
            self.bytes[int(time.monotonic() / BIN)] += count

    def end(self) -> None:
        """Count an answer's end."""
        with self._lock:
            self.streams -= 1

    def report(self) -> str:
        """Give all of it."""
        with self._lock:
            return json.dumps(
                {
                    "requests": sorted(self.requests.items()),
                    "bytes": sorted(self.bytes.items()),
                    "most_streams": self.most_streams,
                }
            )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    counts: Counts

    def do_GET(self) -> None:
        self.counts.begin()
        try:
            last = self._answer()
        finally:
            self.counts.end()  # a client may ask for more before this thread has its turn again
        self.connection.sendall(last)
        self.counts.sent(len(last))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> bytes:
        """Send all but the last byte, and return that: until it comes the stream is open."""
        size = int(self.path.rpartition("/")[2])
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        start, end = 0, size
        if asked:
            start, end = int(asked[1]), int(asked[2]) + 1 if asked[2] else size
        self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
        self.send_header("ETag", '"counted"')
        self.send_header("Content-Length", str(end - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        last = max(start, end - 1)
        while start < last:
            at = start % CHUNK
            part = _BODY[at : at + last - start]
            self.connection.sendall(part)
            self.counts.sent(len(part))
            start += len(part)
        return _BODY[last % CHUNK : last % CHUNK + end - last]


def main() -> None:
    """Serve until the standard input ends."""
    counts = Counts()
    handler = type("Handler", (_Handler,), {"counts": counts})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stderr = open("/dev/null", "w")  # noqa: SIM115, PTH123 - whoever hangs up is no news
    print(server.server_address[1], flush=True)
    for _ in sys.stdin:
        print(counts.report(), flush=True)


if __name__ == "__main__":
    main()
