"""The web as a worker may see it: one client, guarded where it connects.

Rules this module keeps:

- Every request, each hop of a redirect included, goes through ``GuardedTransport``: it resolves
  the host itself, checks *every* address, and connects to an address it has checked, so that a
  name that resolves differently a moment later gains nothing.  ``Host``, SNI and the certificate
  still go by the name.
- Redirects are followed by hand, at most five, never from https to http.
- This site's token goes to the centre's own URL and is never carried along a redirect.
- No proxy, netrc or other setting of the environment is read.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import Self

import httpx

from fleet.messages import Source
from fleet.settings import SiteSettings
from workers.pull.addresses import Network, check_address, check_hop, check_url, host_of, shown
from workers.pull.faults import Bad, Local, Passing, Refused, Unreachable, plain

MAX_HOPS = 5
MAX_ADDRESSES = 4
KNOWN_SECONDS = 60.0
CONNECT_SECONDS = 10.0
MAX_KEPT_HOSTS = 32
NETWORK_ERRORS = (httpx.TransportError, ssl.SSLError)
_REDIRECTS = {301, 302, 303, 307, 308}
_TRUSTED = "fleet.trusted"

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of ``host``, in its order of preference.

    Raises:
        OSError: it has none, or nobody could say.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedTransport(httpx.AsyncBaseTransport):
    """Connects to checked addresses only.

    Each host has a pool of its own: a pool knows its connections by address, and one that was
    proved to be ``a.example`` must not carry a request for ``b.example`` behind the same address.
    Connections are kept alive, ``keep`` to a host, for the first ``MAX_KEPT_HOSTS`` hosts: a list
    of thousands of hosts must not use up our descriptors.
    """

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        keep: int = 4,
        resolve: Resolve = resolve,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._allowed = allowed
        self._keep = keep
        self._resolve = resolve
        self._given_context = context
        self._pools: dict[tuple[str, str, int], httpx.AsyncHTTPTransport] = {}
        self._known: dict[tuple[str, int], tuple[float, Sequence[str]]] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request`` to an address of its host that may be asked.

        Raises:
            Refused: an address of the host is private and not allowed.
            Unreachable: the name cannot be resolved.
            httpx.TransportError: no address answered.
        """
        url = request.url
        host = url.raw_host.decode("ascii")
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await self._addresses(host, port)
        if not request.extensions.get(_TRUSTED):
            for address in addresses:
                check_address(host, address, self._allowed)
        pool = self._pool(url.scheme, host, port)
        failed: httpx.TransportError = httpx.ConnectError("no address")
        for address in addresses[:MAX_ADDRESSES]:
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await pool.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        raise failed

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    async def _addresses(self, host: str, port: int) -> Sequence[str]:
        now = asyncio.get_running_loop().time()
        until, addresses = self._known.get((host, port), (0.0, ()))
        if now < until:
            return addresses
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            why = plain(str(error))
            raise Unreachable(f"{plain(host)}: its name cannot be resolved ({why})") from error
        self._known[host, port] = (now + KNOWN_SECONDS, addresses)
        return addresses

    def _pool(self, scheme: str, host: str, port: int) -> httpx.AsyncHTTPTransport:
        key = (scheme, host, port)
        if key not in self._pools:
            keep = self._keep if len(self._pools) < MAX_KEPT_HOSTS else 0
            self._pools[key] = httpx.AsyncHTTPTransport(
                verify=self._context if scheme == "https" else False,
                trust_env=False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=keep),
            )
        return self._pools[key]

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._given_context or httpx.create_ssl_context(trust_env=False)


class Web:
    """A worker's client; use it as an async context manager.

    It uses httpx below the level of its client, which would keep cookies and read redirects.
    """

    def __init__(
        self,
        settings: SiteSettings,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        streams: int = 4,
    ) -> None:
        self._settings = settings
        self._transport = transport or GuardedTransport(settings.allow_networks, keep=streams)
        self._headers = {
            "User-Agent": settings.user_agent,
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        }
        patience = settings.stall_seconds
        self._timeout = httpx.Timeout(patience, connect=min(CONNECT_SECONDS, patience)).as_dict()

    async def __aenter__(self) -> Self:
        await self._transport.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def get(self, source: Source, headers: Mapping[str, str]) -> httpx.Response:
        """GET ``source``; the body is still to be read, and the answer the caller's to close.

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
            response = await self._send(url, {**headers, **secret}, trusted=bool(secret))
            location = response.headers.get("location")
            if response.status_code not in _REDIRECTS or location is None:
                return response
            await response.aclose()
            url, secret = check_hop(url, location), {}
        raise Bad(f"{host_of(first)}: redirects more than {MAX_HOPS} times")

    async def _send(
        self, url: httpx.URL, headers: Mapping[str, str], *, trusted: bool
    ) -> httpx.Response:
        host, patience = host_of(url), self._settings.stall_seconds
        request = httpx.Request(
            "GET",
            url,
            headers={**self._headers, **headers},
            extensions={"timeout": self._timeout, _TRUSTED: trusted},
        )
        try:
            async with asyncio.timeout(patience):
                return await self._transport.handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            why = plain(str(error)) or "nobody answers there"
            raise Unreachable(f"{host}: cannot be reached ({why})") from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Passing(f"{host}: gave no answer within {patience:g} s") from error
        except NETWORK_ERRORS as error:
            why = plain(str(error)) or type(error).__name__
            raise Passing(f"{host}: broke off before it answered ({why})") from error

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
