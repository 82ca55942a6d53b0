"""Paths from outside, kept inside.

Rules this module keeps:

- A path is relative, its segments are plain names: not empty, not ``.`` or ``..``, not hidden
  (our own folders are), without control characters or a backslash (a separator elsewhere), and
  of a length that file systems take.
- Below the root no symbolic link is followed, wherever it points.
"""

import re
import unicodedata
from pathlib import Path

MAX_NAME = 255
MAX_PATH = 1024
_CONTROLS = {"Cc", "Cs"}
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")  # what most names are, told fast


class UnsafePathError(ValueError):
    """The path may not be used; the message says what is wrong with it."""


def segments(path: str) -> tuple[str, ...]:
    """Split a relative path from outside into its checked names.

    Raises:
        UnsafePathError: it breaks one of the module's rules.
    """
    names = tuple(path.split("/"))
    for name in names:
        wrong = _wrong(name)
        if wrong:
            raise UnsafePathError(f"unsafe path {path[:200]!r}: {wrong}")
    if len(_encoded(path)) > MAX_PATH:
        raise UnsafePathError(f"unsafe path {path[:200]!r}: longer than {MAX_PATH} bytes")
    return names


def contained(root: Path, *paths: str) -> Path:
    """Join ``paths`` below ``root``; an empty one adds nothing, but not all may be empty.

    Raises:
        UnsafePathError: a path breaks the rules, or meets a symbolic link below the root.
    """
    names = [name for path in paths if path for name in segments(path)]
    if not names:
        raise UnsafePathError("unsafe path '': it names no file")
    place = root
    for name in names:
        place = place / name
        if place.is_symlink():
            raise UnsafePathError(f"unsafe path {'/'.join(names)!r}: {place} is a symbolic link")
    return place


def _wrong(name: str) -> str:
    """Say what is wrong with one name of a path; empty when nothing is."""
    if _PLAIN.fullmatch(name):
        return ""
    if not name:
        return "it is absolute or has an empty segment"
    if name.startswith("."):
        return f"segment {name[:80]!r} begins with a dot"
    if "\\" in name or any(unicodedata.category(sign) in _CONTROLS for sign in name):
        return f"segment {name[:80]!r} has a backslash or a control character"
    if len(_encoded(name)) > MAX_NAME:
        return f"segment {name[:80]!r} is longer than {MAX_NAME} bytes"
    return ""


def _encoded(text: str) -> bytes:
    """Encode as the file system does; lone surrogates were refused before."""
    return text.encode()
