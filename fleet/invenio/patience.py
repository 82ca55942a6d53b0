"""Waiting, as long as a run has time for it, and asking again only after reading."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from fleet.invenio.faults import Busy, Refused, RepositoryError, Unsure

TURNS: Final = 5
"""How often one thing is tried in a run."""
Found = TypeVar("Found")


@dataclass
class Patience:
    """How many seconds a run may still wait in all; a longer wait is the caller's to come back.

    ``turn`` is called before each request, and may wait where others ask beside us; ``strained``
    hears for how many seconds the repository asked to be left alone.
    """

    left: float = 120.0
    now: Callable[[], float] = field(default=time.time, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    turn: Callable[[], None] = field(default=lambda: None, repr=False)
    strained: Callable[[float], None] = field(default=lambda _: None, repr=False)

    def wait(self, seconds: float, why: str) -> None:
        """Wait.

        Raises:
            Busy: that is longer than is left.
        """
        if seconds <= 0:
            return
        if seconds > self.left:
            raise Busy(f"{why}; try again in {seconds:.0f} s", wait=seconds)
        self.left -= seconds
        self.sleep(seconds)

    def back_off(self, turn: int, trouble: RepositoryError) -> None:
        """Wait before a thing is tried another time, twice as long each time."""
        self.wait(max(trouble.wait, 2.0 ** (turn - 1)), str(trouble))


def settled(
    patience: Patience,
    doing: str,
    read: Callable[[], Found | None],
    act: Callable[[], Found | None],
) -> Found:
    """Have something be so: read whether it is, act only if not, and read again when in doubt.

    Args:
        patience: for the waits between.
        doing: the record and the step, for messages.
        read: gives what is once it is as wanted.
        act: asks for it; what it gives, if anything, is proof that it is done.

    Raises:
        Refused: it was refused, and is not so.
        Unsure: it could not be learned whether it is so.
    """
    trouble: RepositoryError | None = None
    for turn in range(TURNS):
        if trouble is not None and not trouble.final:
            patience.back_off(turn, trouble)
        found = read()
        if found is not None:
            return found
        if trouble is not None and trouble.final:
            raise trouble
        try:
            found = act()
        except (Unsure, Refused) as error:
            trouble = error
            continue
        if found is not None:
            return found
        trouble = Unsure(f"{doing}: it was answered as done, but is not seen")
    raise trouble or Unsure(f"{doing}: it is not done")
