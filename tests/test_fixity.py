"""Copies are read again: in their turn, by risk, a few at once, and never all on one day."""

from collections import Counter
from datetime import timedelta
from itertools import count

from sqlmodel import select

from fleet.control import probes, replicas
from fleet.store.columns import ids_from
from fleet.store.tables import Incident, Replica
from tests.centre_support import Centre
from tests.holdings_support import hold, moved, states

DAY = 86_400.0
COPIES = 30


def _make_due(centre: Centre, site: str) -> None:
    with centre.store.write() as session:
        for row in session.exec(select(Replica).where(Replica.site_id == site)).all():
            row.look_at = row.verified_at


def test_copies_made_on_one_day_are_all_read_before_their_age_is_over_a_few_a_day(
    sqlite_centre: Centre,
) -> None:
    centre = sqlite_centre
    centre.apply_sites("toronto", read_url="")  # else each day has its probes, too
    with ids_from(count(1)):  # a copy's day follows from its id: five of thirty may meet by chance
        hold(centre, COPIES, ("toronto",), copies=1)
    read = Counter[int]()
    for day in range(84):
        before = len(centre.transfers(kind="verify"))
        centre.work()
        read[day] = len(centre.transfers(kind="verify")) - before
        centre.advance(DAY)
    assert len({one.shard_id for one in centre.transfers(kind="verify")}) == COPIES
    assert max(read.values()) <= 4


def test_of_what_is_due_the_copies_with_the_fewest_others_are_read_first(centre: Centre) -> None:
    centre.apply_sites("toronto", slots=2)  # one reading at once
    many = hold(centre, 6, ("toronto", "amsterdam", "netcup"))
    with centre.store.write() as session:
        for row in session.exec(select(Replica)).all():
            row.look_at = row.verified_at
            if row.site_id != "toronto" and row.shard_id in many[2:]:
                row.state, row.look_at = "bad", None
            if row.site_id == "netcup" and row.shard_id in many[:2]:
                row.state, row.look_at = "bad", None
    order: list[str | None] = []
    for _ in range(6):
        centre.tick()
        for one in centre.orders():
            if one.task == "verify" and one.site == "toronto":
                order.append(one.shard)
            centre.report(one)
        centre.advance(DAY)  # the last copies took up the share of their day
    assert set(order[:4]) == set(many[2:])
    assert set(order[4:]) == set(many[:2])


def test_no_more_is_read_at_once_than_half_of_a_sites_slots(centre: Centre) -> None:
    hold(centre, COPIES, ("toronto",))
    centre.advance(77 * DAY)
    for _ in range(3):
        centre.tick()
    assert len(moved(centre)) == 2


def test_a_copy_that_was_never_read_in_its_age_counts_no_more(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto",), copies=1)
    centre.advance(90 * DAY)
    centre.tick()
    with centre.store.read() as session:
        row = session.exec(
            select(Replica).where(Replica.shard_id == shard, Replica.site_id == "toronto")
        ).one()
    assert (row.state, row.risk) == ("suspect", 0)
    assert "not read since 2026-03-01" in row.reason


def test_quiet_hours_hold_back_ordinary_readings(centre: Centre) -> None:
    quiet = {"timezone": "America/Toronto", "opens": "00:00", "closes": "06:00"}
    centre.apply_sites("toronto", windows=[quiet])
    hold(centre, 4, ("toronto", "amsterdam"))
    centre.advance(timedelta(days=77).total_seconds())  # 14:00 UTC, 09:00 in Toronto
    centre.tick()
    assert {one.target_id for one in moved(centre)} == {"amsterdam"}
    centre.advance(16 * 3600)  # 01:00 in Toronto
    centre.tick()
    assert {one.target_id for one in moved(centre)} == {"amsterdam", "toronto"}


def test_what_presses_is_read_outside_the_quiet_hours_however_much_waits_for_them(
    centre: Centre,
) -> None:
    quiet = {"timezone": "America/Toronto", "opens": "00:00", "closes": "06:00"}
    centre.apply_sites("toronto", windows=[quiet], slots=6)
    many = hold(centre, 20, ("toronto", "amsterdam", "netcup"))
    with centre.store.write() as session:
        old = centre.store.now(session) - timedelta(days=82)  # of 90: a reading waits no longer
        for row in session.exec(select(Replica).where(Replica.site_id == "toronto")).all():
            row.look_at = row.verified_at
            if row.shard_id == many[7]:
                row.verified_at = old
            if row.shard_id == many[13]:
                row.state, row.risk = "suspect", 0
    centre.advance(14 * 3600)  # 09:00 in Toronto
    centre.tick()
    here = {one.shard_id for one in moved(centre) if one.target_id == "toronto"}
    assert here == {many[7], many[13]}


def test_the_last_copy_that_counts_presses_while_another_site_is_judged(centre: Centre) -> None:
    quiet = {"timezone": "America/Toronto", "opens": "00:00", "closes": "06:00"}
    centre.apply_sites("toronto", windows=[quiet])
    [shard] = hold(centre, 1, ("toronto", "amsterdam"))
    centre.advance(14 * 3600)  # 09:00 in Toronto
    _make_due(centre, "toronto")
    centre.tick()
    assert not moved(centre)
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(
            Incident(
                site_id="amsterdam", kind="judged", reason="rot", began_at=now, stage="sampling"
            )
        )
    centre.tick()
    assert (shard, "toronto") in {(one.shard_id, one.target_id) for one in moved(centre)}


def test_a_reading_of_a_copy_that_counts_has_nobody_probe_its_site_anew(centre: Centre) -> None:
    centre.open_doors()
    [shard] = hold(centre, 1, ("toronto",), copies=1)
    with centre.store.write() as session:
        now = centre.store.now(session)
        probes.ensure(session, "toronto", now)
        session.flush()
        probe = probes.of(session, "toronto")
        assert probe is not None
        later = probe.not_before = now + timedelta(days=1)
        replicas.want_verify(session, shard, "toronto", "its turn", now)
    centre.tick()
    (order,) = centre.orders()
    assert order.task == "verify"
    centre.report(order)
    (waiting,) = centre.transfers(kind="probe")
    assert waiting.not_before == later


def test_a_copy_that_was_read_meanwhile_goes_on_counting(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto",))
    with centre.store.write() as session:
        now = centre.store.now(session)
        for row in session.exec(select(Replica)).all():
            row.verified_at = now
        replicas.outdate(session, shard, "toronto", now, now)
    assert states(centre.store, "toronto") == {shard: "available"}
