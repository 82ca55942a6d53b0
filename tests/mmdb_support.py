"""A database in MaxMind's format, written for a test: countries of networks of IPv4.

https://maxmind.github.io/MaxMind-DB/: a binary tree of the addresses' bits, the records it leads
to, and what is said of the file itself.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

_MARK = b"\xab\xcd\xefMaxMind.com"
_BYTES = 3  # each side of a node


def write(path: Path, countries: Mapping[str, str]) -> Path:
    """Write a database in which each network is in a country."""
    nodes: list[list[int | str | None]] = [[None, None]]
    for network, country in countries.items():
        _put(nodes, IPv4Network(network), country)
    records, places = bytearray(), dict[str, int]()
    for country in dict.fromkeys(countries.values()):
        places[country] = len(records)
        records += _data({"country": {"iso_code": country}})
    tree = bytearray()
    for node in nodes:
        for side in node:
            to = len(nodes) if side is None else side
            if isinstance(to, str):
                to = len(nodes) + 16 + places[to]
            tree += to.to_bytes(_BYTES)
    about = {
        "binary_format_major_version": _short(2),
        "binary_format_minor_version": _short(0),
        "build_epoch": (1_700_000_000).to_bytes(8),
        "database_type": "Test-Country",
        "description": {"en": "made for a test"},
        "ip_version": _short(4),
        "languages": [],
        "node_count": len(nodes).to_bytes(4),
        "record_size": _short(8 * _BYTES),
    }
    path.write_bytes(bytes(tree) + bytes(16) + bytes(records) + _MARK + _data(about))
    return path


def _short(number: int) -> bytes:
    return number.to_bytes(2)


def _put(nodes: list[list[int | str | None]], network: IPv4Network, country: str) -> None:
    at = 0
    for bit in range(network.prefixlen):
        side = int(network.network_address) >> 31 - bit & 1
        if bit == network.prefixlen - 1:
            nodes[at][side] = country
            return
        if not isinstance(nodes[at][side], int):
            nodes.append([None, None])
            nodes[at][side] = len(nodes) - 1
        to = nodes[at][side]
        assert isinstance(to, int)
        at = to


def _data(value: Any) -> bytes:
    """Write a value: its kind in three bits, or seven more than a byte says, then its length."""
    if isinstance(value, dict):
        inside = b"".join(_data(name) + _data(one) for name, one in value.items())
        return bytes([7 << 5 | len(value)]) + inside
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(_data, value))
    if isinstance(value, str):
        text = value.encode()
        assert len(text) < 29
        return bytes([2 << 5 | len(text)]) + text
    assert isinstance(value, bytes)  # a number: its length is its kind
    first = {2: bytes([5 << 5 | 2]), 4: bytes([6 << 5 | 4]), 8: bytes([8, 9 - 7])}
    return first[len(value)] + value
