"""Which of several representations a request asks for first (RFC 9110, 12.5.1)."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, TypeVar

_LONGEST: Final = 2_000  # characters of a header that are read
_WORD: Final = r"[A-Za-z0-9!#$&^_.+*-]+"
_RANGE: Final = re.compile(rf'({_WORD})/({_WORD})((?:\s*;\s*[\w-]+=(?:"[^"]*"|[^\s;,"]*))*)')
_PARAMETER: Final = re.compile(r';\s*([\w-]+)=(?:"([^"]*)"|([^\s;,"]*))')


class Offer(Protocol):
    """A representation: its media type, and the profile that tells it from others of that type."""

    @property
    def media_type(self) -> str:
        """The media type, without parameters."""

    @property
    def profile(self) -> str:
        """The profile, or empty."""


One = TypeVar("One", bound=Offer)
_Range = tuple[str, str, str, float]


def best(accept: str, offers: Sequence[One]) -> One | None:
    """Return what is asked for first; of what is asked for alike the first, and None of nothing.

    Args:
        accept: the header; who sends none takes anything.
        offers: what there is, what is given of one's own accord first.
    """
    ranges = list(_ranges(accept[:_LONGEST])) or [("*", "*", "", 1.0)]
    found = max(offers, key=lambda one: _quality(one, ranges))
    return found if _quality(found, ranges) > 0 else None


def _ranges(accept: str) -> Iterator[_Range]:
    for kind, subtype, rest in _RANGE.findall(accept):
        said = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(rest)}
        yield kind.lower(), subtype.lower(), said.get("profile", ""), _weight(said.get("q", "1"))


def _weight(said: str) -> float:
    return min(float(said), 1.0) if re.fullmatch(r"[01](\.[0-9]{0,3})?", said) else 1.0


def _quality(offer: Offer, ranges: Sequence[_Range]) -> float:
    """Return the weight that the closest of all ranges gives an offer; 0 is never."""
    kind, _, subtype = offer.media_type.partition("/")
    closest, weight = -1, 0.0
    for asked, below, profile, given in ranges:
        if (asked, below) == (kind, subtype) and profile == offer.profile:
            near = 3
        elif profile:
            continue
        elif (asked, below) == (kind, subtype):
            near = 2
        elif (asked, below) == (kind, "*"):
            near = 1
        elif (asked, below) == ("*", "*"):
            near = 0
        else:
            continue
        if near > closest:
            closest, weight = near, given
    return weight
