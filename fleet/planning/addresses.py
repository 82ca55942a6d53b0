"""Which addresses may be asked: a pure decision on what comes from outside.

An address is fit if it is public, or lies in a network that the settings allow.  IPv6 addresses
that carry an IPv4 one (mapped, translated, compatible, 6to4, NAT64) are judged by that one as
well.

A host is for all to know if it is such an address, or a name that means the same everywhere.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 2765
_COMPATIBLE = IPv6Network("::/96")  # RFC 4291, section 2.5.5.1
_SITE_LOCAL = IPv6Network("fec0::/10")
_LOCAL_NAMES = (  # RFC 6761, 6762, 7686, 8375, and what networks of their own are called
    *(".local", ".localhost", ".localdomain", ".internal", ".lan", ".home", ".home.arpa"),
    *(".corp", ".test", ".onion"),
)
_NEVER_PUBLIC = (_LOCAL_NAT64, _SITE_LOCAL)  # of which not every Python knows it


def unfit(address: str, allowed: Sequence[Network]) -> str:
    """Say why ``address`` may not be asked; empty if it may."""
    found = ip_address(address)
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if all(_fit(each, allowed) for each in (found, *_carried(found))):
        return ""
    return (
        f"its address {found} is not public; "
        "FLEET_ALLOW_NETWORKS names the private networks that sources may lie in"
    )


def public(host: str) -> bool:
    """Say whether all may be told of a host, by its name or address: it is of no private network.

    Names of one part are a network's own, and what ends in a number is an address (RFC 1123,
    section 2.1), in whatever way it is written.
    """
    try:
        return not unfit(host, ())
    except ValueError:
        name = host.rstrip(".").lower()
        last = name.rpartition(".")[2]
        return "." in name and not last[:1].isdigit() and not name.endswith(_LOCAL_NAMES)


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
