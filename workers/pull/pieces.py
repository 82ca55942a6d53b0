"""Pieces whose hashes are known, checked while they arrive: who sends a wrong one is convicted."""

import hashlib
from collections.abc import Callable

from fleet.torrent.pieces import DIGEST_BYTES
from workers.pull.extents import GRANULE
from workers.pull.faults import Fault


class WrongPiece(Fault):
    """A piece's hash is wrong.

    ``start`` and ``end`` are its bytes; ``own`` says that all of them are of this one source.
    """

    def __init__(self, reason: str, start: int, end: int, *, own: bool) -> None:
        super().__init__(reason)
        self.start = start
        self.end = end
        self.own = own


class PieceCheck:
    """The pieces that one answer brings, from the byte ``at`` of a file of ``size`` bytes on.

    Args:
        known: the v1 hashes of all pieces of the file, of ``length`` bytes each.
        earlier: reads bytes ``[start, end)`` that came before, where ``at`` lies within a piece.
        own: whether those are of the same source, in this attempt.
    """

    def __init__(
        self,
        known: bytes,
        length: int,
        size: int,
        at: int,
        earlier: Callable[[int, int], bytes],
        *,
        own: bool = False,
    ) -> None:
        self._known = known
        self._length = length
        self._size = size
        self._at = at
        self._begin = at - at % length
        self._own = own or self._begin == at
        self._sha1 = hashlib.sha1(earlier(self._begin, at), usedforsecurity=False)

    @property
    def markable(self) -> int:
        """Up to where granules may count as held: the last one of a piece only once it is right."""
        if self._at in {self._begin, self._size}:
            return self._at
        last_granule = (self._end - 1) // GRANULE * GRANULE
        return max(self._begin, min(self._at, last_granule))

    def take(self, view: memoryview) -> None:
        """Take the next bytes.

        Raises:
            WrongPiece: they end a piece whose hash is wrong.
        """
        while view:
            part = view[: self._end - self._at]
            view = view[len(part) :]
            self._sha1.update(part)
            self._at += len(part)
            if self._at == self._end:
                self._close()

    @property
    def _end(self) -> int:
        return min(self._begin + self._length, self._size)

    def _close(self) -> None:
        piece, begin, end, own = self._begin // self._length, self._begin, self._end, self._own
        known = self._known[piece * DIGEST_BYTES :][:DIGEST_BYTES]
        found = self._sha1.digest()
        self._sha1 = hashlib.sha1(usedforsecurity=False)
        self._begin, self._own = end, True
        if found != known:
            raise WrongPiece(
                f"piece {piece} (bytes {begin} to {end - 1}) has sha1 {found.hex()[:16]}… "
                f"where {known.hex()[:16]}… is known",
                begin,
                end,
                own=own,
            )


def unit(length: int) -> int:
    """Choose where claims may be cut, so that a piece has one author; in bytes."""
    return max(length, GRANULE)


def fit(known: bytes, length: int | None, size: int | None) -> bool:
    """Whether known hashes are of use for a file of ``size`` bytes cut into such pieces."""
    if not known or not length or not size or length & (length - 1):
        return False
    return len(known) == -(-size // length) * DIGEST_BYTES
