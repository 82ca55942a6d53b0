"""To which mirrors people are sent: each choice and its reason."""

from dataclasses import replace
from typing import Any

import pytest

from fleet.planning.countries import continent
from fleet.planning.facts import SourceFacts
from fleet.planning.reading import Reading
from fleet.planning.redirect import LOTS, Asker, Copy, MirrorFacts, Ranking, rank
from fleet.planning.states import ReplicaState

NOBODY = Asker()
SITES = {
    "toronto": ("CA", "CA"),
    "montreal": ("CA", "US"),
    "netcup": ("US", "US"),
    "amsterdam": ("NL", "NL"),
}


def _sites(**changed: dict[str, Any]) -> dict[str, MirrorFacts]:
    """The sites; ``changed`` says of some what is otherwise than usual."""
    found = {}
    for site, (country, jurisdiction) in SITES.items():
        source = SourceFacts(f"https://{site}.example", site)
        source = replace(source, **changed.get(site, {}))
        found[site] = MirrorFacts(source, Reading("posix", source.url), country, jurisdiction)
    return found


def _copies(*sites: str, state: str = "available", proved: bool = True) -> list[Copy]:
    return [Copy(site, ReplicaState(state), proved) for site in sites or SITES]


def _order(ranking: Ranking) -> list[str]:
    return [one.site for one in ranking.used]


def _best(
    asker: Asker, lot: int = 0, copies: list[Copy] | None = None, **changed: dict[str, Any]
) -> str:
    return _order(rank(copies or _copies(), _sites(**changed), asker, lot))[0]


def test_who_asks_from_a_country_is_sent_to_a_mirror_in_it_and_then_on_its_continent() -> None:
    for lot in range(LOTS):
        order = _order(rank(_copies(), _sites(), Asker("CA"), lot))
        assert set(order[:2]) == {"toronto", "montreal"}
        assert order[2:] == ["netcup", "amsterdam"]
    ranking = rank(_copies("toronto", "netcup"), _sites(), Asker("CA"))
    assert [one.reason for one in ranking.used] == [
        "a verified copy, in the same country, not measured yet",
        "a verified copy, on the same continent, not measured yet",
    ]


def test_a_mirror_that_answers_to_another_law_comes_after_one_as_near() -> None:
    asker = Asker("CA", frozenset({"CA"}))
    for lot in range(LOTS):
        assert _order(rank(_copies(), _sites(), asker, lot))[:2] == ["toronto", "montreal"]
    ranking = rank(_copies("montreal"), _sites(), asker)
    assert ranking.used[0].reason.endswith("answers to US")


def test_what_speaks_against_a_mirror_outweighs_that_it_is_near() -> None:
    far, near = "netcup", {"copies": _copies("toronto", "netcup")}
    asker = Asker("CA")
    assert _best(asker, **near) == "toronto"
    assert _best(asker, **near, toronto={"busy": "toronto waits until midnight"}) == far
    assert _best(asker, **near, toronto={"error_share": 0.8}) == far
    assert _best(asker, **near, toronto={"bytes_per_second": 1e6}) == far
    assert _best(asker, **near, toronto={"provider": "zenodo", "weight": 0.2}) == far
    assert _best(asker, **near, toronto={"egress": 0.5}) == far


def test_a_provider_that_asked_to_be_left_alone_comes_last_and_the_reason_is_said() -> None:
    rests = {"spent": "zenodo is left alone for a while: 429"}
    ranking = rank(_copies(), _sites(toronto=rests), Asker("CA"))
    assert _order(ranking)[-1] == "toronto"
    assert "last for now: zenodo is left alone for a while: 429" in ranking.used[-1].reason


def test_more_speed_than_one_reader_can_use_is_worth_nothing() -> None:
    fast = {"amsterdam": {"bytes_per_second": 2e9}, "netcup": {"bytes_per_second": 2e7}}
    for lot in range(LOTS):
        assert _best(Asker("US"), lot, **fast) == "netcup"


def test_mirrors_that_are_worth_about_the_same_are_dealt_out_among_files() -> None:
    slightly = {"toronto": {"error_share": 0.02}, "netcup": {"bytes_per_second": 13e6}}
    assert {_best(NOBODY, lot, **slightly) for lot in range(LOTS)} == set(SITES)
    assert _best(NOBODY, 3, **slightly) == _best(NOBODY, 3, **slightly)


@pytest.mark.parametrize("state", [one for one in ReplicaState if one != "available"])
def test_a_copy_that_is_not_verified_now_is_never_used(state: ReplicaState) -> None:
    ranking = rank([*_copies("netcup"), *_copies("toronto", state=state)], _sites(), Asker("CA"))
    assert _order(ranking) == ["netcup"]
    assert [(one.site, one.reason) for one in ranking.unused] == [("toronto", f"it is {state}")]


def test_a_copy_that_no_other_site_has_read_is_not_used() -> None:
    ranking = rank(_copies("toronto", proved=False), _sites(), NOBODY)
    assert ranking.used == ()
    assert ranking.unused[0].reason.startswith("no other site has read a whole piece of it")


def test_a_site_at_fault_one_that_is_not_read_and_one_that_is_retired_are_not_used() -> None:
    sites = _sites(toronto={"incident": "wrong bytes"}, netcup={"url": ""})
    del sites["amsterdam"]
    ranking = rank(_copies("toronto", "netcup", "amsterdam"), sites, NOBODY)
    assert ranking.used == ()
    assert {one.site: one.reason for one in ranking.unused} == {
        "toronto": "its site is at fault: wrong bytes",
        "netcup": "its site is not read over HTTP",
        "amsterdam": "its site is retired",
    }


def test_countries_are_on_their_continents() -> None:
    assert {one: continent(one) for one in ("CA", "NL", "JP", "BR", "NZ", "KE", "XX", "")} == {
        "CA": "NA",
        "NL": "EU",
        "JP": "AS",
        "BR": "SA",
        "NZ": "OC",
        "KE": "AF",
        "XX": "",
        "": "",
    }
