"""When the slices of a share are surely ours, by this host's clock.

The centre's times count from the moment when it sent the share, which lies somewhere between that
when we asked and that when we heard.  At any moment, then, we may have what its slices give by
each of these clocks, and so the least of it: from where one slice ends by the earliest clock until
the next begins by the latest, a round trip, there is what both give.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fleet.messages import Slice


@dataclass(frozen=True)
class Piece:
    """What may be used between two moments of this host's clock; a rate of None is no limit."""

    begins: float
    ends: float
    requests_per_second: float | None
    bytes_per_second: float | None
    streams: int


def surely(slices: Sequence[Slice], asked: float, heard: float) -> tuple[Piece, ...]:
    """Cut the time into pieces in each of which one thing is surely ours; leave out the rest.

    Args:
        slices: what the centre sent, in the order of their times.
        asked: when it was asked for.
        heard: when it was heard.
    """
    clocks = (asked, heard)
    edges = {clock + at for one in slices for clock in clocks for at in (one.begins, one.ends)}
    pieces = []
    for begins, ends in pairwise(sorted(edges)):
        # those that run by some clock; together they have to run by each
        there = [one for one in slices if asked + one.begins <= begins and ends <= heard + one.ends]
        if (
            there
            and heard + there[0].begins <= begins
            and ends <= asked + there[-1].ends
            and all(one.ends == other.begins for one, other in pairwise(there))
        ):
            pieces.append(
                Piece(
                    begins,
                    ends,
                    _least(one.requests_per_second for one in there),
                    _least(one.bytes_per_second for one in there),
                    min(one.streams for one in there),
                )
            )
    return tuple(pieces)


def _least(rates: Iterable[float | None]) -> float | None:
    return min((rate for rate in rates if rate is not None), default=None)
