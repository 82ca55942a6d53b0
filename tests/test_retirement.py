"""When a site is to go: which copies elsewhere take the place of its own."""

from datetime import timedelta

from fleet.control import retirement
from fleet.store.tables import Incident, Site, Tombstone
from tests.centre_support import Centre
from tests.holdings_support import hold


def _retire(centre: Centre, site: str) -> str:
    with centre.store.write() as session:
        row = session.get_one(Site, site)
        return retirement.begin(session, row, centre.store.now(session))


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
