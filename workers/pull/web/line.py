"""Connections: what is read from them, and how those that proved plain are used again.

Every connection of a worker is a ``Line``: a socket, and the bytes that came before anyone asked
for them.  httpcore sends the first request on it (see ``wire``).  Once an answer has proved plain
(see ``heads``), its body is taken from the socket as it is, and further requests may be sent
without httpcore: one by one, or several ahead.

Rules this module keeps:

- Never more bytes are given than an answer's length says, and a shorter body is an error.
- A line with bytes that nobody asked for is never used again.
- Nothing is waited for longer than ``patience`` seconds; a whole head counts as one thing.
- Any other thread may ``cut`` a line, and whoever waits for it fails at once.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections import OrderedDict, deque
from typing import NamedTuple
from weakref import WeakSet

from workers.pull.web.heads import Head, check_length, head_end, parse_head

MAX_KEPT = 8
MAX_KEPT_HOSTS = 32
IDLE_SECONDS = 30.0
_READ = 64 * 1024
_NOTHING = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Place(NamedTuple):
    """Where a line leads; one that is ``trusted`` may lead to an address that nobody checked."""

    scheme: str
    host: str
    port: int
    trusted: bool


class Line:
    """One connection, for one thread at a time.

    Attributes:
        socket: the connection itself, for whoever sends several requests ahead.
        received: what came after the last head that was taken.
        left: how many bytes of the current answer are still to be given.
    """

    def __init__(self, connection: socket.socket, patience: float) -> None:
        self.socket = connection
        self.received = bytearray()
        self.left = 0
        self._patience = patience
        self._deadline = 0.0
        self._ending = threading.Lock()

    def cover(self, context: ssl.SSLContext, name: str) -> None:
        """Speak TLS from here on, with whoever has a certificate for ``name``.

        Raises:
            OSError, ValueError: nobody there has.
        """
        with self._ending:
            covered = context.wrap_socket(
                self.socket, server_hostname=name, do_handshake_on_connect=False
            )
            self.socket = covered
        covered.do_handshake()

    def send(self, data: bytes) -> None:
        """Send a request; the head of its answer is due from now on.

        Raises:
            TimeoutError: it could not be sent.
            OSError: the connection broke.
        """
        self._deadline = time.monotonic() + self._patience
        self.socket.settimeout(self._patience)
        self.socket.sendall(data)
        self._deadline = time.monotonic() + self._patience

    def answer(self) -> Head:
        """Read the head of a plain answer; its body is then to be read.

        Raises:
            Odd: it is something else.
            TimeoutError: it is not there in time.
            OSError: the connection broke.
        """
        while True:
            if head := parse_head(self.head()):
                self.left = head.length
                return head

    def head(self) -> bytes:
        """Read up to the first blank line and no byte further; at the end, what there is.

        Raises:
            Odd: it is longer than ``MAX_HEAD``.
            TimeoutError: it is not there in time.
            OSError: the connection broke.
        """
        seen = 0
        while not (end := head_end(self.received, seen)):
            check_length(len(self.received))
            seen = max(0, len(self.received) - 2)
            wait = self._deadline - time.monotonic()
            if wait <= 0:
                raise TimeoutError("the header was late")
            self.socket.settimeout(wait)
            more = self.socket.recv(_READ)
            if not more:
                end = len(self.received)
                break
            self.received += more
        check_length(end)
        self.socket.settimeout(self._patience)
        return self._take(end)

    def read(self, most: int) -> bytes:
        """Read at most ``most`` bytes, whatever they are; none at the end."""
        return self._take(most) if self.received else self.socket.recv(most)

    def readinto(self, view: memoryview) -> int:
        """Put the body's next bytes into ``view`` and count them; 0 at the body's end.

        Raises:
            TimeoutError: none came for ``patience`` seconds.
            ConnectionError: the connection ended or broke before the body's end.
        """
        if len(view) > self.left:
            view = view[: self.left]
        if not view:
            return 0
        if self.received:
            first = self._take(len(view))
            count = len(first)
            view[:count] = first
        else:
            try:
                count = self.socket.recv_into(view)
            except (TimeoutError, ConnectionError):
                raise
            except OSError as error:
                raise ConnectionError(str(error)) from error
            if not count:
                raise ConnectionError(f"closed {self.left} bytes before the end")
        self.left -= count
        return count

    def ended(self) -> bool:
        """Whether all of the body is here, read or not, and nothing else; then it is dropped."""
        if len(self.received) != self.left:
            return False
        self.received.clear()
        self.left = 0
        return True

    def fresh(self) -> bool:
        """Whether a request may be sent: nothing is left of the last answer, nobody hung up."""
        if self.left or self.received:
            return False
        try:
            self.socket.settimeout(0)
            self.socket.recv(1)
        except _NOTHING:
            return True
        except OSError:
            return False
        return False

    def cut(self) -> None:
        """End the connection, from any thread."""
        # An SSLSocket's own method would also take TLS away from under whoever reads.
        with self._ending, contextlib.suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; once more does no harm."""
        with self._ending:
            self.socket.close()

    def _take(self, most: int) -> bytes:
        """Take bytes off the front of those that came early."""
        taken = bytes(self.received[:most])
        del self.received[:most]
        return taken


class Lines:
    """All connections of a worker's client, and those of them that wait for another request.

    At most ``MAX_KEPT`` are kept for a place, and for ``MAX_KEPT_HOSTS`` places, the latest
    ones: a list of thousands of hosts must not use up our descriptors.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: WeakSet[Line] = WeakSet()
        self._idle: OrderedDict[Place, deque[tuple[float, Line]]] = OrderedDict()
        self._cut = False

    def add(self, line: Line) -> None:
        """Take note of a new line.

        Raises:
            ConnectionError: all were cut; this one is closed too.
        """
        with self._lock:
            self._live.add(line)
            if not self._cut:
                return
        line.close()
        raise ConnectionError("we ended all connections")

    def take(self, place: Place) -> Line | None:
        """Give an idle line that leads to ``place`` and on which a request may be sent."""
        while True:
            with self._lock:
                lines = self._idle.get(place)
                if not lines:
                    return None
                since, line = lines.pop()
            if time.monotonic() - since <= IDLE_SECONDS and line.fresh():
                return line
            line.close()

    def keep(self, place: Place, line: Line) -> None:
        """Keep an idle line for another request."""
        now = time.monotonic()
        with self._lock:
            self._idle.setdefault(place, deque()).append((now, line))
            self._idle.move_to_end(place)
            surplus = self._surplus(now)
        for each in surplus:
            each.close()

    def cut(self) -> None:
        """End every connection, and any that is made from now on."""
        with self._lock:
            self._cut = True
            lines = list(self._live)
            idle = [line for kept in self._idle.values() for _, line in kept]
            self._idle.clear()
        for line in lines:
            line.cut()
        for line in idle:
            line.close()

    def _surplus(self, now: float) -> list[Line]:
        """Take out what is too old or too many; after a cut, everything."""
        surplus = []
        for place, lines in list(self._idle.items()):
            none = self._cut or len(self._idle) > MAX_KEPT_HOSTS
            while lines and (none or len(lines) > MAX_KEPT or lines[0][0] < now - IDLE_SECONDS):
                surplus.append(lines.popleft()[1])
            if not lines:
                del self._idle[place]
        return surplus
