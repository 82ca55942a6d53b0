"""A site with many faults is judged as a site: few transfers, one reason, and a way back."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from sqlmodel import select

from fleet.control import probes, progress, replicas, views, why
from fleet.messages import ItemResult, Order
from fleet.planning.health import MANY, PATIENCE, SAMPLES
from fleet.store import holdings, transfers
from fleet.store.database import Store
from fleet.store.tables import Incident, Observation, Replica, Shard, Transfer, Version
from tests.centre_support import Centre
from tests.databases import until_blocked
from tests.holdings_support import doubt, hold, incidents, moved, states

FILES = 45  # more than are sampled, and than may be wrong one by one


def _hold(centre: Centre, files: int = FILES) -> list[str]:
    """Two copies of everything; a third site has room."""
    return hold(centre, files, ("toronto", "amsterdam"), copies=2, least=2)


def _work(centre: Centre, bad: frozenset[str] = frozenset(), rounds: int = 200) -> None:
    """Carry out what is announced; at Toronto the shards that are ``bad`` are corrupt."""
    for _ in range(rounds):
        centre.tick()
        todo = centre.orders()
        for order in todo:
            wrong = order.task == "verify" and order.site == "toronto" and order.shard in bad
            centre.report(order, **({"items": _corrupt(order)} if wrong else {}))
        if not todo:
            return
    raise AssertionError("still busy")


def _corrupt(order: Order) -> tuple[ItemResult, ...]:
    return tuple(
        ItemResult(artifact=item.artifact, ok=False, reason="its bytes rot", fault="corrupt")
        for item in order.items
    )


def _judge(centre: Centre, site: str) -> None:
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(
            Incident(site_id=site, kind="judged", reason="rot", began_at=now, stage="sampling")
        )


def test_a_site_that_loses_everything_costs_few_transfers_while_it_is_judged(
    centre: Centre,
) -> None:
    shards = _hold(centre, 70)  # more than all that may move
    doubt(centre, "toronto", shards)
    for _ in range(3):
        centre.tick()
    [incident] = incidents(centre.store)
    assert (incident.site_id, incident.stage) == ("toronto", "sampling")
    assert len(moved(centre)) <= 2 * MANY + SAMPLES
    assert Counter(states(centre.store, "toronto").values())["suspect"] == MANY


def test_a_site_whose_samples_are_right_is_cleared_and_what_was_accused_is_read(
    centre: Centre,
) -> None:
    shards = _hold(centre)
    doubt(centre, "toronto", shards)
    _work(centre)
    [incident] = incidents(centre.store)
    assert incident.ended_at is not None
    assert f"{SAMPLES} of {SAMPLES}" in incident.reason
    assert set(states(centre.store, "toronto").values()) == {"available"}
    doubt(centre, "toronto", shards[:1])
    assert len(incidents(centre.store)) == 1  # what it was cleared of does not judge it again


def test_a_site_with_a_wrong_sample_is_read_whole_and_repaired(centre: Centre) -> None:
    shards = _hold(centre)
    bad = frozenset(shards[20:])
    doubt(centre, "toronto", shards[: MANY + 1])
    _work(centre, bad)
    [incident] = incidents(centre.store)
    assert "is read again" in incident.reason
    assert incident.ended_at is not None
    read = {one.shard_id for one in centre.transfers(kind="verify", target_id="toronto")}
    assert read == set(shards)
    good = Counter(
        shard
        for site in ("toronto", "amsterdam", "netcup")
        for shard, state in states(centre.store, site).items()
        if state == "available"
    )
    assert all(good[shard] >= 2 for shard in shards)


def test_a_judged_site_gets_nothing_new_and_its_copies_count_no_more(centre: Centre) -> None:
    shards = _hold(centre)
    doubt(centre, "toronto", shards)
    centre.mirror("new.csv")
    for _ in range(6):
        centre.tick()
        for order in centre.orders():
            if order.site != "toronto":
                centre.report(order)
    with centre.store.read() as session:
        new = session.exec(select(Shard.id).where(Shard.version_id != "", Shard.name == "1")).all()
        causes = why.explain(session, shards[-1], centre.store.now(session)).causes
        site = why.explain(session, "toronto", centre.store.now(session)).causes
    assert not set(new) & set(states(centre.store, "toronto"))
    assert not [one for one in centre.transfers(kind="ingest") if one.target_id == "toronto"]
    assert any(one.state == "1 good" and "amsterdam" in one.reason for one in causes)
    [told] = [one for one in site if one.thing == "incident at toronto"]
    assert "no source and no target" in told.reason
    assert told.again == told.since + PATIENCE  # type: ignore[operator]


def test_people_are_shown_as_many_copies_as_the_planner_counts(centre: Centre) -> None:
    shards = _hold(centre)
    with centre.store.read() as session:
        version = session.exec(select(Version.id)).one()
        whole = progress.of(session, version)
    doubt(centre, "toronto", shards)
    with centre.store.read() as session:
        done = progress.of(session, version)
        sites = {one.id: one for one in views.sites(session)}
        shown = views.dataset(session, "held", centre.store.now(session))
        lines = {one["site"]: one for one in holdings.site_lines(session, ("toronto", "netcup"))}
    copies = {one.site: one for one in shown.copies}
    assert whole.replicas_available == 2 * FILES
    assert (done.replicas_wanted, done.replicas_available) == (2 * FILES, FILES)
    assert done.bytes_done < whole.bytes_done == done.bytes_wanted
    assert (sites["toronto"].available, sites["toronto"].bytes) == (0, 0)
    assert sites["amsterdam"].available == FILES
    assert (copies["toronto"].shards, copies["toronto"].available) == (FILES, 0)
    assert copies["amsterdam"].available == FILES
    assert (lines["toronto"]["available"], lines["toronto"]["bad"]) == (0, FILES)
    assert lines["netcup"]["bad"] == 0


def test_a_site_that_cannot_be_read_for_a_day_is_condemned(centre: Centre) -> None:
    shards = _hold(centre)
    doubt(centre, "toronto", shards)
    centre.tick()
    centre.advance(PATIENCE.total_seconds())
    centre.tick()
    [incident] = incidents(centre.store)
    assert incident.stage in ("condemned", "reading")
    assert "not read in a day" in incident.reason
    copies = centre.transfers(kind="copy")
    assert {one.target_id for one in copies} == {"netcup"}
    assert {one.shard_id for one in copies} == set(shards)


def test_samples_that_were_dropped_tell_nothing_and_others_are_drawn(centre: Centre) -> None:
    doubt(centre, "toronto", _hold(centre))
    centre.tick()
    [before] = incidents(centre.store)
    drawn = {one.shard_id for one in centre.transfers() if one.id in before.samples}
    with centre.store.write() as session:
        for row in session.exec(select(Replica).where(Replica.site_id == "toronto")).all():
            if row.shard_id in drawn:
                row.state = "leaving"
    centre.tick()
    [after] = incidents(centre.store)
    assert after.stage == "sampling"
    assert after.samples
    assert not set(after.samples) & set(before.samples)


def test_a_draft_whose_sealing_was_given_up_is_sealed_elsewhere(centre: Centre) -> None:
    centre.mirror("a.csv", "b.csv")
    centre.describe()
    _judge(centre, "toronto")
    centre.tick()
    copies = [one.target_id for one in centre.transfers(kind="copy")]
    assert copies
    assert "toronto" not in copies


def test_a_reading_that_was_given_up_is_not_made_anew_and_ends_the_incident(
    centre: Centre,
) -> None:
    shards = _hold(centre, 3)
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(
            Incident(site_id="toronto", kind="judged", reason="rot", began_at=now, stage="reading")
        )
        for shard in shards:
            verify = replicas.want_verify(session, shard, "toronto", "judged", now)
            assert verify is not None
            verify.state, verify.ended_at = "suspended", now
    for _ in range(3):
        _work(centre)
    [incident] = incidents(centre.store)
    assert incident.ended_at is not None
    assert set(states(centre.store, "toronto").values()) == {"suspect"}
    assert len(centre.transfers(kind="verify", target_id="toronto")) == len(shards)


def test_an_incident_ends_when_its_site_is_retired(centre: Centre) -> None:
    shards = hold(centre, FILES, ("toronto", "amsterdam"), copies=2, least=1)
    doubt(centre, "toronto", shards)
    centre.apply_sites("toronto", retired=True)
    [incident] = incidents(centre.store)
    assert incident.ended_at is not None


def _probe(centre: Centre, observer: str) -> None:
    """Have Toronto probed by another site, which is due now."""
    with centre.store.write() as session:
        now = centre.store.now(session)
        probes.ensure(session, "toronto", now)
        probe = session.exec(select(Transfer).where(Transfer.kind == "probe")).one()
        probe.executor_id, probe.not_before = observer, None


def test_what_a_judged_site_was_to_probe_is_probed_by_another(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    _probe(centre, "netcup")
    _judge(centre, "netcup")
    centre.tick()
    centre.advance(5)
    centre.tick()
    assert [order.site for order in centre.orders() if order.task == "probe"] == ["amsterdam"]


def test_no_unit_of_work_is_begun_for_what_a_judged_site_does_not_do(
    sqlite_store: Store, tmp_path: Path
) -> None:
    centre = Centre(sqlite_store, tmp_path)
    centre.apply_sites("toronto")
    [shard] = hold(centre, 1, ("toronto",))
    _probe(centre, "toronto")  # nobody else can
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(
            Transfer(
                kind="copy",
                shard_id=shard,
                target_id="toronto",
                executor_id="toronto",
                created_at=now,
            )
        )
    _judge(centre, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with centre.store.write():  # one that is begun now waits for this one
            looked = pool.submit(centre.dispatch)
            done, _ = wait([looked], timeout=30)
        looked.result()
    assert done == {looked}


def test_probes_that_are_passed_on_are_taken_in_the_order_all_keep(
    postgres_store: Store, tmp_path: Path
) -> None:
    """The one that another unit of work took first ranks last."""
    centre = Centre(postgres_store, tmp_path)
    centre.apply_sites("toronto", "amsterdam", "netcup")
    with centre.store.write() as session:
        now = centre.store.now(session)
        rows = [
            Transfer(kind="probe", target_id=site, executor_id="netcup", created_at=now)
            for site in ("toronto", "amsterdam")
        ]
        first, second = sorted(row.id for row in rows)
        for row in rows:
            row.priority = int(row.id == second)
        session.add_all(rows)

    def pass_on() -> int:
        with centre.store.write() as session:
            return probes.pass_on(session, "netcup", 2, centre.store.now(session))

    with ThreadPoolExecutor(1) as pool:
        with centre.store.write() as session:
            transfers.lock(session, first)
            passed = pool.submit(pass_on)
            until_blocked(centre.store)
            transfers.lock(session, second)
        assert passed.result() == 2


@pytest.mark.parametrize("corrupt", [False, True])
def test_what_a_judged_site_saw_of_another_neither_proves_nor_accuses(
    centre: Centre, corrupt: bool
) -> None:
    [shard] = hold(centre, 1, ("toronto", "amsterdam"))
    _probe(centre, "netcup")
    centre.tick()
    [order] = centre.orders()
    assert (order.task, order.site) == ("probe", "netcup")
    _judge(centre, "netcup")
    centre.report(order, **({"items": _corrupt(order)} if corrupt else {}))
    assert states(centre.store, "toronto") == {shard: "available"}
    [probe] = centre.transfers(kind="probe")
    assert (probe.state, probe.executor_id) == ("waiting", "amsterdam")
    with centre.store.read() as session:
        assert session.exec(select(Observation)).all() == []
        assert session.exec(select(Replica.proved_at).distinct()).all() == [None]
