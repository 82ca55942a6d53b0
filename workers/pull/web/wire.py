"""How connections are made here: guarded, and shown to httpcore one head at a time.

Rules this module keeps:

- A host's addresses are looked up here, *every* one is checked, and one that was checked is
  connected to: a name that resolves differently a moment later gains nothing.  The ``Host``
  field, SNI and the certificate still go by the name.
- httpcore is given an answer's head and, unless it asks for more, no byte of the body: who sees
  that the answer is plain takes the line away from it and reads the body without it.
- No proxy, certificate store or other setting of the environment is read; HTTP/2 is not offered.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import httpcore
import httpx

from fleet.planning.addresses import Network
from workers.pull.faults import Unreachable, plain
from workers.pull.web.addresses import check_address
from workers.pull.web.line import Line, Lines, Place

MAX_ADDRESSES = 4
KNOWN_SECONDS = 60.0
CONNECT_SECONDS = 10.0

Resolve = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of ``host``, in its order of preference.

    Raises:
        OSError: it has none, or nobody could say.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Connector:
    """Connects to checked addresses only; safe to use from several threads."""

    def __init__(
        self,
        allowed: Sequence[Network],
        lines: Lines,
        patience: float,
        *,
        resolve: Resolve = resolve,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._lines = lines
        self._patience = patience
        self._resolve = resolve
        self._given_context = context
        self._known: dict[tuple[str, int], tuple[float, Sequence[str]]] = {}

    def connect(self, place: Place) -> Line:
        """Make a connection to an address of ``place`` that may be asked.

        Raises:
            Refused: an address of the host is private and not allowed.
            Unreachable: the name cannot be resolved.
            OSError: no address answered.
        """
        addresses = self._addresses(place.host, place.port)
        if not place.trusted:
            for address in addresses:
                check_address(place.host, address, self._allowed)
        deadline = time.monotonic() + self._patience
        failed: Exception = OSError("it has no address")
        for address in addresses[:MAX_ADDRESSES]:
            wait = min(CONNECT_SECONDS, deadline - time.monotonic())
            if wait <= 0:
                break
            try:
                return self._connect(address, place, wait)
            except (OSError, ValueError) as error:
                failed = error
        raise OSError(str(failed) or "nobody answers there") from failed

    def _connect(self, address: str, place: Place, wait: float) -> Line:
        """Connect to one address, with TLS if the place has it."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        line = Line(socket.socket(family, socket.SOCK_STREAM), self._patience)
        try:
            self._lines.add(line)
            line.socket.settimeout(wait)
            line.socket.connect((address, place.port))
            self._lines.add(line)  # once more: a cut before there was a connection ended nothing
            line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if place.scheme == "https":
                line.cover(self._context, place.host)
        except BaseException:
            line.close()
            raise
        return line

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        now = time.monotonic()
        until, addresses = self._known.get((host, port), (0.0, ()))
        if now < until:
            return addresses
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            why = plain(str(error))
            raise Unreachable(f"{plain(host)}: its name cannot be resolved ({why})") from error
        self._known[host, port] = (now + KNOWN_SECONDS, addresses)
        return addresses

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = self._given_context or httpx.create_ssl_context(trust_env=False)
        context.set_alpn_protocols(["http/1.1"])
        return context


class Wire(httpcore.NetworkStream):
    """A line as httpcore sees it, which waits as long as the line does."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._taken = False
        self._heading = True

    def take(self) -> Line:
        """Take the line away: httpcore must not read from it any more, and cannot close it."""
        self._taken = True
        return self._line

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the line's
        """Give a whole head; then whatever follows."""
        with _mapped(httpcore.ReadTimeout, httpcore.ReadError):
            if not self._heading:
                return self._line.read(max_bytes)
            head = self._line.head()
        # After a head that only says to wait (1xx) another one comes.
        self._heading = head[9:10] == b"1"
        return head

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - likewise
        """Send a request."""
        with _mapped(httpcore.WriteTimeout, httpcore.WriteError):
            self._line.send(buffer)

    def close(self) -> None:
        """Close the line, unless it was taken away."""
        if not self._taken:
            self._line.close()


@contextlib.contextmanager
def _mapped(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    """Raise what httpcore knows."""
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error
