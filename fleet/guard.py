"""Connections to addresses that may be asked, and for so long only: for httpcore's clients.

Rules this module keeps:

- A host's addresses are looked up here, every one is checked, and one that was checked is
  connected to: a name that resolves differently a moment later gains nothing.
- Nothing is read after the guard's moment, however slowly the other side drips.
"""

import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from fleet.planning.addresses import Network, unfit

_MAX_ADDRESSES = 4


class ForbiddenAddressError(Exception):
    """A host has an address that may not be asked; ``why`` says more."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host}: {why}")
        self.host = host
        self.why = why


class TooLateError(Exception):
    """The moment until which is read has passed."""


class Guard(httpcore.NetworkBackend):
    """Connects to checked addresses only; TLS still goes by the name.

    Attributes:
        until: nothing is read after this moment of ``time.monotonic``.
    """

    def __init__(self, allowed: Sequence[Network], until: float) -> None:
        self.until = until
        self._allowed = allowed
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to an address of ``host`` that may be asked.

        Raises:
            ForbiddenAddressError: an address of it may not be asked.
            httpcore.ConnectError: there is none, or none answers.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"its name cannot be resolved: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if why := unfit(address, self._allowed):
                raise ForbiddenAddressError(host, why)
        failed: Exception = httpcore.ConnectError("it has no address")
        for address in addresses[:_MAX_ADDRESSES]:
            try:
                stream = self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
                return _Bounded(stream, self)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed


class _Bounded(httpcore.NetworkStream):
    """A connection that is read until its guard's moment."""

    def __init__(self, inner: httpcore.NetworkStream, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there.

        Raises:
            TooLateError: the moment has passed.
        """
        if time.monotonic() > self._guard.until:
            raise TooLateError
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send something."""
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """Let go of it."""
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        """Tell what httpcore asks of it."""
        return self._inner.get_extra_info(info)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Cover the connection with TLS."""
        return _Bounded(self._inner.start_tls(ssl_context, server_hostname, timeout), self._guard)
