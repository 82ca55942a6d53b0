"""Who fetches what from the origins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.planning import ingest, selector
from fleet.planning.facts import RuleFacts, SiteFacts
from fleet.planning.ingest import BATCH_BYTES, BATCH_FILES, BATCHES, UNKNOWN_BYTES, Wanted, assign
from tests.planning_support import rules, site, sites, unhurried

_small = st.none() | st.integers(0, 100)
_any = _small | st.sampled_from([BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1])


def _wanted(sizes: list[int | None]) -> list[Wanted]:
    return [Wanted(str(number), size) for number, size in enumerate(sizes)]


def _reckoned(one: Wanted) -> int:
    return UNKNOWN_BYTES if one.size is None else one.size


@unhurried
@given(st.lists(_small, max_size=80), rules, sites())
def test_each_artifact_is_fetched_once_or_a_reason_is_given(
    sizes: list[int | None], rule: RuleFacts, known: list[SiteFacts]
) -> None:
    wanted = _wanted(sizes)
    batches, short = assign(wanted, rule, known)
    given_out = [artifact for batch in batches for artifact in batch.artifacts]
    assert len(set(given_out)) == len(given_out)
    assert set(given_out) <= {one.id for one in wanted}
    assert bool(short) == (len(given_out) < len(wanted))


@unhurried
@given(st.lists(_small, max_size=80), rules, sites())
def test_only_nodes_that_the_rule_allows_fetch_and_none_more_than_it_has_room_for(
    sizes: list[int | None], rule: RuleFacts, known: list[SiteFacts]
) -> None:
    wanted = {one.id: one for one in _wanted(sizes)}
    batches, _ = assign(list(wanted.values()), rule, known)
    by_id = {one.id: one for one in known}
    matches = selector.parse(rule.selector)
    for name in {batch.site for batch in batches}:
        one = by_id[name]
        assert matches(one)
        assert (one.kind, one.driver, one.retired) == ("node", "posix", False)
        taken = sum(batch.size for batch in batches if batch.site == name)
        assert one.free is None or taken <= one.free
    for batch in batches:
        assert batch.size == sum(_reckoned(wanted[artifact]) for artifact in batch.artifacts)
        assert batch.reason.startswith(f"{batch.site} has the least to do of ")


@unhurried
@given(st.lists(_any, max_size=5 * BATCHES))
def test_batches_are_bounded_and_enough_for_many_to_work_at_once(sizes: list[int | None]) -> None:
    wanted = {one.id: one for one in _wanted(sizes)}
    batches, short = assign(list(wanted.values()), RuleFacts(), [site("toronto")])
    assert not short
    assert len(batches) >= min(len(wanted), BATCHES)
    for batch in batches:
        assert len(batch.artifacts) <= BATCH_FILES
        assert batch.size <= BATCH_BYTES or len(batch.artifacts) == 1


def test_many_small_files_share_batches_of_no_more_than_the_cap() -> None:
    batches, _ = assign(_wanted([1] * 10_000), RuleFacts(), [site("toronto")])
    assert {len(batch.artifacts) for batch in batches} <= {BATCH_FILES, 10_000 % BATCH_FILES}


def test_the_work_is_shared_out_by_speed() -> None:
    known = [site("slow", speed_mbps=1000), site("fast", speed_mbps=3000)]
    batches, _ = assign(_wanted([100] * 39), RuleFacts(), known)
    shares = {name: sum(one.site == name for one in batches) for name in ("slow", "fast")}
    assert shares["slow"] + shares["fast"] == 39
    assert shares["fast"] == pytest.approx(3 * shares["slow"], abs=3)


def test_room_that_is_given_away_is_not_given_again() -> None:
    known = [site("large", free=100), site("small", free=70)]
    batches, short = assign(_wanted([30] * 10), RuleFacts(), known)
    given = {name: sum(one.site == name for one in batches) for name in ("large", "small")}
    assert given == {"large": 3, "small": 2}
    assert short


def test_a_site_that_has_much_to_do_is_spared() -> None:
    known = [site("busy", queued=10**12), site("idle")]
    batches, _ = assign(_wanted([100] * 10), RuleFacts(), known)
    assert {batch.site for batch in batches} == {"idle"}


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ([], "no node matches 'country=CA'"),
        ([site("a", country="DE")], "no node matches 'country=CA'"),
        ([site("a", country="CA", retired=True)], "a is to be retired"),
        ([site("a", country="CA", free=9)], "a has 9 bytes free and needs 10"),
    ],
)
def test_what_nobody_can_fetch_says_why(known: list[SiteFacts], reason: str) -> None:
    batches, short = assign(_wanted([10]), RuleFacts(selector="country=CA"), known)
    assert batches == []
    assert short == f"no site can fetch it from its origin: {reason}"


def test_an_archive_is_no_worker() -> None:
    archive = SiteFacts(id="archive", kind="archive", driver="posix")
    assert ingest.assign(_wanted([1]), RuleFacts(), [archive])[0] == []
