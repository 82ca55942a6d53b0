"""The bodies of answers, read as they come: those of plain answers, and all others.

A plain body is taken from its connection's socket and nothing else touches it.  Any other goes
through httpcore, which undoes chunks and knows where a body without a length ends; its connection
is not used again, because what httpcore may have read too much of it cannot be seen.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Protocol

import httpcore

from workers.pull.web.line import Line, Lines, Place


class Body(Protocol):
    """What an answer's body is read from."""

    def readinto(self, view: memoryview) -> int:
        """Put the next bytes into ``view`` and count them; 0 at the end.

        Raises:
            TimeoutError: none came in time.
            ConnectionError: it broke off.
        """

    def cut(self) -> None:
        """Make whoever reads fail, from any thread."""

    def close(self) -> bool:
        """Let go of the connection; say whether all of the body came."""


class PlainBody:
    """The body of a plain answer; ``lines`` takes the connection back, None closes it."""

    def __init__(self, line: Line, place: Place, lines: Lines | None) -> None:
        self._line = line
        self._place = place
        self._lines = lines
        self._closed = self._whole = False
        self._closing = threading.Lock()
        self.readinto = line.readinto

    def cut(self) -> None:
        """Make whoever reads fail; once closed, the connection is another's."""
        with self._closing:
            if not self._closed:
                self._line.cut()

    def close(self) -> bool:
        """Give the connection back if all of the body is here, else close it."""
        with self._closing:
            closed, self._closed = self._closed, True
        if closed:
            return self._whole
        self._whole = self._line.ended()
        if self._lines is not None and self._whole:
            self._lines.keep(self._place, self._line)
        else:
            self._line.close()
        return self._whole


class OtherBody:
    """A body that httpcore reads."""

    def __init__(self, line: Line, chunks: Iterator[bytes]) -> None:
        self._line = line
        self._chunks = chunks
        self._rest = memoryview(b"")
        self._whole = False

    def readinto(self, view: memoryview) -> int:
        """Put the next bytes into ``view`` and count them; 0 at the end."""
        while not self._rest:
            with as_connection_errors():
                chunk = next(self._chunks, None)
            if chunk is None:
                self._whole = True
                return 0
            self._rest = memoryview(chunk)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def cut(self) -> None:
        """Make whoever reads fail."""
        self._line.cut()

    def close(self) -> bool:
        """Close the connection."""
        self._line.close()
        return self._whole


@contextlib.contextmanager
def as_connection_errors() -> Iterator[None]:
    """Raise httpcore's errors as TimeoutError and ConnectionError."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise TimeoutError(str(error)) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise ConnectionError(str(error)) from error
