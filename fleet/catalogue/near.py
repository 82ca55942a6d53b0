"""Names that may have been meant for one that is not there."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_MOST: Final = 3


def near(name: str, names: Iterable[str]) -> str:
    """Say which names a name may have been meant for; empty where none is like it."""
    every = list(names)
    folded = name.casefold()
    like = [one for one in every if folded and folded in one.casefold()][:_MOST]
    like = like or get_close_matches(name, every, _MOST)
    return f": did you mean {' or '.join(like)}?" if like else ""


def few(names: Iterable[str]) -> str:
    """Name the first of them, and count the others."""
    every = list(names)
    more = len(every) - _MOST
    return ", ".join(every[:_MOST]) + (f" and {more} more" if more > 0 else "")
