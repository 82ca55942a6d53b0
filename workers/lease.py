"""An attempt's hold on its work: how far it is, and whether it may go on.

The engine calls ``advance`` as bytes pass and ``check`` between chunks; where the answers come
from is not its business.  ``Lease`` itself never stops anything, which is what a library user or
``fleet pull`` wants.
"""

import time

from fleet.messages import Budget
from workers.quotas import Quotas


class Stopped(Exception):
    """The centre wants this attempt to end now; the message is its reason."""


class Lease:
    """A hold that nobody can take away."""

    def __init__(self, budget: Budget | None = None, asked: float | None = None) -> None:
        """Start with ``budget`` (none: the default one), which was asked for at ``asked``."""
        self.bytes_done = 0
        self.note = ""
        self.budget = budget or Budget()
        self.quotas = Quotas()
        now = time.monotonic()
        self.quotas.hear(self.budget.shares, now if asked is None else asked, now)

    @property
    def paused(self) -> bool:
        """Whether to wait before asking for more bytes."""
        return False

    def advance(self, count: int) -> None:
        """Count ``count`` more bytes as done."""
        self.bytes_done += count

    def check(self) -> None:
        """Return if the work may go on.

        Raises:
            Stopped: the centre wants it to end.
        """

    def check_live(self) -> None:
        """Return if nobody else can have been given the work: ask it before what harms it.

        Raises:
            Stopped: the centre wants it to end, or may have given it away.
        """
        self.check()
