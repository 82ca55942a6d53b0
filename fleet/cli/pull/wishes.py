"""What the words on the command line ask for: pure.

Decisions this module takes:

- Without a digest each URL is a file.  With one for all, the URLs are mirrors of one file; with
  one for each, those of the same digest are.
- A file is named by the last segment of its first URL.  It has to be a plain name, and no two
  files may have the same.
- Whoever types a private address means it, and no other: a redirect to the one beside it is
  refused as ever.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import unquote

import httpx

from fleet.cli.text import clean
from fleet.control.errors import FleetError
from workers.pull.faults import Refused
from workers.pull.web.addresses import check_url, shown
from workers.storage.paths import UnsafePathError, segments

_DIGEST = re.compile(r"[0-9a-f]{64}")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([kmg]?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_LOCAL = ("127.0.0.1", "::1")


class WrongUsageError(FleetError):
    """The words on the command line make no sense; the message says which."""


@dataclass(frozen=True)
class Wish:
    """One file: its name, where it is to be had, and its digest if that is known."""

    name: str
    urls: tuple[str, ...]
    sha256: str | None = None


def wishes(urls: Sequence[str], digests: Sequence[str]) -> list[Wish]:
    """Tell which files are asked for.

    Raises:
        WrongUsageError: a URL or digest cannot be used, or their numbers do not fit.
    """
    known = [_digest(text) for text in digests]
    if len(known) == 1:
        known *= len(urls)
    if known and len(known) != len(urls):
        raise WrongUsageError(
            f"{len(urls)} URLs and {len(known)} --sha256: give one for each URL, "
            "or one for all of them if they are mirrors of one file"
        )
    mirrors: dict[str, list[str]] = {}
    for number, url in enumerate(urls):
        _path(url)
        mirrors.setdefault(known[number] if known else f"{number}", []).append(url)
    found = [
        Wish(_name(those[0]), tuple(those), key if known else None)
        for key, those in mirrors.items()
    ]
    _keep_apart(found)
    return found


def rate(text: str) -> int | None:
    """Read a rate such as 500k, 5M or 1.5G, in bytes per second; None if it is empty.

    Raises:
        WrongUsageError: it is none, or less than one kB/s.
    """
    if not text:
        return None
    match = _RATE.fullmatch(text)
    found = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if found < 1000:
        raise WrongUsageError(
            f"--limit-rate {clean(text[:40])!r}: a rate is 1k or more, such as 500k, 5M or 1.5G "
            "(bytes a second)"
        )
    return found


def typed_networks(urls: Iterable[str]) -> tuple[IPv4Network | IPv6Network, ...]:
    """List the addresses that these URLs name outright, each as a network of its own.

    Raises:
        WrongUsageError: one is no URL that may be asked.
    """
    found = []
    for url in urls:
        host = _checked(url).host
        with suppress(ValueError):
            found += [ip_network(each) for each in (_LOCAL if host == "localhost" else (host,))]
    return tuple(found)


def _digest(text: str) -> str:
    found = text.strip().lower().removeprefix("sha256:")
    if not _DIGEST.fullmatch(found):
        raise WrongUsageError(
            f"--sha256 {clean(text[:100])!r}: a SHA-256 has 64 hex digits, this has not"
        )
    return found


def _path(url: str) -> str:
    """Read the path of a URL, as it is written.

    Raises:
        WrongUsageError: it is no URL that may be asked.
    """
    return _checked(url).raw_path.decode("ascii").partition("?")[0]


def _checked(url: str) -> httpx.URL:
    try:
        return check_url(url)
    except (Refused, ValueError) as error:  # no UTF-8, for one
        raise WrongUsageError(f"{clean(shown(url))}: {error}") from error


def _name(url: str) -> str:
    name = unquote(_path(url).rpartition("/")[2])
    where = clean(shown(url))
    if not name:
        raise WrongUsageError(f"{where}: names no file, it ends with a slash")
    try:
        plain = segments(name) == (name,)
    except UnsafePathError as error:
        raise WrongUsageError(f"{where}: {clean(str(error))}") from error
    if not plain:
        raise WrongUsageError(f"{where}: {clean(name)!r} is no plain file name")
    return name


def _keep_apart(wanted: Sequence[Wish]) -> None:
    """Refuse two files of one name."""
    first: dict[str, Wish] = {}
    for wish in wanted:
        other = first.setdefault(wish.name, wish)
        if other is not wish:
            both = " and ".join(clean(shown(one.urls[0])) for one in (other, wish))
            raise WrongUsageError(
                f"two files would be named {wish.name}: {both}; if they are mirrors of one file, "
                "give its --sha256; else pull them into two folders"
            )
