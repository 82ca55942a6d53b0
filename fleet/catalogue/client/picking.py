"""Which files of a version are asked for: pure."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from fleet.catalogue.client.offer import File, OfferError
from fleet.catalogue.near import near

_SIGNS: Final = "*?["


def pick(files: Iterable[File], asked: Sequence[str]) -> list[File]:
    """Choose the files that paths, folders or patterns such as ``*.parquet`` name; none: all.

    A ``*`` stands for slashes as well.

    Raises:
        OfferError: one of them names nothing.
    """
    every = list(files)
    if not asked:
        return every
    chosen: dict[str, File] = {}
    for text in asked:
        found = [file for file in every if _is_meant(file.path, text)]
        if not found:
            kind = "is like" if any(sign in text for sign in _SIGNS) else "is called"
            raise OfferError(
                f"no file of it {kind} {text!r}{near(text, (file.path for file in every))}"
            )
        chosen |= {file.path: file for file in found}
    return [file for file in every if file.path in chosen]


def _is_meant(path: str, text: str) -> bool:
    below = f"{text.rstrip('/')}/"
    return path == text or path.startswith(below) or fnmatchcase(path, text)
