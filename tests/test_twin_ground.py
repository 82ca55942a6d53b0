"""Faults in the twin meet whoever stands where they were drawn for, as often as is declared."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest

from fleet.twin import faults
from fleet.twin.faults import STANDARD, Kind, Mix
from fleet.twin.places import places
from fleet.twin.policy import DEFAULT
from fleet.twin.truth import Held, Truth
from fleet.twin.twin import Twin, twin

HOUR = 3600.0
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CALM = Mix(
    outages=0.0,
    provider_outages=0.0,
    losses=0.0,
    provider_losses=0.0,
    corruptions_per_tb=0.0,
    throttled_pulls=0.0,
    leaves=0.0,
)


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Twin]:
    """Make a twin of six sites, in which nothing goes wrong by itself."""
    monkeypatch.setattr(faults, "STANDARD", CALM)
    with twin(DEFAULT.model_copy(update={"windows": False}), seed=1, days=6) as one:
        for place in places(6):
            one.ground.join(place)
        yield one


def run(one: Twin) -> None:
    one.run(lambda _share: None)


def succeed(one: Twin, *sites: str) -> list[str]:
    """Have others come in the places of some sites."""
    new = one.ground.heirs(list(sites))
    for place in new:
        one.ground.join(place)
    return [place.id for place in new]


@pytest.mark.parametrize("seed", range(4))
def test_a_years_faults_meet_somebody_though_sites_were_replaced(seed: int) -> None:
    """But for those of a place where nobody stands, in the days until a loss is noticed."""
    with twin(DEFAULT, seed=seed, days=365) as one:
        one.fill(0, 12)
        run(one)
        drawn = faults.draw(STANDARD, places(12), 365, Random(f"{seed} faults"))
        assert sum(one.happened.values()) >= 0.98 * len(drawn)
        assert all(one.happened[kind] for kind in Kind)
        firsts = {place.id for place in places(12)}
        assert any(site not in firsts for site in one.ground._ends)


def test_faults_of_a_place_meet_its_new_site(calm: Twin) -> None:
    calm.ground.lose("sydney")
    assert calm.ground.met("sydney") == []
    (heir,) = succeed(calm, "sydney")
    assert calm.ground.met("sydney") == [heir]
    calm.ground.lose(heir)
    (next_one,) = succeed(calm, heir)
    assert calm.ground.met("sydney") == [next_one]
    assert calm.truth.places[next_one].provider == "flat"


def test_a_site_that_is_about_to_leave_is_met_until_it_has_left(calm: Twin) -> None:
    (heir,) = succeed(calm, "sydney")
    assert calm.ground.met("sydney") == ["sydney"]
    assert set(calm.ground.met("flat")) == {"sydney", "vancouver", heir}
    calm.ground.lose("sydney")
    assert calm.ground.met("sydney") == [heir]
    assert succeed(calm, "sydney") == []


def test_the_end_of_a_provider_takes_all_its_sites_and_the_next_provider_is_met_after_it(
    calm: Twin,
) -> None:
    (heir,) = succeed(calm, "sydney")
    calm.ground.lose("sydney")
    gone = calm.ground.met("flat")
    calm.ground.lose_provider(gone)
    assert set(gone) == {"vancouver", heir}
    assert calm.ground.met("flat") == []
    new = succeed(calm, *gone)
    assert calm.ground.met("flat") == new
    assert len({calm.truth.places[site].provider for site in new} - {"flat"}) == 1
    assert calm.ground.met("cloud") == ["amsterdam", "frankfurt"]


def test_nobody_comes_to_a_provider_that_has_ended(calm: Twin) -> None:
    calm.ground.lose("sydney")
    calm.ground.lose_provider(calm.ground.met("flat"))
    (heir,) = succeed(calm, "sydney")
    assert calm.truth.places[heir].provider != "flat"
    assert calm.ground.met("flat") == [heir]


@pytest.mark.parametrize(("first", "second"), [(1, 5), (5, 1)])
def test_a_site_is_away_until_the_last_of_its_outages_ends(
    calm: Twin, first: int, second: int
) -> None:
    seen: dict[float, bool] = {}
    calm.ground.away("sydney", first * HOUR)
    calm.after(0.5 * HOUR, lambda: calm.ground.away("sydney", second * HOUR))

    def look(hour: float) -> None:
        seen[hour] = "sydney" in calm.hands.down

    for hour in (0.2, 0.9, 1.6, 4.9, 5.6):
        calm.after(hour * HOUR, partial(look, hour))
    run(calm)
    assert seen == {0.2: True, 0.9: True, 1.6: True, 4.9: True, 5.6: False}


def test_a_site_that_was_lost_while_it_was_away_never_comes_back(calm: Twin) -> None:
    calm.ground.away("sydney", 50 * HOUR)
    calm.after(HOUR, lambda: calm.ground.lose("sydney"))
    run(calm)
    assert "sydney" in calm.hands.down


def test_a_version_whose_file_was_lost_before_it_was_published_has_no_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults, "STANDARD", CALM)
    policy = DEFAULT.model_copy(update={"windows": False, "copies": 2})
    with twin(policy, seed=1, days=6) as one:
        lost: list[str] = []

        def watch() -> None:
            lost.extend(site for site in one.hands.arrived.values() if site)
            if lost:
                assert not one.truth.held
                one.ground.lose(lost[0])
            else:
                one.after(60, watch)

        one.after(0, watch)
        one.fill(1, 4)
        run(one)
        (held,) = one.truth.held.values()
        assert held.hours[0] > 0
        assert lost[0] not in held.copies
        assert held.whole == 2


def test_a_version_that_never_got_a_second_copy_counts_among_those_that_waited() -> None:
    truth = Truth(target=2)
    truth.places = {place.id: place for place in places(2)}
    first, second = truth.places
    for name in ("quick", "never", "lost"):
        truth.publish(name, Held(name, 10**9, NOON, None), first)
    truth.arrive("quick", second, NOON + timedelta(hours=3))
    truth.lose("lost", first, NOON + timedelta(hours=1))
    truth.arrive("lost", first, NOON + timedelta(hours=5))
    truth.arrive("lost", second, NOON + timedelta(hours=7))
    assert truth.to_second(NOON + timedelta(hours=90)) == [3, 90, 7]
