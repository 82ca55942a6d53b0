"""From where a site fetches first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.facts import SourceFacts, SwarmFacts
from fleet.planning.sources import nobody, rank, unreachable
from tests.planning_support import unhurried

sources = st.lists(
    st.builds(
        SourceFacts,
        url=st.integers(0, 99).map(lambda number: f"https://{number}.example/file"),
        site=st.none() | st.sampled_from(["toronto", "amsterdam"]),
        bytes_per_second=st.none() | st.floats(0, 1e10),
        error_share=st.floats(0, 1),
    ),
    unique_by=lambda source: source.url,
    max_size=12,
)


@unhurried
@given(sources)
def test_fleet_copies_come_before_origins_and_nothing_is_lost(known: list[SourceFacts]) -> None:
    ranked = [source for source, _ in rank(known)]
    assert sorted(ranked, key=str) == sorted(known, key=str)
    origins = [source.site is None for source in ranked]
    assert origins == sorted(origins)


@unhurried
@given(sources)
def test_the_order_does_not_depend_on_the_order_asked_in(known: list[SourceFacts]) -> None:
    assert rank(known) == rank(known[::-1])


@unhurried
@given(sources)
def test_of_measured_sources_of_a_kind_the_one_that_serves_more_comes_first(
    known: list[SourceFacts],
) -> None:
    ranked = [source for source, _ in rank(known)]
    for kind in (True, False):
        served = [
            source.bytes_per_second * (1 - source.error_share)
            for source in ranked
            if (source.site is None) is kind and source.bytes_per_second is not None
        ]
        assert served == sorted(served, reverse=True)


@pytest.mark.parametrize(
    ("measured", "first"), [(10e6, "https://new.example"), (90e6, "https://known.example")]
)
def test_a_source_never_tried_is_tried_before_one_known_to_be_slow(
    measured: float, first: str
) -> None:
    known = [
        SourceFacts("https://known.example", None, measured),
        SourceFacts("https://new.example", None),
    ]
    assert rank(known)[0][0].url == first


def test_a_source_that_keeps_failing_falls_behind() -> None:
    known = [
        SourceFacts("https://failing.example", "toronto", 1e9, 1.0),
        SourceFacts("https://slow.example", "amsterdam", 1e6),
    ]
    assert [source.url for source, _ in rank(known)] == [
        "https://slow.example",
        "https://failing.example",
    ]


def test_each_place_has_its_reason() -> None:
    known = [
        SourceFacts("https://a.example", "toronto", 12.34e6, 0.25),
        SourceFacts("https://b.example", "amsterdam"),
        SourceFacts("https://c.example", None),
    ]
    assert {source.url: reason for source, reason in rank(known)} == {
        "https://a.example": "a verified copy at toronto, 12.3 MB/s with 25% errors lately",
        "https://b.example": "a verified copy at amsterdam, not measured yet",
        "https://c.example": "an origin outside the fleet, not measured yet",
    }


def test_the_torrent_comes_after_the_copies_of_the_fleet_and_before_the_origins() -> None:
    known = [
        SourceFacts("https://c.example", None, 1e9),
        SourceFacts("magnet:", None, swarm=SwarmFacts(holders=2, fetchers=1, dialled=2)),
        SourceFacts("https://a.example", "toronto", 1.0, 0.99),
    ]
    ranked = rank(known)
    assert [one.url for one, _ in ranked] == ["https://a.example", "magnet:", "https://c.example"]
    assert ranked[1][1] == "its torrent: 2 seeding, 1 fetching, 2 of them can be dialled"


@unhurried
@given(
    st.builds(
        SwarmFacts,
        holders=st.integers(0, 2),
        fetchers=st.integers(0, 2),
        dialled=st.integers(0, 2),
        dials_back=st.booleans(),
        web_seeds=st.integers(0, 1),
    ),
    st.integers(0, 2),
)
def test_a_shard_is_had_from_nobody_where_no_torrent_and_not_every_origin_is_left(
    swarm: SwarmFacts, without_origin: int
) -> None:
    met = (swarm.holders or swarm.fetchers) and (swarm.dialled or swarm.dials_back)
    met = met or swarm.web_seeds
    assert (unreachable(swarm) == "") is bool(met)
    # who only waits for it as well brings nothing
    had = met and (swarm.holders or swarm.web_seeds)
    assert (nobody("toronto", without_origin, swarm) == "") is bool(had or not without_origin)
