"""What the centre refuses, in words for the one who asked."""

from collections.abc import Sequence


class FleetError(Exception):
    """A request that cannot be carried out; the message says why and what to do."""


class NotFoundError(FleetError):
    """There is no such thing."""


class RefusedError(FleetError):
    """The thing exists, but this cannot be done with it now."""


class UndoneError(FleetError):
    """A part of what was asked came to nothing; ``done`` tells of the rest."""

    def __init__(self, message: str, done: Sequence[str]) -> None:
        super().__init__(message)
        self.done = done
