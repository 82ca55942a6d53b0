"""Which URLs and addresses a worker may ask: pure decisions on what comes from outside.

An address is fit if it is public, or lies in a network that this site's settings allow.  IPv6
addresses that carry an IPv4 one (mapped, translated, compatible, 6to4, NAT64) are judged by that
one as well.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpx

from workers.pull.faults import Refused, plain

Network = IPv4Network | IPv6Network
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 2765
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, section 2.5.5.1
_SITE_LOCAL = IPv6Network("fec0::/10")
_NEVER_PUBLIC = (_LOCAL_NAT64, _SITE_LOCAL)  # of which not every Python knows it


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
    found = ip_address(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if not all(_fit(each, allowed) for each in (found, *_carried(found))):
        raise Refused(
            f"{plain(host)}: its address {found} is not public; "
            "FLEET_ALLOW_NETWORKS names the private networks that sources may lie in"
        )


def host_of(url: httpx.URL) -> str:
    """Name the host as reports do: with its port where that is not the scheme's."""
    return plain(url.netloc.decode("ascii", "replace"))


def shown(url: str) -> str:
    """Show a URL that may be malformed, without a password or a signature that it may carry."""
    return plain(url.partition("?")[0].rpartition("@")[2])


def _fit(address: IPv4Address | IPv6Address, allowed: Sequence[Network]) -> bool:
    if any(address in network for network in allowed):
        return True
    if any(address in network for network in _NEVER_PUBLIC):
        return False
    return address.is_global and not address.is_multicast


def _carried(address: IPv4Address | IPv6Address) -> tuple[IPv4Address, ...]:
    """List the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return ()
    carried = [] if address.sixtofour is None else [address.sixtofour]
    compatible = address in _COMPATIBLE and int(address) > 1  # not :: and ::1
    if compatible or any(address in each for each in (_NAT64, _LOCAL_NAT64, _TRANSLATED)):
        carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return tuple(carried)
