"""The ways a pull can fail, told apart by what is to be done about them.

Every message is one line that names who failed, without control characters, so that it can be
shown to people as it is.
"""

import unicodedata

from fleet.messages import ItemResult

MAX_TEXT = 120
MAX_NAMED = 3


class Fault(Exception):
    """Something kept an item from being pulled; the message is the reason.

    ``throttled``: a host answered 429 or 503; ``asks`` is then for how many seconds it wants to be
    left alone, 0 where it only says that we ask too much, None where it says neither.
    """

    throttled = False
    asks: float | None = None


class Refused(Fault):
    """We may not ask this; asking again cannot help."""


class Bad(Fault):
    """The source is of no use in this attempt; a later one may find it healed."""


class Worthless(Bad):
    """Likewise, and the bytes that it sent are not worth keeping."""


class OtherSize(Bad):
    """It offers a file of another size than was expected."""


class Busy(Bad):
    """It asks to be left alone for longer than we wait."""


class Again(Fault):
    """We made it wait, and it broke off: it may be asked again at once, and is not to blame."""


class Passing(Fault):
    """The source may do better if asked again, after ``wait`` seconds if it said so."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Unreachable(Passing):
    """Not even a connection can be had, whatever is asked for."""


class Changed(Fault):
    """The source's file is no longer the one that we hold a part of."""


class Local(Fault):
    """It is this host that cannot go on; no source is to blame."""


def plain(text: str) -> str:
    """Text from outside, fit for a reason: printable, and not long."""
    kept = "".join(sign for sign in text if unicodedata.category(sign)[0] != "C")
    return kept if len(kept) <= MAX_TEXT else kept[: MAX_TEXT - 1] + "…"


def result(artifact: str, faults: list[Fault]) -> ItemResult:
    """Say why an item failed, from each source's last fault: the most telling first.

    It is final only if every source had to be refused.
    """
    if not faults:
        return ItemResult(
            artifact=artifact, ok=False, reason="has no HTTP source to pull from", fault="source"
        )
    telling = sorted(faults, key=_rank)
    reasons = list(dict.fromkeys(str(fault) for fault in telling))
    more = len(reasons) - MAX_NAMED
    reason = "; ".join(reasons[:MAX_NAMED]) + (f"; and {more} more sources failed" * (more > 0))
    if isinstance(telling[0], Local):
        return ItemResult(artifact=artifact, ok=False, reason=reason, fault="local")
    refused = isinstance(telling[0], Refused)
    return ItemResult(
        artifact=artifact,
        ok=False,
        reason=reason,
        final=refused,
        fault="refused" if refused else "source",
    )


def _rank(fault: Fault) -> int:
    """Order faults by how much they tell."""
    if isinstance(fault, Local):
        return 0
    if isinstance(fault, Bad):
        return 1
    return 3 if isinstance(fault, Refused) else 2
