"""Retiring a site beside other units of work, and where it cannot be done."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel import col, delete

from fleet.control import placements, replicas, retirement
from fleet.control.errors import UndoneError
from fleet.store import locking, transfers
from fleet.store.database import Store
from fleet.store.tables import Replica, Shard, Site
from tests.centre_support import Centre
from tests.databases import refusing, until_blocked
from tests.holdings_support import hold, states
from tests.retirement_support import apply, is_retired, silence, to_be_retired


def test_sites_that_go_together_each_take_their_shards_in_the_order_all_keep(
    rival: Centre,
) -> None:
    """The file names them in one order, another unit of work takes the shards in the other."""
    first, second = sorted(hold(rival, 2, ("toronto", "amsterdam", "netcup")))
    with rival.store.write() as session:
        for site, shard in (("toronto", first), ("amsterdam", second)):
            copy = (col(Replica.site_id) == site) & (col(Replica.shard_id) == shard)
            session.exec(delete(Replica).where(copy))
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            locking.lock(session, Shard, first)
            done = pool.submit(rival.apply_sites, "toronto", "amsterdam", retired=True)
            until_blocked(rival.store)
            locking.lock(session, Shard, second)
        done.result()
    assert states(rival.store, "toronto") == {second: "retired"}
    assert states(rival.store, "amsterdam") == {first: "retired"}


@pytest.fixture
def rival(postgres_store: Store, tmp_path: Path) -> Centre:
    """A centre in whose store several units of work are under way at the same time."""
    centre = Centre(postgres_store, tmp_path)
    centre.apply_sites("toronto", "amsterdam", "netcup")
    return centre


def test_a_site_that_is_kept_after_all_is_not_retired_by_a_unit_under_way(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("toronto", "amsterdam"))
    to_be_retired(rival, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            locking.lock(session, Shard, shard)
            retired = pool.submit(retirement.look_at, rival.store, "toronto")
            until_blocked(rival.store)
            assert "toronto: is not retired after all" in apply(rival, "toronto")
        assert not retired.result()
    assert not is_retired(rival, "toronto")
    assert states(rival.store, "toronto") == {shard: "available"}


def test_a_site_that_is_kept_after_all_is_not_looked_at_again(rival: Centre) -> None:
    hold(rival, 1, ("toronto",))
    to_be_retired(rival, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            session.get_one(Site, "toronto").retiring = None
            session.flush()
            retired = pool.submit(retirement.look_at, rival.store, "toronto")
            until_blocked(rival.store)
        assert not retired.result()
    with rival.store.read() as session:
        assert session.get_one(Site, "toronto").retiring is None


def test_a_site_is_not_lost_that_is_kept_after_all(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("toronto",))
    to_be_retired(rival, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            locking.lock(session, Shard, shard)
            said = pool.submit(retirement.lose, rival.store, "toronto")
            until_blocked(rival.store)
            apply(rival, "toronto")
        assert said.result() == "is to stay, as was said meanwhile"
    assert states(rival.store, "toronto") == {shard: "available"}


def test_a_site_that_is_kept_after_all_is_not_said_to_wait(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("toronto", "amsterdam"))
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            locking.lock(session, Shard, shard)
            said = pool.submit(apply, rival, "toronto", retired=True)
            until_blocked(rival.store)
            apply(rival, "toronto")
        assert said.result() == [
            "toronto: retired changed",
            "toronto: is to stay, as was said meanwhile",
        ]


def test_a_copy_that_is_lost_while_a_site_is_being_retired_keeps_it(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("toronto", "amsterdam"))
    to_be_retired(rival, "toronto")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            replicas.lose(session, shard, "amsterdam", (), "gone", rival.store.now(session))
            retired = pool.submit(retirement.look_at, rival.store, "toronto")
            until_blocked(rival.store)
        assert not retired.result()
    assert states(rival.store, "toronto") == {shard: "available"}


def test_a_copy_given_to_a_site_while_that_was_retired_is_made_elsewhere(rival: Centre) -> None:
    [shard] = hold(rival, 1, ("amsterdam",), copies=2)
    with rival.store.write() as session:
        session.get_one(Site, "netcup").silent = True
        session.get_one(Shard, shard).dirty = True
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            toronto = locking.lock(session, Site, "toronto")
            placed = pool.submit(placements.step, rival.store, rival.settings)
            until_blocked(rival.store)
            toronto.retired = True
        placed.result()
    assert states(rival.store, "toronto") == {shard: "pending"}
    silence(rival, "netcup", silent=False)
    rival.tick()
    rival.work()
    assert states(rival.store, "toronto") == {shard: "retired"}
    assert states(rival.store, "netcup") == {shard: "available"}
    [given] = rival.transfers(target_id="toronto")
    assert (given.state, given.reason) == ("cancelled", "toronto was retired")


def test_a_retired_site_is_left_neither_work_nor_copies(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("amsterdam", "toronto"), copies=2)
    with centre.store.write() as session:
        now = centre.store.now(session)
        replicas.want_verify(session, shard, "toronto", "doubt", now)
        session.get_one(Site, "toronto").retired = True
    centre.tick()
    centre.work()
    assert states(centre.store, "toronto") == {shard: "retired"}
    assert states(centre.store, "netcup") == {shard: "available"}
    assert [one.state for one in centre.transfers(target_id="toronto")] == ["cancelled"]


@pytest.mark.parametrize("retired", [True, "lost"])
def test_a_site_that_a_deadlock_keeps_is_tried_once_more(rival: Centre, retired: object) -> None:
    [shard] = hold(rival, 1, ("toronto", "netcup"))
    with rival.store.write() as session:
        replicas.want_verify(session, shard, "toronto", "asked", rival.store.now(session))
    [reading] = rival.transfers(kind="verify")
    with ThreadPoolExecutor(1) as pool:
        with rival.store.write() as session:
            session.execute(text("SET LOCAL deadlock_timeout = '1min'"))  # the other is the victim
            locking.lock(session, Shard, shard)
            said = pool.submit(apply, rival, "toronto", retired=retired)
            until_blocked(rival.store)
            transfers.lock(session, reading.id)
        [_, line] = said.result()
    assert line.startswith("toronto: retired")
    assert is_retired(rival, "toronto")


def test_a_lost_site_that_cannot_be_retired_is_told_of_and_the_others_go(
    sqlite_centre: Centre,
) -> None:
    hold(sqlite_centre, 1, ("toronto", "netcup"))
    with (
        refusing(sqlite_centre.store, "toronto"),
        pytest.raises(UndoneError, match=r"^toronto could not .* again: this site is") as undone,
    ):
        apply(sqlite_centre, "toronto", "amsterdam", retired="lost")
    assert "amsterdam: retired as lost; others have all that it held" in undone.value.done
    [_, line] = apply(sqlite_centre, "toronto", retired="lost")
    assert line == "toronto: retired as lost; others have all that it held"


def test_the_scheduler_goes_on_with_a_site_that_could_not_be_retired(
    sqlite_centre: Centre,
) -> None:
    hold(sqlite_centre, 1, ("toronto", "netcup"))
    with refusing(sqlite_centre.store, "toronto"):
        [_, line] = apply(sqlite_centre, "toronto", retired=True)
    assert line.endswith("not be retired yet, the scheduler tries again: this site is refused")
    sqlite_centre.tick()
    assert is_retired(sqlite_centre, "toronto")


def test_a_site_that_cannot_be_retired_holds_back_nothing_after_it(sqlite_centre: Centre) -> None:
    hold(sqlite_centre, 1, ("toronto", "netcup"))
    for site in ("toronto", "amsterdam"):
        to_be_retired(sqlite_centre, site)
    with refusing(sqlite_centre.store, "toronto"):
        assert retirement.step(sqlite_centre.store)
        assert is_retired(sqlite_centre, "amsterdam")
        assert not retirement.step(sqlite_centre.store)
    assert not is_retired(sqlite_centre, "toronto")
    assert retirement.step(sqlite_centre.store)
    assert is_retired(sqlite_centre, "toronto")


def test_what_cannot_be_taken_from_a_retired_site_holds_back_no_other_work(
    sqlite_centre: Centre,
) -> None:
    [shard] = hold(sqlite_centre, 1, ("toronto", "amsterdam"))
    with sqlite_centre.store.write() as session:
        now = sqlite_centre.store.now(session)
        for site in ("toronto", "amsterdam"):
            replicas.want_verify(session, shard, site, "doubt", now)
        session.get_one(Site, "toronto").retired = True
    with refusing(sqlite_centre.store, "toronto"):
        sqlite_centre.dispatch()
    assert {one.target_id: one.state for one in sqlite_centre.transfers(kind="verify")} == {
        "toronto": "waiting",
        "amsterdam": "announced",
    }
    sqlite_centre.dispatch()
    assert [one.state for one in sqlite_centre.transfers(target_id="toronto")] == ["cancelled"]
