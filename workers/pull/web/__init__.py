"""The web as a worker may see it: one client, guarded where it connects.

Rules this module keeps:

- Every request, each hop of a redirect included, goes out on a connection whose address was
  checked (see ``wire``).
- The first request on a connection goes through httpcore, and so does every answer that is not
  plain (see ``heads``).  A connection whose answer was plain is kept, and asked again without
  httpcore; if that goes wrong in any way but silence, the request is sent once more on a new one.
- Redirects are followed by hand, at most five, never from https to http.  Each is a request of its
  own: whoever asked has a say before it is sent.
- This site's token goes to the centre's own URL and is never carried along a redirect.
- No proxy, netrc or other setting of the environment is read.
"""

import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import NamedTuple, Self

import httpcore
import httpx

from fleet.messages import Source
from fleet.settings import SiteSettings
from workers.pull.faults import Bad, Local, Passing, Refused, Unreachable, plain
from workers.pull.web.addresses import check_hop, check_url, host_of, shown
from workers.pull.web.body import Body, OtherBody, PlainBody, as_connection_errors
from workers.pull.web.heads import Field, Head, plain_head, request
from workers.pull.web.line import Line, Lines, Place
from workers.pull.web.wire import Connector, Resolve, Wire, resolve

MAX_HOPS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
_PORTS = {"http": 80, "https": 443}


class Call(NamedTuple):
    """One request: whose it is (``host``, as reports name it), where it goes and what it says."""

    host: str
    place: Place
    target: bytes
    fields: list[Field]

    @property
    def message(self) -> bytes:
        """The request as it is sent.

        Raises:
            Odd: a field has a line break in it.
        """
        return request(self.target, self.fields)


class Answer:
    """What a host answered; its body is still to be read, and it is the caller's to close.

    Attributes:
        status: the HTTP status.
        headers: the header fields.
        host: who answered, after all redirects.
    """

    def __init__(self, status: int, headers: httpx.Headers, host: str, body: Body) -> None:
        self.status = status
        self.headers = headers
        self.host = host
        self._body = body

    def readinto(self, view: memoryview) -> int:
        """Put the body's next bytes into ``view`` (of bytes) and count them; 0 at its end.

        Raises:
            TimeoutError: none came for ``stall_seconds``.
            ConnectionError: it broke off, or ended before its length.
        """
        return self._body.readinto(view)

    def cut(self) -> None:
        """End the body from another thread: whoever reads it fails soon."""
        self._body.cut()

    def close(self) -> bool:
        """Let go of the connection, which is kept if nothing of the body is left.

        Returns:
            Whether all of the body came; else its host may be sending it for a moment still.
        """
        return self._body.close()


class Web:
    """A worker's client, for several threads; use it as a context manager."""

    def __init__(
        self,
        settings: SiteSettings,
        *,
        context: ssl.SSLContext | None = None,
        resolve: Resolve = resolve,
    ) -> None:
        self._settings = settings
        self._lines = Lines()
        self._connector = Connector(
            settings.allow_networks,
            self._lines,
            settings.stall_seconds,
            resolve=resolve,
            context=context,
        )
        self._fields = {
            "User-Agent": settings.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cut()

    def cut(self) -> None:
        """End every connection: blocked readers fail at once, and nobody is asked any more."""
        self._lines.cut()

    def get(
        self,
        source: Source,
        headers: Mapping[str, str],
        hop: Callable[[str], None] | None = None,
    ) -> Answer:
        """GET ``source`` and wait for the head of the answer.

        Args:
            source: what to ask for.
            headers: what to say besides the usual.
            hop: called with the host that a redirect leads to, before that is asked.

        Raises:
            Refused: the URL, a redirect of it or an address of its host may not be asked.
            Bad: it redirects without end.
            Passing: there was no answer.
            Unreachable: there was not even a connection.
            Local: this site has no token for the centre.
        """
        url = first = check_url(source.url)
        secret = self._secret(source)
        for _ in range(MAX_HOPS + 1):
            answer = self._send(self._call(url, {**headers, **secret}, trusted=bool(secret)))
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            answer.close()
            url, secret = check_hop(url, location), {}
            if hop is not None:
                hop(host_of(url))
        raise Bad(f"{host_of(first)}: redirects more than {MAX_HOPS} times")

    def call(self, source: Source, headers: Mapping[str, str]) -> Call:
        """Make the request that ``get`` would begin with.

        Raises:
            Refused: the URL may not be asked.
            Local: this site has no token for the centre.
        """
        secret = self._secret(source)
        return self._call(check_url(source.url), {**headers, **secret}, trusted=bool(secret))

    def borrow(self, place: Place) -> Line | None:
        """Lend an idle connection that proved plain; its socket does not block."""
        return self._lines.take(place)

    def give_back(self, place: Place, line: Line) -> None:
        """Take back a borrowed connection on which nothing is under way; else close it yourself."""
        self._lines.keep(place, line)

    def _call(self, url: httpx.URL, headers: Mapping[str, str], *, trusted: bool) -> Call:
        host = url.raw_host.decode("ascii")
        place = Place(url.scheme, host, url.port or _PORTS[url.scheme], trusted)
        fields = [(b"Host", url.netloc)]
        for name, value in {**self._fields, **headers}.items():
            fields.append((name.encode("ascii"), value.encode()))
        return Call(host_of(url), place, url.raw_path, fields)

    def _send(self, call: Call) -> Answer:
        """Send a request on an idle connection if there is one that will do, or on a new one."""
        try:
            line = self._lines.take(call.place)
            answer = None if line is None else self._again(call, line)
            return answer or self._first(call)
        except TimeoutError as error:
            patience = self._settings.stall_seconds
            raise Passing(f"{call.host}: gave no answer within {patience:g} s") from error
        except OSError as error:
            why = plain(str(error)) or type(error).__name__
            raise Passing(f"{call.host}: broke off before it answered ({why})") from error

    def _again(self, call: Call, line: Line) -> Answer | None:
        """Use a connection that proved plain; None if it does not any more.

        Raises:
            TimeoutError: there was no answer.
        """
        try:
            line.send(call.message)
            return self._plain(call, line, line.answer())
        except TimeoutError:
            line.close()
            raise
        except OSError:
            line.close()
            return None

    def _first(self, call: Call) -> Answer:
        """Make a connection and let httpcore send the request.

        Raises:
            Refused, Unreachable: there is no connection.
            TimeoutError, ConnectionError: there was no answer.
        """
        try:
            line = self._connector.connect(call.place)
        except OSError as error:
            raise Unreachable(f"{call.host}: cannot be reached ({plain(str(error))})") from error
        wire, place = Wire(line), call.place
        url = httpcore.URL(
            scheme=place.scheme, host=place.host, port=place.port, target=call.target
        )
        connection = httpcore.HTTP11Connection(url.origin, wire)
        try:
            with as_connection_errors():
                response = connection.handle_request(
                    httpcore.Request("GET", url, headers=call.fields)
                )
        except BaseException:
            line.close()
            raise
        fields = list(response.headers)
        head = plain_head(response.status, fields)
        if head is not None and response.extensions["http_version"] == b"HTTP/1.1":
            wire.take()
            line.left = head.length
            return self._plain(call, line, head)
        body = OtherBody(line, response.iter_stream())
        return Answer(response.status, httpx.Headers(fields), call.host, body)

    def _plain(self, call: Call, line: Line, head: Head) -> Answer:
        body = PlainBody(line, call.place, self._lines if head.keeps else None)
        return Answer(head.status, httpx.Headers(head.fields), call.host, body)

    def _secret(self, source: Source) -> dict[str, str]:
        """Make the header that tells the centre, and nobody else, who asks."""
        if not source.centre:
            return {}
        home = self._settings.centre_url.rstrip("/") + "/"
        if not source.url.startswith(home):
            raise Refused(
                f"{shown(source.url)}: is said to be the centre's but is not below {home}"
            )
        try:
            return {"Authorization": f"Bearer {self._settings.token}"}
        except (OSError, ValueError) as error:
            raise Local(f"this site's token cannot be read: {error}") from error
