"""What cannot be signed."""


class SigningError(Exception):
    """The catalogue, or a key, cannot be signed; the message says why and what to do."""
