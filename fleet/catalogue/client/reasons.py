"""Why a mirror is not believed, in words for who asked it."""

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    SlowRetrievalError,
    UnsignedMetadataError,
)
from tuf.api.serialization import DeserializationError

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ExpiredMetadataError, "what it offers has expired, so something newer is withheld or missing"),
    (BadVersionNumberError, "it offers an older state than is known, or another than it announced"),
    (UnsignedMetadataError, "what it offers is not signed by enough of the keys that may"),
    (LengthOrHashMismatchError, "it sends other bytes than were signed"),
    (DeserializationError, "it sends what is no metadata"),
    (DownloadLengthMismatchError, "it sends more bytes than were signed"),
    (SlowRetrievalError, "it sends too slowly, or nothing more"),
)


def reason(error: RepositoryError | DownloadError) -> str:
    """Say why a mirror is refused: in our words, then in python-tuf's."""
    said = str(error)
    for kind, words in _REASONS:
        if isinstance(error, kind):
            return f"{words} ({said})" if said else words
    return said or type(error).__name__
