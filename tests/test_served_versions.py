"""What buckets serve under bare names: when it is switched, what it waits for, what it keeps."""

from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import select

from fleet.control import mirror, replicas, sites, views, why
from fleet.control.errors import RefusedError
from fleet.control.sites import SiteSpec
from fleet.messages import Order
from fleet.store.tables import Replica, Rule, Served, Shard, Tombstone, Version
from tests.api_support import served as serve
from tests.centre_support import MOMENT, Centre, content
from tests.test_unmanned_sites import BUCKET, EVERYWHERE, STORE, nodes, with_keys

PROCESSED = {**BUCKET, "store": {**STORE, "processed": True}}


@pytest.fixture
def fleet(centre: Centre) -> Centre:
    """A centre with a bucket that serves the latest versions, and a node that works for it."""
    nodes(centre, toronto={"trusted": True})
    _bucket(centre)
    with_keys(centre)
    return centre


def _bucket(centre: Centre, spec: dict[str, Any] = PROCESSED) -> None:
    sites.apply(centre.store, (SiteSpec.model_validate(spec),))


def _mirror(centre: Centre, label: str, *paths: str, dataset: str = "census") -> str:
    listing = centre.folder / "list.txt"
    listing.write_text("".join(f"https://origin.example/{path}\n  out={path}\n" for path in paths))
    return mirror.mirror_dataset(
        centre.store, str(listing), EVERYWHERE, dataset=dataset, label=label, key=dataset + label
    ).version


def _until_switch(centre: Centre) -> Order:
    """Work until a node is told to switch."""
    for _ in range(20):
        centre.tick()
        orders = centre.orders()
        found = [order for order in orders if order.task == "switch"]
        for order in orders:
            if order not in found:
                centre.report(order)
        if found:
            return found[0]
    raise AssertionError("nobody was told to switch")


def _causes(centre: Centre, name: str) -> dict[str, tuple[str, str]]:
    with centre.store.read() as session:
        found = why.explain(session, name, centre.store.now(session)).causes
    return {
        one.thing: (one.state, one.reason) for one in found if one.thing.startswith("processed/")
    }


def test_a_version_is_switched_to_once_all_of_it_lies_there(fleet: Centre) -> None:
    version = _mirror(fleet, "v1", "a.csv", "processed/b.csv", "raw/c.csv")
    order = _until_switch(fleet)
    assert (order.site, order.task, order.items) == ("toronto", "switch", ())
    assert order.grant is not None
    assert order.grant.site == "r2"
    assert order.latest is not None
    assert (order.latest.dataset, order.latest.version, order.latest.sequence) == (
        "census",
        "v1",
        1,
    )
    assert {name: (file.path, file.size) for name, file in order.latest.files.items()} == {
        "a.csv": ("census/v1/a.csv", len(content("a.csv"))),
        "b.csv": ("census/v1/processed/b.csv", len(content("processed/b.csv"))),
    }
    assert Order.model_validate_json(order.model_dump_json()) == order
    with fleet.store.read() as session:
        there = session.exec(select(Replica.state).where(Replica.site_id == "r2")).all()
    assert there == ["available"] * 2
    state, reason = _causes(fleet, "census")["processed/ of census at r2"]
    assert (state, reason.partition(":")[0]) == ("serves nothing yet", "its switch is running")
    fleet.report(order)
    fleet.work()
    assert _causes(fleet, "r2") == {
        "processed/ of census at r2": ("serves v1", "it is the newest version")
    }
    with fleet.store.read() as session:
        [shown] = views.dataset(session, "census", MOMENT).served
        row = session.get_one(Served, ("r2", "census"))
    assert (row.version_id, row.sequence) == (version, 1)
    assert (shown.version, shown.url) == (
        "v1",
        "https://files.example/processed/latest/census.json",
    )


def test_a_dataset_page_tells_in_both_languages_what_is_served(fleet: Centre) -> None:
    _mirror(fleet, "v1", "a.csv")
    fleet.report(_until_switch(fleet))
    with serve(fleet) as api:
        for path, heading in (("en", "under names that stay"), ("fr", "à noms fixes")):
            text = api.get(f"/{path}/datasets/census").text
            assert heading in text
            assert "https://files.example/processed/latest/census.json" in text


def test_a_site_that_is_to_serve_nothing_is_told_to_switch_nothing(fleet: Centre) -> None:
    _bucket(fleet, BUCKET)
    _mirror(fleet, "v1", "a.csv")
    fleet.work()
    assert fleet.transfers(kind="switch") == []
    _bucket(fleet)  # what lies there already is served from now on
    assert _until_switch(fleet).latest is not None


def test_a_newer_version_takes_the_place_of_one_that_was_not_switched_to_yet(
    fleet: Centre,
) -> None:
    fleet.settings = fleet.settings.model_copy(update={"keys_file": None})
    _mirror(fleet, "v1", "a.csv")
    fleet.work()
    with_keys(fleet)
    fleet.advance(301)
    fleet.report(_until_switch(fleet), reason="the bucket is away")
    _mirror(fleet, "v2", "a.csv")
    order = _until_switch(fleet)
    assert order.latest is not None
    assert (order.latest.version, order.latest.sequence) == ("v2", 2)
    first, second = fleet.transfers(kind="switch")
    assert (first.state, first.reason) == ("cancelled", "v2 is newer")
    fleet.report(order)
    assert fleet.transfers(kind="switch")[1].state == "done"
    assert second.id == fleet.transfers(kind="switch")[1].id


def test_names_of_another_dataset_wait_and_it_says_whose_they_are(fleet: Centre) -> None:
    _mirror(fleet, "v1", "a.csv")
    fleet.report(_until_switch(fleet))
    _mirror(fleet, "2024", "processed/a.csv", dataset="roads")
    fleet.work()
    assert _causes(fleet, "roads")["processed/ of roads at r2"] == (
        "serves nothing yet",
        "processed/a.csv of 2024 belongs to census v1",
    )
    _mirror(fleet, "v2", "b.csv")  # the census gives it up
    fleet.report(_until_switch(fleet))
    fleet.advance(7 * 3600)
    order = _until_switch(fleet)
    assert order.latest is not None
    assert order.latest.title == "roads 2024"


def test_a_dataset_without_bare_names_has_no_set(fleet: Centre) -> None:
    _mirror(fleet, "v1", "raw/a.csv", "processed/deep/b.csv")
    fleet.work()
    assert fleet.transfers(kind="switch") == []
    [(state, reason)] = _causes(fleet, "census").values()
    assert state == "serves nothing yet"
    assert reason == "v1 has no data that lie in no folder, or in processed/ alone"


def test_what_is_served_stays_when_it_is_withdrawn_or_its_copy_goes_bad(fleet: Centre) -> None:
    version = _mirror(fleet, "v1", "a.csv")
    fleet.report(_until_switch(fleet))
    with fleet.store.write() as session:
        shard = session.exec(select(Shard.id).where(Shard.version_id == version)).first() or ""
        replicas.lose(session, shard, "r2", (), "it is gone", fleet.store.now(session))
    [(state, reason)] = _causes(fleet, "census").values()
    assert state == "serves v1"
    assert reason.startswith("the copy of v1 is not well; it stays until a newer")
    with fleet.store.write() as session:
        session.get_one(Version, version).state = "withdrawn"
    fleet.tick()
    [(state, reason)] = _causes(fleet, "census").values()
    assert (state, reason) == (
        "serves v1",
        "v1 was withdrawn, and stays until a newer version takes its place",
    )


def test_a_version_that_is_withdrawn_before_its_switch_is_claimed_is_not_served(
    fleet: Centre,
) -> None:
    version = _mirror(fleet, "v1", "a.csv")
    for _ in range(20):
        fleet.tick()
        told = fleet.announced()
        if fleet.transfers(kind="switch", state="announced"):
            break
        for attempt, site in told:
            fleet.report(fleet.claim(attempt, site))
    with fleet.store.write() as session:
        session.get_one(Version, version).state = "withdrawn"
    [(attempt, site)] = [one for one in told if one[1] == "toronto"]
    with pytest.raises(RefusedError, match="v1 was withdrawn"):
        fleet.claim(attempt, site)


def test_no_copy_is_dropped_of_what_its_site_serves(fleet: Centre) -> None:
    _mirror(fleet, "v1", "a.csv")
    fleet.report(_until_switch(fleet))
    with fleet.store.write() as session:
        session.add(Rule(dataset_id="census", copies=1, min_copies=1, selector="id=toronto"))
        session.exec(update(Shard).values(dirty=True))
    fleet.tick()
    for _ in range(4):
        fleet.advance(15 * 86_400)
        fleet.work()
    with fleet.store.read() as session:
        marks = session.exec(select(Tombstone).where(Tombstone.site_id == "r2")).all()
    assert {mark.waits for mark in marks} == {
        "waits for a newer version: v1 is what r2 serves under bare names"
    }
    assert fleet.transfers(kind="drop", target_id="r2") == []
    _bucket(fleet, BUCKET)  # it is to serve nothing any more
    fleet.advance(86_400)
    fleet.work()
    fleet.advance(86_400)
    fleet.work()
    assert fleet.transfers(kind="drop", target_id="r2")
