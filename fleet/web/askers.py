"""Who asks the redirector: the country, as far as it is known.

Rules this module keeps:

- What a request says of itself is believed only where it comes from a trusted proxy.
- Of ``X-Forwarded-For`` the last address that is no such proxy's is who asks: what stands before
  it may be anybody's invention.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import maxminddb

from fleet.control.errors import RefusedError
from fleet.planning.redirect import Asker
from fleet.settings import CentreSettings

Scope = Mapping[str, Any]
_COUNTRY = re.compile(r"[A-Z]{2}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")
_REMEMBERED = 10_000
_LONGEST = 64  # more than any address has: what is remembered is not for others to make large


class Askers:
    """Tells who asks; ``varies`` names the header by which answers differ, if any does.

    ``personal``: they differ by address as well, so that a shared cache may not keep them.
    """

    def __init__(self, settings: CentreSettings) -> None:
        """Open the database of countries, if there is one.

        Raises:
            RefusedError: it cannot be read.
        """
        self._proxies = settings.trusted_proxies
        header = settings.country_header if self._proxies else ""
        self._header = header.lower().encode()
        self._preferred = frozenset(settings.jurisdictions)
        self._countries = _database(settings)
        self.varies, self.personal = header, self._countries is not None
        self._known = self._header or self._countries
        self._trusts = lru_cache(_REMEMBERED)(self._is_proxy)
        self._looks_up = lru_cache(_REMEMBERED)(self._look_up)
        self._asker = lru_cache(_REMEMBERED)(self._make)

    def of(self, scope: Scope) -> Asker:
        """Return who asks."""
        if not self._known:
            return self._asker("")
        address = scope["client"][0] if scope.get("client") else ""
        if not self._trusts(address):
            return self._asker(self._looks_up(address))
        headers = dict(scope["headers"])
        said = headers.get(self._header, b"").decode("latin-1").strip().upper()
        if _COUNTRY.fullmatch(said):
            return self._asker(said)
        forwarded = headers.get(b"x-forwarded-for", b"").decode("latin-1").split(",")
        hops = [hop.strip()[:_LONGEST] for hop in reversed(forwarded)]
        outside = next((hop for hop in hops if not self._trusts(hop)), "")
        return self._asker(self._looks_up(outside))

    def origin(self, scope: Scope) -> str:
        """Return the scheme and host that a request was sent to; empty if it names no host."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        address = scope["client"][0] if scope.get("client") else ""
        said = headers.get(b"x-forwarded-proto", b"") if self._trusts(address) else b""
        scheme = "https" if said == b"https" else scope["scheme"]
        return f"{scheme}://{host}" if _HOST.fullmatch(host) else ""

    def _make(self, country: str) -> Asker:
        return Asker(country, self._preferred or frozenset({country} - {""}))

    def _is_proxy(self, address: str) -> bool:
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)

    def _look_up(self, address: str) -> str:
        if self._countries is None:
            return ""
        try:
            record = self._countries.get(address)
        except ValueError:  # no address, or one of IPv6 in a database of IPv4
            return ""
        country = record.get("country") if isinstance(record, dict) else None
        code = country.get("iso_code") if isinstance(country, dict) else country
        return code if isinstance(code, str) and _COUNTRY.fullmatch(code) else ""


def _database(settings: CentreSettings) -> maxminddb.Reader | None:
    path = settings.country_database
    if path is None:
        return None
    try:
        return maxminddb.open_database(path)
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as error:
        raise RefusedError(
            f"FLEET_COUNTRY_DATABASE {path} cannot be read: {error}; "
            "name a file in MaxMind's format (.mmdb), or leave it unset"
        ) from error
