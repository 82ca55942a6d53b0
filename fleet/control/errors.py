"""What the centre refuses, in words for the one who asked."""


class FleetError(Exception):
    """A request that cannot be carried out; the message says why and what to do."""


class NotFoundError(FleetError):
    """There is no such thing."""


class RefusedError(FleetError):
    """The thing exists, but this cannot be done with it now."""
