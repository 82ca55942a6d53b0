"""The story of one dataset, with the worker's part played by the test."""

from sqlmodel import select

from fleet.control import progress, why
from fleet.control.rules import RuleSpec
from fleet.messages import ItemResult
from fleet.planning.ingest import BATCHES
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Artifact
from tests.centre_support import Centre

MANY = [f"{number:02}.csv" for number in range(2 * BATCHES)]


def test_every_file_is_fetched_once_and_copied_to_every_site_that_the_rule_names(
    centre: Centre,
) -> None:
    version = centre.mirror("a.csv", "b/c.csv", "d.csv")
    centre.work()
    ingests = centre.transfers(kind="ingest")
    assert {one.state for one in ingests} == {"done"}
    with centre.store.read() as session:
        files = select(Artifact.ingest_id).where(Artifact.role == "data")
        fetched_by = session.exec(files).all()
    assert sorted(fetched_by) == sorted(one.id for one in ingests)
    assert centre.replicas() == {
        "toronto": ["available"],
        "amsterdam": ["available"],
        "netcup": ["available"],
    }
    with centre.store.read() as session:
        done = progress.of(session, version)
    assert done.complete
    assert (done.known, done.excluded, done.state) == (4, 0, "published")  # with its manifest


def test_large_files_are_shards_by_themselves_sealed_without_a_second_read(
    store: Store, centre: Centre
) -> None:
    centre.settings = CentreSettings(alone_from=1)
    centre.mirror("a.csv")
    centre.tick()
    [(attempt, site)] = centre.announced()
    centre.report(centre.claim(attempt, site))
    centre.work()
    assert centre.replicas()[site] == ["available"]
    assert all(one.target_id != site for one in centre.transfers(kind="copy"))


def test_copies_prefer_fleet_sources_and_keep_the_origin_as_the_last_resort(
    centre: Centre,
) -> None:
    centre.settings = CentreSettings(alone_from=1)
    centre.mirror("a.csv")
    centre.tick()
    [(attempt, first)] = centre.announced()
    centre.report(centre.claim(attempt, first))
    centre.tick()
    orders = [centre.claim(attempt, site) for attempt, site in centre.announced()]
    assert len(orders) == 2
    for order in orders:
        [item] = order.items
        assert [source.site for source in item.sources] == [first, None]
        assert item.sources[0].url.endswith(f"/data/{_label(centre)}/a.csv")


def test_each_site_seeds_what_it_holds_under_one_infohash(centre: Centre) -> None:
    centre.mirror("a.csv", "b.csv")
    centre.work()
    hashes = {
        site: [seed.infohash for seed in centre.seeds(site)]
        for site in ("toronto", "amsterdam", "netcup")
    }
    assert len({tuple(value) for value in hashes.values()}) == 1
    assert all(len(value) == 1 for value in hashes.values())


def test_one_bad_item_does_not_stop_the_others_and_is_named(centre: Centre) -> None:
    version = centre.mirror(*MANY)
    for _ in range(4):  # one tick announces as many attempts as the sites have slots
        centre.tick()
        for order in centre.orders():
            centre.report_but(order, MANY[7], _refused)
    centre.work()
    with centre.store.read() as session:
        done = progress.of(session, version)
        causes = why.explain(session, "data", centre.store.now(session)).causes
    assert (done.known, done.excluded, done.state) == (len(MANY), 1, "published")
    assert done.settled
    assert not done.complete
    assert any(MANY[7] in one.thing and "10.0.0.1" in one.reason for one in causes)


def test_an_item_that_may_heal_is_tried_again_alone(centre: Centre) -> None:
    centre.mirror(*MANY)
    while not any(one.not_before for one in centre.transfers()):
        centre.tick()
        for order in centre.orders():
            centre.report_but(order, MANY[7], _failed)
    centre.advance(6)
    centre.tick()
    again = [order for order in centre.orders() if order.items[0].path == MANY[7]]
    assert [item.path for order in again for item in order.items] == [MANY[7]]
    centre.report(again[0])


def test_nothing_is_announced_before_its_time_has_come(centre: Centre) -> None:
    centre.mirror("late.csv")
    centre.tick()
    [order] = centre.orders()
    centre.report_but(order, "late.csv", _failed)
    centre.tick()
    assert centre.announced() == []


def test_what_keeps_failing_is_suspended_with_its_reason_and_the_rest_goes_on(
    centre: Centre,
) -> None:
    version = centre.mirror(*MANY)
    while (done := _progress(centre, version)).state == "draft":
        centre.tick()
        for order in centre.orders():
            centre.report_but(order, MANY[7], _failed)
        centre.advance(3600)
    [ingest] = centre.transfers(kind="ingest", state="suspended")
    assert ingest.reason == "gave up after 3 attempts: answered 503"
    assert (done.known, done.excluded, done.state) == (len(MANY), 1, "published")


def test_a_rule_that_no_site_can_serve_says_what_is_short(centre: Centre) -> None:
    rule = RuleSpec(copies=3, min=2, spread_by=("jurisdiction",))
    version = centre.mirror("a.csv", rule=rule)
    centre.work()
    with centre.store.read() as session:
        done = progress.of(session, version)
        causes = why.explain(session, version, centre.store.now(session)).causes
    assert done.short == done.shards
    assert any(one.state == "unsatisfiable" and "1 of 3 copies" in one.reason for one in causes)


def test_a_new_version_supersedes_the_old_one_and_leaves_its_copies(centre: Centre) -> None:
    first = centre.mirror("a.csv", key="1")
    centre.work()
    second = centre.mirror("a.csv", "b.csv", key="2")
    centre.work()
    with centre.store.read() as session:
        assert progress.of(session, first).state == "superseded"
        assert progress.of(session, second).state == "published"
    assert all(states == ["available"] * 2 for states in centre.replicas().values())


def test_asked_for_twice_under_one_key_it_is_done_once(centre: Centre) -> None:
    assert centre.mirror("a.csv", key="k") == centre.mirror("a.csv", key="k")
    centre.work()
    assert len(centre.transfers(kind="ingest")) == 1


def test_nothing_is_left_to_do_when_all_is_done(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.work()
    before = centre.transfers()
    centre.tick()
    centre.tick()
    assert centre.wakeups() == []
    assert centre.transfers() == before


def _progress(centre: Centre, version: str) -> progress.Progress:
    with centre.store.read() as session:
        return progress.of(session, version)


def _failed(artifact: str) -> ItemResult:
    return ItemResult(artifact=artifact, ok=False, reason="answered 503", fault="source")


def _refused(artifact: str) -> ItemResult:
    reason = "http://10.0.0.1/bad.csv: 10.0.0.1 is a private address"
    return ItemResult(artifact=artifact, ok=False, reason=reason, final=True, fault="refused")


def _label(centre: Centre) -> str:
    with centre.store.read() as session:
        return why.explain(session, "data", centre.store.now(session)).causes[0].thing.split()[1]
