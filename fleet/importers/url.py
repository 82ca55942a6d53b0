"""URLs from outside: which ones may be mirrored, and what they say of a file's name.

Pure.  Names are not resolved and private addresses pass: the worker that connects decides about
addresses, because a deployment may allow some.
"""

import re
import unicodedata
from ipaddress import IPv6Address
from urllib.parse import SplitResult, unquote, urlsplit

from fleet.importers.draft import ItemRefused
from fleet.importers.paths import MAX_PATH, checked_path

_PLAIN = re.compile(r"[!-\[\]-~]+")  # printable ASCII but the space and the backslash
_HOST = re.compile(r"[\w-]+(?:\.[\w-]+)*\.?")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]*)\](?:$|:)")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_HOST = 253
_MAX_PARENTS = 32


def checked_url(text: str) -> str:
    """Return ``text`` in normal form, if it is a URL that may be mirrored.

    Scheme and host become lowercase, a default port and the fragment go, an empty path becomes
    ``/`` (RFC 3986, 6.2.2 and 6.2.3); the rest stays as it was written.

    Raises:
        ItemRefused: it is not an http or https URL, or it holds what no list should.
    """
    if not _PLAIN.fullmatch(text):
        _check_characters(text)
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ItemRefused("is not a readable URL") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ItemRefused("is not an http or https URL")
    if "@" in parts.netloc:
        raise ItemRefused("holds a user name or password; secrets do not belong in a list")
    host, port = _checked_host(parts), _checked_port(parts)
    shown_port = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{host}{shown_port}{parts.path or '/'}{query}"


def file_name(url: str) -> str | None:
    """Return the name of the file that a checked URL points to; None if it ends in a slash.

    Raises:
        ItemRefused: the name is no safe path.
    """
    last = urlsplit(url).path.rpartition("/")[2]
    if not last:
        return None
    try:
        name = unquote(last, errors="strict")
    except UnicodeDecodeError:
        raise ItemRefused("has a file name that is not UTF-8") from None
    if "/" in name:
        raise ItemRefused("has an encoded slash in its file name")
    return checked_path(name)


def parents(url: str, path: str) -> tuple[str, ...]:
    """Return what may stand before ``path`` to tell it from others: host, then folders.

    Folders that are no safe path are left out, and no more are given than fit a path.
    """
    parts = urlsplit(url)
    host = _safe_folder(re.sub(r"[^\w.-]+", "-", parts.netloc).strip("-.")) or "host"
    room = MAX_PATH - len(path.encode()) - len(host.encode()) - 1
    if room < 0:
        return ()
    chain: list[str] = []
    for raw in reversed(parts.path.split("/")[:-1]):
        folder = _safe_folder(raw)
        if folder is None:
            continue
        room -= len(folder.encode()) + 1
        if room < 0 or len(chain) == _MAX_PARENTS:
            break
        chain.append(folder)
    return tuple(reversed([*chain, host]))


def _safe_folder(raw: str) -> str | None:
    try:
        folder = unquote(raw, errors="strict")
        return None if "/" in folder else checked_path(folder)
    except (UnicodeDecodeError, ItemRefused):
        return None


def _check_characters(text: str) -> None:
    if not text:
        raise ItemRefused("is empty")
    if "\\" in text:
        raise ItemRefused("holds a backslash, which has no place in a URL")
    for character in text:
        category = unicodedata.category(character)
        if category in {"Zs", "Zl", "Zp"}:
            raise ItemRefused("holds a space: write it as %20, and a TAB between alternates")
        if category in {"Cc", "Cf", "Cs"}:
            raise ItemRefused(f"holds the control character U+{ord(character):04X}")


def _checked_host(parts: SplitResult) -> str:
    bracketed = _IPV6.match(parts.netloc)
    if bracketed:
        try:
            return f"[{IPv6Address(bracketed[1]).compressed}]"
        except ValueError:
            raise ItemRefused("names a host that is no IPv6 address") from None
    host = parts.netloc.partition(":")[0].lower()
    if not host:
        raise ItemRefused("names no host")
    if len(host) > _MAX_HOST or not _HOST.fullmatch(host):
        raise ItemRefused("names a host that is no host name")
    return host


def _checked_port(parts: SplitResult) -> int | None:
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ItemRefused("has a port that is no number from 1 to 65535")
    return port
