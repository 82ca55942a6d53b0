"""Requests sent ahead on one connection, and their answers in turn (RFC 9112, section 9.3.2).

Rules this module keeps:

- Only their order tells which answer is whose, and only its length where one ends.  So every
  answer has to be plain (see ``heads``), and anything else ends the line.
- Never are so many requests sent ahead that each end could wait for the other to read.
- An answer that says it is the last one is the last one.
- Bodies are given where they were received, in one buffer that any one answer fits into.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from workers.pull.quick.hosts import SMALL, Ask
from workers.pull.web.heads import MAX_HEAD, Head, Odd, check_length, parse_head
from workers.pull.web.line import Line

READ = 256 * 1024
AHEAD = 64
AHEAD_BYTES = 3 * 1024 * 1024
_REQUESTS_BYTES = 16 * 1024
_BLANK = re.compile(rb"\n\r?\n")


class Pipeline:
    """A borrowed line with requests under way, for one thread.

    Attributes:
        waiting: what was asked and not answered yet, in turn.
        answers: how many answers came.
        ending: whether the host answers no further request on this line.
    """

    def __init__(self, line: Line, fields: bytes) -> None:
        """Use ``line``; ``fields`` are the lines of a request after its first."""
        self.waiting: deque[Ask] = deque()
        self.answers = 0
        self.ending = False
        self._line = line
        self._fields = fields
        self._buffer = bytearray(MAX_HEAD + SMALL + READ)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0  # of what was received and not given yet
        self._head: Head | None = None

    @property
    def usable(self) -> bool:
        """Whether further requests may be sent, by anyone: all is answered, nothing is left."""
        return not (self.ending or self.waiting or self._start < self._end)

    def choose(self, take: Callable[[], Ask | None], most: int, most_bytes: int) -> list[Ask]:
        """Take what to send next; nothing until half of what was sent came back.

        At most ``most`` requests are under way; the last one may exceed ``most_bytes``.
        """
        chosen: list[Ask] = []
        room = most - len(self.waiting)
        if room < (most + 1) // 2:
            return chosen
        size, length = sum(ask.size for ask in self.waiting), 0
        while len(chosen) < room and size < most_bytes and length < _REQUESTS_BYTES:
            ask = take()
            if ask is None:
                break
            chosen.append(ask)
            size += ask.size
            length += len(ask.target) + len(self._fields)
        return chosen

    def send(self, asks: Sequence[Ask]) -> None:
        """Send requests.

        Raises:
            OSError: the line broke.
        """
        self.waiting.extend(asks)
        fields = self._fields
        self._line.send(b"".join(b"GET %b HTTP/1.1\r\n%b" % (ask.target, fields) for ask in asks))

    def receive(self, most: int) -> int:
        """Wait for bytes of the answers; say how many came.

        Raises:
            TimeoutError: none came.
            ConnectionError: the host closed the line.
            OSError: the line broke.
        """
        if self._start == self._end:
            self._start = self._end = 0
        elif len(self._buffer) - self._end < READ:
            left = self._end - self._start
            self._view[:left] = self._view[self._start : self._end]
            self._start, self._end = 0, left
        count = self._line.socket.recv_into(self._view[self._end : self._end + most])
        if not count:
            raise ConnectionResetError("closed before all was answered")
        self._end += count
        return count

    def whole(self) -> Iterator[tuple[Ask, Head, memoryview]]:
        """Give the answers that are whole, each with what it answers.

        A body is to be used before anything else is received.

        Raises:
            Odd: one is not plain, is longer than any small file, or was not asked for.
        """
        while self._start < self._end and not self.ending:
            if not self.waiting:
                raise Odd("answered more than it was asked")
            self._head = head = self._head or self._next_head()
            if head is None or self._end - self._start < head.length:
                return
            body = self._view[self._start : self._start + head.length]
            self._start += head.length
            self._head = None
            self.answers += 1
            self.ending = not head.keeps
            yield self.waiting.popleft(), head, body

    def _next_head(self) -> Head | None:
        """Take a head, but for those that only say to wait; None if it is not whole yet."""
        while blank := _BLANK.search(self._buffer, self._start, self._end):
            raw = bytes(self._view[self._start : blank.end()])
            self._start = blank.end()
            head = parse_head(raw)
            if head is not None and head.length > SMALL:
                raise Odd("its answer is no small file")
            if head is not None:
                return head
        check_length(self._end - self._start)
        return None
