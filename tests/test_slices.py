"""What of a share's slices is surely ours, whenever the centre may have sent them."""

from hypothesis import given
from hypothesis import strategies as st

from fleet.messages import Share, Slice
from tests.planning_support import unhurried
from workers.quotas import GUARD_SECONDS, Quotas
from workers.slices import surely

HOST = "data.example"
TICKS = 16  # a second: slices begin and end with a tick, and all is looked at between two
GUARD = int(GUARD_SECONDS * TICKS)

times = st.lists(  # a pause, usually none; a slice; its streams
    st.tuples(st.sampled_from([0, 0, 0, 1, 5]), st.integers(1, 30), st.integers(1, 5)),
    min_size=1,
    max_size=5,
)


def row(told: list[tuple[int, int, int]]) -> tuple[Slice, ...]:
    slices, at = [], 0
    for pause, length, streams in told:
        begins, at = at + pause, at + pause + length
        rate = None if streams == 5 else float(streams)
        slices.append(
            Slice(begins=begins / TICKS, ends=at / TICKS, streams=streams, bytes_per_second=rate)
        )
    return tuple(slices)


def streams_at(slices: tuple[Slice, ...], seconds: float) -> int:
    return next((one.streams for one in slices if one.begins <= seconds < one.ends), 0)


@unhurried
@given(times, st.integers(0, 1000), st.integers(0, 40))
def test_as_many_streams_are_held_as_every_clock_gives_for_as_long_as_it_takes_to_close_them(
    told: list[tuple[int, int, int]], asked: int, round_trip: int
) -> None:
    slices, heard = row(told), asked + round_trip
    quotas = Quotas()
    share = Share(provider="p", hosts=(HOST,), slices=slices)
    quotas.hear([share], asked / TICKS, heard / TICKS)
    held = []
    for tick in range(heard, heard + 200):
        now = tick + 0.5
        least = min(
            streams_at(slices, (moment - sent) / TICKS)
            for sent in range(asked, heard + 1)
            for moment in (now + later for later in range(GUARD + 1))
        )
        for stream in [one for one in held if quotas.ends(one, now / TICKS)]:
            quotas.leave(stream, now / TICKS)
            held.remove(stream)
        assert len(held) <= least
        while stream := quotas.enter(HOST, now / TICKS):
            held.append(stream)
        assert len(held) == least


@unhurried
@given(times, st.integers(0, 1000), st.integers(0, 40))
def test_of_rates_the_least_is_ours_that_any_clock_gives(
    told: list[tuple[int, int, int]], asked: int, round_trip: int
) -> None:
    slices, heard = row(told), asked + round_trip
    pieces = surely(slices, asked / TICKS, heard / TICKS)
    for tick in range(heard, heard + 200):
        now = (tick + 0.5) / TICKS
        some = [streams_at(slices, now - sent / TICKS) for sent in range(asked, heard + 1)]
        found = [one for one in pieces if one.begins <= now < one.ends]
        if min(some) == 0:
            assert not found
        else:
            [piece] = found
            assert piece.streams == min(some)
            assert piece.bytes_per_second == (None if min(some) == 5 else min(some))


def test_streams_are_kept_in_the_round_trip_between_two_slices_in_turn() -> None:
    quotas = Quotas()
    slices = row([(0, 10 * TICKS, 3), (0, 10 * TICKS, 2)])
    quotas.hear([Share(provider="p", hosts=(HOST,), slices=slices)], asked=0.0, heard=1.0)
    held = [quotas.enter(HOST, 2.0) for _ in range(2)]
    for now in (9.9, 10.0, 10.5, 11.0, 11.1):
        assert not any(quotas.ends(one, now) for one in held if one)
        assert quotas.request(HOST, now) == 0
    assert not quotas.open(HOST, 10.5)
