"""Copies that serve no rule any more: how they go, and what keeps them."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from fleet.control import why
from fleet.control.errors import RefusedError
from fleet.control.rules import RuleSpec
from fleet.messages import ItemResult
from fleet.store.tables import Incident, Placement, Replica, Rule, Shard, Site, Tombstone
from tests.centre_support import Centre

_DAY = 86_400.0
_GRACE = 14 * _DAY
_ALL = ("amsterdam", "netcup", "toronto")


@pytest.fixture
def full(centre: Centre) -> Centre:
    """A centre whose three sites hold a shard, which nobody reads unless it is asked to."""
    centre.settings = centre.settings.model_copy(update={"fixity_days": 3650})
    centre.mirror("a.csv", "b.csv")
    centre.work()
    assert _states(centre) == dict.fromkeys(_ALL, "available")
    return centre


def _rule(centre: Centre, **asked: Any) -> None:
    """Give the dataset another rule."""
    with centre.store.write() as session:
        session.add(Rule(dataset_id="data", look_at=asked.get("expires"), **asked))
        session.exec(update(Shard).values(dirty=True))


def _states(centre: Centre) -> dict[str, str]:
    return {site: states[0] for site, states in centre.replicas().items()}


def _tombstones(centre: Centre) -> list[Tombstone]:
    manifests = centre.of_manifests()
    with centre.store.read() as session:
        rows = session.exec(select(Tombstone)).all()
    return [row for row in rows if row.shard_id not in manifests]


def _wait(centre: Centre, seconds: float) -> None:
    centre.advance(seconds)


def _round(centre: Centre, leave: str = "") -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Tick, and carry out all that is announced but one kind of transfer.

    Returns:
        Kind and site of what was done, probes left out; attempt and site of what was left.
    """
    done, left = [], []
    centre.tick()
    for attempt, site in centre.announced():
        [transfer] = [one for one in centre.transfers() if one.attempt_id == attempt] or [None]
        if transfer is None:
            continue
        if transfer.kind == leave:
            left.append((attempt, site))
            continue
        with suppress(RefusedError):  # announced twice
            centre.report(centre.claim(attempt, site))
            if transfer.kind != "probe":
                done.append((transfer.kind, site))
    return done, left


def _until_dropped(centre: Centre) -> list[tuple[str, str]]:
    """Let the grace pass and everything be done; list what was done, in order."""
    done = []
    _wait(centre, _GRACE)
    for _ in range(4):
        done += _round(centre)[0]
        _wait(centre, _DAY / 4)
    return done


def test_a_surplus_copy_goes_after_its_grace_once_the_others_were_read(full: Centre) -> None:
    _rule(full, copies=2, min_copies=2, selector="kind=node")
    full.tick()
    [mark] = _tombstones(full)
    assert mark.reason == f"the 2 chosen sites are enough without {mark.site_id}"
    assert mark.drop_after - mark.made_at == timedelta(seconds=_GRACE)
    assert _states(full)[mark.site_id] == "available"
    others = sorted(set(_ALL) - {mark.site_id})
    done = _until_dropped(full)
    assert sorted(done[:2]) == [("verify", site) for site in others]
    assert done[2:] == [("drop", mark.site_id)]
    assert _states(full)[mark.site_id] == "retired"
    assert _tombstones(full) == []


def test_a_gateway_is_not_told_to_delete_the_bytes_of_what_it_fronts(full: Centre) -> None:
    full.apply_sites("toronto", fronts=("amsterdam",))
    _rule(full, copies=1, min_copies=1, selector="id=amsterdam")
    full.tick()
    _until_dropped(full)
    assert _states(full) == {
        "toronto": "available",
        "amsterdam": "available",
        "netcup": "retired",
    }


def test_nothing_is_dropped_before_its_grace_is_over(full: Centre) -> None:
    _rule(full, copies=1, min_copies=1, selector="id=toronto")
    _wait(full, _GRACE - 60)
    full.work()
    assert full.transfers(kind="drop") == []
    assert _states(full) == dict.fromkeys(_ALL, "available")


def test_what_was_read_before_the_grace_was_over_proves_nothing(full: Centre) -> None:
    _rule(full, copies=1, min_copies=1, selector="id=toronto")
    full.tick()
    _wait(full, _GRACE)
    full.tick()
    assert full.transfers(kind="drop") == []
    assert [one.target_id for one in full.transfers(kind="verify", state="announced")] == [
        "toronto"
    ]


def test_a_copy_stays_in_the_place_of_an_other_that_turned_out_bad(full: Centre) -> None:
    _rule(full, copies=2, min_copies=2, selector="kind=node")
    full.tick()
    [mark] = _tombstones(full)
    _wait(full, _GRACE)
    (attempt, site), *_ = _round(full, leave="verify")[1]
    bad = full.claim(attempt, site)
    items = tuple(
        ItemResult(artifact=one.artifact, ok=False, reason="rotten", fault="corrupt")
        for one in bad.items
    )
    full.report(bad, items=items)
    full.tick()
    assert full.transfers(kind="drop") == []
    assert _states(full)[mark.site_id] == "available"
    assert [one.site_id for one in _tombstones(full)] == [site]


def test_a_tombstone_is_lifted_when_its_copy_is_needed_again(full: Centre) -> None:
    _rule(full, copies=2, min_copies=1, selector="kind=node")
    full.tick()
    assert len(_tombstones(full)) == 1
    _rule(full, copies=3, min_copies=1, selector="kind=node")
    full.tick()
    assert _tombstones(full) == []
    _wait(full, 2 * _GRACE)
    full.work()
    assert full.transfers(kind="drop") == []


def test_what_cannot_be_decided_leaves_placements_and_tombstones_alone(full: Centre) -> None:
    _rule(full, copies=2, min_copies=2, selector="kind=node")
    full.tick()
    manifests = full.of_manifests()
    placements = select(Placement).where(col(Placement.shard_id).not_in(manifests))
    with full.store.read() as session:
        before = {row.site_id for row in session.exec(placements).all()}
    [mark] = _tombstones(full)
    _rule(full, selector="kind=(")
    full.tick()
    with full.store.read() as session:
        rows = session.exec(placements).all()
    assert {row.site_id for row in rows} == before | {None}
    assert [one.site_id for one in _tombstones(full)] == [mark.site_id]


def _announce_drop(centre: Centre) -> tuple[str, str]:
    """Bring it to where a drop is announced; return its attempt and site."""
    _rule(centre, copies=2, min_copies=2, selector="kind=node")
    centre.tick()
    _wait(centre, _GRACE)
    for _ in range(4):
        _, left = _round(centre, leave="drop")
        if left:
            return left[0]
        _wait(centre, _DAY / 4)
    raise AssertionError("no drop was announced")


def test_a_copy_that_is_leaving_is_offered_to_nobody(full: Centre) -> None:
    _, site = _announce_drop(full)
    assert _states(full)[site] == "leaving"
    assert full.seeds(site) == []


def _risks(centre: Centre) -> dict[str, int]:
    with centre.store.read() as session:
        return {row.site_id: row.risk for row in session.exec(select(Replica)).all()}


def test_the_others_are_at_more_risk_once_a_copy_is_leaving(full: Centre) -> None:
    before = _risks(full)
    _, site = _announce_drop(full)
    after = _risks(full)
    assert all(after[other] < before[other] for other in _ALL if other != site)


def test_a_drop_is_called_off_when_an_other_is_lost_before_it_is_claimed(full: Centre) -> None:
    attempt, site = _announce_drop(full)
    with full.store.write() as session:
        other = session.exec(select(Site).where(Site.id != site).order_by(Site.id)).first()
        assert other is not None
        other.silent = True
    with pytest.raises(RefusedError, match="called off: is kept: 1 of the 2 other copies"):
        full.claim(attempt, site)
    assert _states(full)[site] == "suspect"
    full.work()
    assert _states(full)[site] == "available"


def test_a_drop_that_waited_too_long_is_called_off_until_the_others_are_read_again(
    full: Centre,
) -> None:
    attempt, site = _announce_drop(full)
    _wait(full, 8 * _DAY)
    with pytest.raises(RefusedError, match="have been read from end to end once more"):
        full.claim(attempt, site)
    for _ in range(4):
        _round(full)
        _wait(full, _DAY / 4)
    assert _states(full)[site] == "retired"


def test_what_a_judged_site_has_not_read_since_proves_nothing(full: Centre) -> None:
    attempt, site = _announce_drop(full)
    other = next(one for one in _ALL if one != site)
    with full.store.write() as session:
        now = full.store.now(session) + timedelta(seconds=1)
        session.add(
            Incident(site_id=other, kind="judged", reason="rot", stage="reading", began_at=now)
        )
    with pytest.raises(RefusedError, match="called off: is kept: 1 of the 2 other copies"):
        full.claim(attempt, site)


def test_a_site_that_is_to_be_retired_proves_nothing(full: Centre) -> None:
    attempt, site = _announce_drop(full)
    with full.store.write() as session:
        other = next(one for one in _ALL if one != site)
        session.get_one(Site, other).retiring = full.store.now(session) + timedelta(days=1)
    with pytest.raises(RefusedError, match="called off: is kept: 1 of the 2 other copies"):
        full.claim(attempt, site)


def test_a_gateway_proves_nothing_while_a_site_that_it_fronts_goes(full: Centre) -> None:
    attempt, site = _announce_drop(full)
    with full.store.write() as session:
        session.get_one(Site, next(one for one in _ALL if one != site)).fronts = ["lost"]
        session.add(Site(id="lost", kind="archive", driver="posix", retired=True))
    with pytest.raises(RefusedError, match="called off: is kept: 1 of the 2 other copies"):
        full.claim(attempt, site)


def test_a_copy_that_was_not_begun_is_merely_given_up(centre: Centre) -> None:
    centre.mirror("a.csv", rule=RuleSpec(selector="id=toronto"))
    centre.work()
    _rule(centre, copies=None, min_copies=1, selector="kind=node")
    centre.tick()
    assert sorted(one.target_id for one in centre.transfers(kind="copy", state="announced")) == [
        "amsterdam",
        "netcup",
    ]
    _rule(centre, copies=1, min_copies=1, selector="id=toronto")
    centre.tick()
    assert _states(centre) == {"toronto": "available", "amsterdam": "retired", "netcup": "retired"}
    copies = centre.transfers(kind="copy")
    assert {one.state for one in copies if one.target_id != "toronto"} == {"cancelled"}
    assert _tombstones(centre) == []


def test_when_a_rule_expires_its_last_copies_stay_and_the_others_go(full: Centre) -> None:
    with full.store.read() as session:
        expires = full.store.now(session) + timedelta(days=1)
    _rule(full, copies=3, min_copies=1, selector="kind=node", expires=expires)
    full.work()
    assert _tombstones(full) == []
    _wait(full, _DAY)
    full.tick()
    assert len(_tombstones(full)) == 2
    _until_dropped(full)
    assert sorted(_states(full).values()) == ["available", "retired", "retired"]
    with full.store.read() as session:
        kept = session.exec(select(Replica).where(Replica.state == "available")).first()
        assert kept is not None
        reasons = [
            one.reason for one in why.explain(session, kept.id, full.store.now(session)).causes
        ]
    assert f"the rule has expired, and {kept.site_id} keeps one of the last 1" in reasons


def test_what_a_rule_is_short_of_is_looked_at_again_within_a_day(centre: Centre) -> None:
    centre.mirror("a.csv", rule=RuleSpec(copies=4, selector="kind=node"))
    centre.work()
    with centre.store.write() as session:
        assert set(session.exec(select(Shard.dirty)).all()) == {False}
        session.add(Site(id="new", kind="node", driver="posix"))
    centre.tick()
    assert "new" not in _states(centre)
    _wait(centre, _DAY)
    centre.tick()
    assert "new" in _states(centre)


def test_why_tells_of_a_tombstone_and_when_it_is_looked_at(full: Centre) -> None:
    _rule(full, copies=2, min_copies=1, selector="kind=node")
    full.tick()
    [mark] = _tombstones(full)
    with full.store.read() as session:
        copy = session.exec(
            select(Replica).where(
                Replica.site_id == mark.site_id, Replica.shard_id == mark.shard_id
            )
        ).one()
        [cause] = [
            one
            for one in why.explain(session, copy.id, full.store.now(session)).causes
            if one.state == "to be dropped"
        ]
    assert cause.again == mark.drop_after
    assert "is kept until 2026-03-15 12:00 UTC" in cause.reason


def test_a_site_whose_copies_are_needed_is_retired_once_they_are_elsewhere(centre: Centre) -> None:
    centre.mirror("a.csv", rule=RuleSpec(selector="id=toronto"))
    centre.work()
    centre.apply_sites("toronto", retired=True)
    _rule(centre, copies=2, min_copies=2, selector="kind=node")
    centre.tick()
    assert _states(centre)["toronto"] == "available"
    [order, *_] = [one for one in centre.orders() if one.task == "pull"]
    assert "toronto" in {source.site for source in order.items[0].sources}
    centre.report(order)
    for _ in range(4):
        _round(centre)
        _wait(centre, 600)
    assert _states(centre) == {
        "toronto": "retired",
        "amsterdam": "available",
        "netcup": "available",
    }
    with centre.store.read() as session:
        assert session.get_one(Site, "toronto").retired


def test_a_site_that_is_being_retired_can_be_kept_after_all(centre: Centre) -> None:
    centre.mirror("a.csv", rule=RuleSpec(selector="id=toronto"))
    centre.work()
    centre.apply_sites("toronto", retired=True)
    with centre.store.read() as session:
        [cause, *_] = why.explain(session, "toronto", centre.store.now(session)).causes
        assert (cause.state, cause.again is not None) == ("retiring", True)
    centre.apply_sites("toronto", retired=False)
    centre.work()
    _wait(centre, 3600)
    centre.work()
    assert _states(centre) == {"toronto": "available"}
