"""A torrent with other links around it, and the same infohash.

Rules this module keeps:

- ``info`` is kept byte for byte, whoever made it; so is the v2 half of a hybrid torrent and
  whatever else stands around it.
- The format has one ``comment``, so both languages stand in it, English first: ``EN / FR``.  The
  ``comment.utf-8`` of some makers, which clients prefer, would contradict it and is removed.
- ``httpseeds`` (BEP 17), which few clients read, and ``creation date`` are removed, so the same
  input gives the same bytes on any day.
"""

from collections.abc import Sequence
from typing import Final

from fleet.torrent.bencode import encode
from fleet.torrent.metainfo import MetainfoError
from fleet.torrent.parsed import (
    MAX_TORRENT,
    SEED_SCHEMES,
    TRACKER_SCHEMES,
    Dictionary,
    checked,
    dictionary,
)

_DROPPED: Final = (b"httpseeds", b"creation date")
_SEED_KEYS: Final = (b"url-list",)
_TRACKER_KEYS: Final = (b"announce", b"announce-list")
_COMMENT_KEYS: Final = (b"comment", b"comment.utf-8")


def reissue(
    data: bytes,
    *,
    web_seeds: Sequence[str] | None = None,
    trackers: Sequence[str] | None = None,
    comments: Sequence[str] | None = None,
) -> bytes:
    """Write a ``.torrent`` file anew; of each part ``None`` keeps what is there, ``()`` removes it.

    Args:
        data: the file as it is.
        web_seeds: HTTP or HTTPS URLs (BEP 19).
        trackers: HTTP, HTTPS or UDP URLs; each is a tier of its own (BEP 12).
        comments: one for each language, English first.

    Raises:
        MetainfoError: the file is no torrent that we would use, or a link is none.
    """
    outer = dictionary(data)
    checked(outer)
    _remove(outer, _DROPPED)
    if web_seeds is not None:
        _remove(outer, _SEED_KEYS)
        if web_seeds:
            outer[b"url-list"] = [_link(seed, SEED_SCHEMES) for seed in web_seeds]
    if trackers is not None:
        _remove(outer, _TRACKER_KEYS)
        if trackers:
            outer[b"announce"] = _link(trackers[0], TRACKER_SCHEMES)
        if len(trackers) > 1:
            outer[b"announce-list"] = [[_link(link, TRACKER_SCHEMES)] for link in trackers]
    if comments is not None:
        _remove(outer, _COMMENT_KEYS)
        if text := in_one(comments):
            outer[b"comment"] = _utf8(text, "the comment")
    written = encode(outer)
    if len(written) > MAX_TORRENT:
        raise MetainfoError(f"the torrent would have {len(written)} bytes, too many to be read")
    return written


def in_one(comments: Sequence[str]) -> str:
    """Put the comments of all languages, English first, into the one that the format has."""
    return " / ".join(comments)


def _remove(outer: Dictionary, keys: Sequence[bytes]) -> None:
    for key in keys:
        outer.pop(key, None)


def _link(text: str, schemes: tuple[str, ...]) -> bytes:
    if not text.startswith(schemes):
        allowed = ", ".join(schemes)
        raise MetainfoError(f"{text[:80]!r} begins with none of {allowed}: give a whole URL")
    return _utf8(text, "a link")


def _utf8(text: str, what: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise MetainfoError(f"{what} is not UTF-8: {text[:40]!r}") from error
