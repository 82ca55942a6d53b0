"""When a site is to go: which copies elsewhere take the place of its own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from sqlalchemy import update
from sqlmodel import col, delete, select

from fleet.control import retirement
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Incident, Replica, Rule, Shard, Site, Tombstone
from tests.centre_support import Centre
from tests.databases import until_blocked
from tests.holdings_support import hold, states


def _retire(centre: Centre, site: str) -> str:
    with centre.store.write() as session:
        session.get_one(Site, site).retiring = centre.store.now(session)
    if retirement.look_at(centre.store, site):
        return "retired"
    with centre.store.read() as session:
        return retirement.waits(session, site)


def test_a_site_goes_at_once_when_another_holds_it_all(centre: Centre) -> None:
    hold(centre, 2, ("toronto", "amsterdam"))
    assert _retire(centre, "toronto") == "retired"


def test_a_copy_with_a_tombstone_takes_nobodys_place(centre: Centre) -> None:
    [shard] = hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(
            Tombstone(
                shard_id=shard,
                site_id="amsterdam",
                reason="surplus",
                waits="waits",
                made_at=now,
                drop_after=now,
            )
        )
    assert "once 1 shards" in _retire(centre, "toronto")


def test_an_unread_copy_of_a_judged_site_takes_nobodys_place(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        began = centre.store.now(session) + timedelta(seconds=1)
        session.add(
            Incident(
                site_id="amsterdam", kind="judged", reason="rot", began_at=began, stage="reading"
            )
        )
    assert "once 1 shards" in _retire(centre, "toronto")


def test_a_gateway_does_not_take_the_place_of_what_it_fronts(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = ["toronto"]
    assert "once 1 shards" in _retire(centre, "toronto")


def test_a_gateway_and_what_it_fronts_take_one_place_elsewhere(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam", "netcup"), copies=3, least=2)
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = ["netcup"]
    assert "once 1 shards" in _retire(centre, "toronto")
    with centre.store.write() as session:
        session.get_one(Site, "amsterdam").fronts = []
    assert _retire(centre, "toronto") == "retired"


def test_sites_that_go_together_each_take_their_shards_in_the_order_all_keep(
    postgres_store: Store, tmp_path: Path
) -> None:
    """The file names them in one order, another unit of work takes the shards in the other."""
    centre = Centre(postgres_store, tmp_path)
    centre.apply_sites("toronto", "amsterdam", "netcup")
    first, second = sorted(hold(centre, 2, ("toronto", "amsterdam", "netcup")))
    with centre.store.write() as session:
        for site, shard in (("toronto", first), ("amsterdam", second)):
            copy = (col(Replica.site_id) == site) & (col(Replica.shard_id) == shard)
            session.exec(delete(Replica).where(copy))
    with ThreadPoolExecutor(1) as pool:
        with centre.store.write() as session:
            holdings.lock(session, Shard, first)
            done = pool.submit(centre.apply_sites, "toronto", "amsterdam", retired=True)
            until_blocked(centre.store)
            holdings.lock(session, Shard, second)
        done.result()
    assert states(centre.store, "toronto") == {second: "retired"}
    assert states(centre.store, "amsterdam") == {first: "retired"}


def test_sites_that_go_together_do_not_take_each_others_place(centre: Centre) -> None:
    hold(centre, 1, ("toronto", "amsterdam"))
    centre.apply_sites("toronto", "amsterdam", retired=True)
    with centre.store.read() as session:
        rows = {one.id: one for one in session.exec(select(Site)).all()}
    assert not any(rows[site].retired for site in ("toronto", "amsterdam"))
    centre.work()
    centre.store.clock.advance(600)  # type: ignore[attr-defined]
    centre.work()
    assert set(states(centre.store, "netcup").values()) == {"available"}
    assert set(states(centre.store, "toronto").values()) == {"retired"}
    assert set(states(centre.store, "amsterdam").values()) == {"retired"}


def test_a_site_with_the_last_copies_of_an_expired_rule_goes_once_others_have_them(
    centre: Centre,
) -> None:
    hold(centre, 2, ("toronto", "amsterdam"), copies=2, least=2)
    with centre.store.write() as session:
        session.exec(update(Rule).values(expires=centre.store.now(session)))
    centre.work()
    assert states(centre.store, "netcup") == {}
    centre.apply_sites("toronto", retired=True)
    centre.work()
    assert set(states(centre.store, "netcup").values()) == {"available"}
    centre.store.clock.advance(600)  # type: ignore[attr-defined]
    centre.work()
    with centre.store.read() as session:
        assert session.get_one(Site, "toronto").retired
    assert set(states(centre.store, "amsterdam").values()) == {"available"}
    centre.work()
    assert len(centre.transfers(kind="copy")) == 2
