"""Names that every client, file system and web server takes as they are.

A client changes a name it does not like (libtorrent drops backslashes and invisible characters,
replaces control characters, cuts names at 240 bytes and renames files that differ in case alone),
and then neither its web seeds nor its folders match anybody else's.  Such names are refused here,
where a person can still do something about them.
"""

import unicodedata
from collections.abc import Iterable
from typing import Final

MAX_NAME_BYTES: Final = 240
MAX_PATH_BYTES: Final = 1024
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs"})


def name_fault(name: str) -> str:
    """Why ``name`` cannot be one segment of a path in a torrent; empty if it can."""
    if name in {"", ".", ".."}:
        return f"{name!r} is not a name"
    if "/" in name or "\\" in name:
        return f"{name[:80]!r} has a slash in it"
    if any(unicodedata.category(char) in _UNSEEN for char in name):
        return f"{name[:80]!r} has a control or invisible character in it"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"{name[:80]!r}… is longer than {MAX_NAME_BYTES} bytes"
    return ""


def path_fault(path: str) -> str:
    """Why ``path``, with ``/`` between its names, cannot be in a torrent; empty if it can."""
    for name in path.split("/"):
        if fault := name_fault(name):
            return fault
    if len(path.encode()) > MAX_PATH_BYTES:
        return f"the path {path[:80]!r}… is longer than {MAX_PATH_BYTES} bytes"
    return ""


def clash(paths: Iterable[str]) -> str:
    """Why ``paths`` cannot lie in one folder together; empty if they can.

    Paths that differ only in case or in how an accent is composed are the same file to some
    systems, and a file cannot also be a folder.
    """
    taken: dict[str, str] = {}
    for path in paths:
        key = _folded(path)
        if key in taken:
            return f"{taken[key]!r} and {path!r} are the same file to some clients"
        taken[key] = path
    for key, path in taken.items():
        for end in (at for at, char in enumerate(key) if char == "/"):
            if key[:end] in taken:
                return f"{taken[key[:end]]!r} is a file, and {path!r} wants it as a folder"
    return ""


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).lower()
