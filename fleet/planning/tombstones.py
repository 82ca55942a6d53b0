"""When a copy that serves no rule any more may be dropped.

Rules this module keeps:

- Nothing happens before a time of grace is over: a rule may be changed back, a site may return.
- It is dropped only once ``min`` others, which were chosen for the rule and are good, were read
  from end to end since then.  Such a reading counts for ``LIVE``: what was seen longer ago may be
  gone by now.
- While anything else is under way at the copy itself, it waits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

LIVE = timedelta(days=7)
_LOOK_AGAIN = timedelta(hours=6)
_SELDOM = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class OtherCopy:
    """A copy that was chosen for the rule.

    Attributes:
        site: where it is.
        good: whether it is available at a site that answers.
        read_since: when a reading of all of it began that found it right; None: never.
    """

    site: str
    good: bool
    read_since: datetime | None


@dataclass(frozen=True, slots=True)
class Act:
    """What to do about a tombstone now, and why; ``verify`` names the sites to read first."""

    do: Literal["wait", "verify", "drop"]
    reason: str
    until: datetime | None = None
    verify: tuple[str, ...] = ()


def live_since(drop_after: datetime, now: datetime) -> datetime:
    """Say when a reading must have begun to count."""
    return max(drop_after, now - LIVE)


def next_act(
    drop_after: datetime, least: int, others: Sequence[OtherCopy], busy: str, now: datetime
) -> Act:
    """Decide about a copy with a tombstone.

    Args:
        drop_after: when its grace is over.
        least: how many others must be there; 0: no copy is needed.
        others: the copies that serve the rule.
        busy: what is under way at the copy itself; empty: nothing.
        now: the present moment.
    """
    if now < drop_after:
        return Act("wait", f"is kept until {drop_after:%Y-%m-%d %H:%M} UTC", drop_after)
    if busy:
        return Act("wait", f"waits for {busy}", now + _LOOK_AGAIN)
    if not least:
        return Act("drop", "no copy of it is needed any more")
    good = [one for one in others if one.good]
    if len(good) < least:
        reason = f"is kept: {len(good)} of the {least} other copies that must be there are good"
        return Act("wait", reason, now + _SELDOM)
    since = live_since(drop_after, now)
    live = [one.site for one in good if one.read_since is not None and one.read_since >= since]
    if len(live) >= least:
        return Act("drop", f"{', '.join(sorted(live))} hold it, read since {since:%Y-%m-%d}")
    unread = sorted(one.site for one in good if one.site not in live)
    reason = (
        f"is kept until {least} other copies have been read from end to end once more; "
        f"{len(live)} have"
    )
    return Act("verify", reason, now + _LOOK_AGAIN, tuple(unread))
