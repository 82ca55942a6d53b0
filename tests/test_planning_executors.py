"""Who works for a site that has no worker."""

from hypothesis import given
from hypothesis import strategies as st

from fleet.planning.executors import choose
from fleet.planning.facts import SiteFacts
from tests.planning_support import site, sites

BUCKET = site("r2", kind="object_store", driver="s3", region="ca-on", country="CA")


@given(sites())
def test_only_a_trusted_node_is_chosen_and_one_that_answers_if_any_does(
    known: list[SiteFacts],
) -> None:
    chosen = choose(BUCKET, known)
    by_id = {one.id: one for one in known}
    able = [
        one
        for one in known
        if one.kind == "node"
        and one.driver != "s3"
        and one.trusted
        and not (one.retired or one.incident)
    ]
    assert bool(chosen.site) == bool(able)
    assert chosen.reason
    if chosen.site:
        assert by_id[chosen.site] in able
        assert not by_id[chosen.site].silent or all(one.silent for one in able)


def test_the_nearest_comes_first_and_then_who_has_the_least_to_do() -> None:
    near = site("near", trusted=True, region="ca-on", country="CA", queued=9)
    inland = site("inland", trusted=True, region="ca-qc", country="CA", queued=5)
    far = site("far", trusted=True, region="eu", country="NL")
    assert choose(BUCKET, [far, inland, near]).site == "near"
    assert choose(BUCKET, [far, inland]).reason.endswith("it is trusted, in the same country")
    two = [site(name, trusted=True, queued=3) for name in ("a", "b")]
    assert choose(BUCKET, two).site == "a"
    assert choose(BUCKET, two, {"a": 1}).site == "b"
    assert choose(BUCKET, two, tried={"a"}).site == "b"
    assert choose(BUCKET, [near, far], tried={"near"}).site == "far"


@given(st.sampled_from(["", "x"]))
def test_unknown_places_are_near_to_nothing(region: str) -> None:
    target = site("r2", kind="object_store", driver="s3")
    known = [site("a", trusted=True, queued=1, region=region), site("b", trusted=True)]
    assert choose(target, known).site == "b"
    assert "region" not in choose(target, known).reason
