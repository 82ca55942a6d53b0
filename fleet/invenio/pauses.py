"""How long a repository asks to be left alone, by the headers of its answer."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = 3600.0
"""The longest window of Zenodo's rates; nothing longer is believed."""
_THROTTLED: Final = 429
_UNSAID: Final = 60.0


def pause(status: int, headers: Mapping[str, str], now: float) -> float:
    """Say for how many seconds nothing shall be asked; 0 if it may be asked on.

    Args:
        status: of the answer; ``Retry-After`` was seen with 2xx too.
        headers: of the answer.
        now: seconds since 1970 here, used where the answer has no ``Date`` of its own.
    """
    asked = _seconds(headers.get("retry-after", ""), now)
    if asked is None and (status == _THROTTLED or headers.get("x-ratelimit-remaining") == "0"):
        reset = headers.get("x-ratelimit-reset", "")
        served = _moment(headers.get("date", ""))
        asked = float(reset) - (now if served is None else served) if _number(reset) else None
    if asked is None or asked <= 0:
        asked = _UNSAID if status == _THROTTLED else 0.0
    return min(asked, LONGEST)


def _seconds(text: str, now: float) -> float | None:
    if _number(text):
        return float(text)
    moment = _moment(text)
    return None if moment is None else max(0.0, moment - now)


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
