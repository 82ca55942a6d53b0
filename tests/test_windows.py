"""Transfers wait for quiet hours, pause at their end, and go on when they open again."""

from datetime import timedelta

import pytest
from sqlmodel import select

from fleet.control.rules import RuleSpec
from fleet.messages import Order
from fleet.planning.traffic import HOURS
from fleet.store.tables import Attempt, SourceScore, Transfer, Usual
from tests.centre_support import Centre
from tests.conftest import NOON

AT_NIGHT = [{"timezone": "UTC", "opens": "00:00", "closes": "06:00"}]
HOUR = 3600


@pytest.fixture
def nightly(centre: Centre) -> Centre:
    """A centre whose sites carry bulk from midnight to six."""
    centre.apply_sites("toronto", "amsterdam", "netcup", windows=AT_NIGHT, slots=1)
    return centre


def _advance(centre: Centre, hours: float) -> None:
    centre.advance(hours * HOUR)
    centre.open_doors()


def _transfer(centre: Centre, order: Order) -> Transfer:
    with centre.store.read() as session:
        attempt = session.get_one(Attempt, order.attempt)
        return session.get_one(Transfer, attempt.transfer_id)


def _ingest(centre: Centre, rule: RuleSpec | None = None, key: str = "") -> Transfer:
    centre.mirror(f"a{key}.csv", rule=rule or RuleSpec(selector="id=toronto"), key=key)
    centre.tick()
    return centre.transfers(kind="ingest")[-1]


def test_a_pull_waits_for_the_quiet_hours_and_says_so(nightly: Centre) -> None:
    waits = _ingest(nightly)
    assert waits.state == "waiting"
    assert waits.not_before == NOON + timedelta(hours=12)
    assert "toronto waits for the quiet hours from 00:00 (UTC)" in waits.reason
    _advance(nightly, 12)
    nightly.tick()
    assert len(nightly.orders()) == 1


def test_an_urgent_pull_does_not_wait(nightly: Centre) -> None:
    assert _ingest(nightly, RuleSpec(selector="id=toronto", priority=100)).state == "announced"


def test_a_pull_pauses_at_the_end_of_the_quiet_hours_and_goes_on_in_the_next(
    nightly: Centre,
) -> None:
    _ingest(nightly)
    _advance(nightly, 12)
    nightly.tick()
    [order] = nightly.orders()
    assert nightly.beat(order).action == "continue"
    assert "in the quiet hours until 06:00 (UTC)" in _transfer(nightly, order).reason
    _advance(nightly, 6)
    paused = nightly.beat(order)
    assert paused.action == "pause"
    assert "waits for the quiet hours from 00:00 (UTC)" in paused.reason
    transfer = _transfer(nightly, order)
    assert transfer.state == "running"
    assert transfer.reason.startswith("paused: toronto waits")
    assert transfer.not_before == NOON + timedelta(hours=36)
    _advance(nightly, 18)
    assert nightly.beat(order).action == "continue"
    assert _transfer(nightly, order).not_before is None
    assert nightly.report(order).applied


def test_a_paused_pull_leaves_its_slot_to_one_that_does_not_wait(nightly: Centre) -> None:
    first = _ingest(nightly)
    _advance(nightly, 12)
    nightly.tick()
    [order] = nightly.orders()
    _advance(nightly, 6)
    assert nightly.beat(order).action == "pause"
    urgent = RuleSpec(selector="id=toronto", priority=100)
    nightly.mirror("b.csv", rule=urgent, key="urgent")
    nightly.tick()
    stopped = nightly.beat(order)
    assert stopped.action == "stop"
    [waits] = [one for one in nightly.transfers(kind="ingest") if one.id == first.id]
    assert (waits.state, waits.attempts) == ("waiting", 0)
    assert waits.not_before == NOON + timedelta(hours=36)
    assert "its slot goes to work that does not wait" in waits.reason
    nightly.tick()
    [pressing] = nightly.orders()
    assert _transfer(nightly, pressing).id != first.id


def test_a_copy_goes_outside_the_quiet_hours_when_its_deadline_would_be_missed(
    centre: Centre,
) -> None:
    names = ("toronto", "amsterdam")
    centre.mirror("a.csv", rule=RuleSpec(copies=2, selector="id=toronto | id=amsterdam"))
    centre.tick()
    [ingest] = centre.orders()
    centre.apply_sites(*names, windows=AT_NIGHT)
    with centre.store.write() as session:
        for site in names:  # 100 bytes a second: the night has room for 1.7 MB of it
            session.add(
                SourceScore(observer_id=site, host="h", bytes_per_second=100.0, updated_at=NOON)
            )
    centre.report(ingest)
    centre.describe()
    centre.tick()
    [copy] = centre.transfers(kind="copy")
    assert copy.state == "waiting"
    with centre.store.write() as session:
        row = session.get_one(Transfer, copy.id)
        row.deadline, row.not_before, row.size = NOON + timedelta(days=1), None, 2_000_000
    centre.tick()
    [order] = [one for one in centre.orders() if one.task == "pull"]
    assert centre.beat(order).action == "continue"
    assert "too short: it goes on outside them" in _transfer(centre, order).reason


def test_a_site_with_a_zone_keeps_the_hours_that_its_traffic_shows(centre: Centre) -> None:
    centre.apply_sites("toronto", timezone="UTC")
    hours = [1.0 if 13 <= hour % 24 < 19 else 5.0 + hour % 24 for hour in range(HOURS)]
    with centre.store.write() as session:
        newest = {str(hour): load for hour, load in enumerate(hours)}
        session.add(
            Usual(
                subject="toronto", timezone="UTC", hours=hours, newest=newest, weeks=3, measured=1.0
            )
        )
    waits = _ingest(centre)
    assert waits.not_before == NOON + timedelta(hours=1)
    assert "learned from 3 weeks of its traffic" in waits.reason


def test_a_site_whose_clock_is_in_doubt_keeps_fixed_hours_and_says_why(centre: Centre) -> None:
    centre.apply_sites("toronto", timezone="UTC")
    with centre.store.write() as session:
        session.add(Usual(subject="toronto", timezone="UTC", clock="its clock is an hour ahead"))
    waits = _ingest(centre)
    assert waits.not_before == NOON + timedelta(hours=12)
    assert "because its clock is an hour ahead" in waits.reason


def test_heartbeats_write_the_reason_of_a_running_transfer_once(nightly: Centre) -> None:
    _ingest(nightly, RuleSpec(selector="id=toronto", priority=100))
    [order] = nightly.orders()
    nightly.beat(order)
    reason = _transfer(nightly, order).reason
    assert "its priority does not wait" in reason
    nightly.beat(order)
    with nightly.store.read() as session:
        assert [one.reason for one in session.exec(select(Transfer)).all()].count(reason) == 1
