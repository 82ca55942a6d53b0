"""A pull that a person stops: Ctrl-C and SIGTERM end it soon, a second one at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fleet.messages import Budget
from workers.lease import Lease, Stopped


class Hold(Lease):
    """A hold that a signal takes away; ``signal`` is its number, or 0."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(budget)
        self.signal = 0

    def check(self) -> None:
        """Return if the work may go on.

        Raises:
            Stopped: a signal came.
        """
        if self.signal:
            raise Stopped("a signal came")


@contextmanager
def signals(hold: Hold) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM take the hold away; whoever repeats them is not kept waiting."""

    def stop(number: int, _frame: FrameType | None) -> None:
        hold.signal = number
        signal.signal(number, before[number])

    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
