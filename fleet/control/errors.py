"""What the centre refuses, in words for the one who asked."""

from collections.abc import Sequence

from pydantic import ValidationError


class FleetError(Exception):
    """A request that cannot be carried out; the message says why and what to do."""


class NotFoundError(FleetError):
    """There is no such thing."""


class RefusedError(FleetError):
    """The thing exists, but this cannot be done with it now."""


class BusyError(FleetError):
    """It cannot be done now; ``seconds``: after which it may be asked for again."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class UndoneError(FleetError):
    """A part of what was asked came to nothing; ``done`` tells of the rest."""

    def __init__(self, message: str, done: Sequence[str]) -> None:
        super().__init__(message)
        self.done = done


def unreadable(what: str, error: ValidationError) -> RefusedError:
    """Say of what came from outside which part cannot be read."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return RefusedError(f"{what}, {where}: {first['msg']}")
