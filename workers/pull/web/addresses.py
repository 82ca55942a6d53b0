"""Which URLs and addresses a worker may ask: pure decisions on what comes from outside."""

from collections.abc import Sequence

import httpx

from fleet.planning.addresses import Network, unfit
from workers.pull.faults import Refused, plain


def check_url(text: str) -> httpx.URL:
    """Read a URL from outside.

    Raises:
        Refused: it is malformed, is not http or https, or carries a user or password.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise Refused(f"the URL {shown(text)!r} cannot be read: {error}") from error
    if url.scheme not in {"http", "https"}:
        raise Refused(f"{plain(url.scheme) or 'no scheme'}: only http and https URLs are pulled")
    if url.userinfo:
        raise Refused(f"{host_of(url)}: the URL carries a user or password, which is not allowed")
    host = url.raw_host.decode("ascii")  # ``url.host`` would decode it, if it can be
    if not host:
        raise Refused(f"the URL {shown(text)!r} names no host")
    if url.port is not None and not 0 < url.port < 65536:
        raise Refused(f"{plain(host)}: the URL's port {url.port} does not exist")
    return url


def check_hop(origin: httpx.URL, location: str) -> httpx.URL:
    """Read where ``origin`` redirects to.

    Raises:
        Refused: the new URL may not be asked, or gives up encryption.
    """
    try:
        joined = str(origin.join(location))
    except (httpx.InvalidURL, ValueError) as error:
        host = host_of(origin)
        raise Refused(f"{host}: redirects to {shown(location)!r}, which is no URL") from error
    url = check_url(joined)
    if origin.scheme == "https" and url.scheme == "http":
        raise Refused(f"{host_of(origin)}: redirects from https to plain http at {host_of(url)}")
    return url


def check_address(host: str, address: str, allowed: Sequence[Network]) -> None:
    """Judge one address that ``host`` resolved to.

    Raises:
        Refused: it is neither public nor allowed.
    """
    if why := unfit(address, allowed):
        raise Refused(f"{plain(host)}: {why}")


def host_of(url: httpx.URL) -> str:
    """Name the host as reports do: with its port where that is not the scheme's."""
    return plain(url.netloc.decode("ascii", "replace"))


def shown(url: str) -> str:
    """Show a URL that may be malformed, without a password or a signature that it may carry."""
    return plain(url.partition("?")[0].rpartition("@")[2])
