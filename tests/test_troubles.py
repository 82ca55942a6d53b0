"""What the centre does when a site, a copy or a worker's word cannot be trusted."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import select

from fleet.control import mirror, progress, suspensions, torrents
from fleet.control.rules import RuleSpec
from fleet.messages import ItemResult, Order
from fleet.settings import CentreSettings
from fleet.store.tables import Artifact, Observation, Replica, Rule, Shard, Transfer, Version
from tests.centre_support import Centre
from tests.databases import on_sqlite

MANY = [f"{number:02}.csv" for number in range(40)]
DAY = 86_400.0


def test_a_probe_that_finds_wrong_bytes_makes_the_replica_suspect_and_has_it_verified(
    centre: Centre,
) -> None:
    centre.mirror("a.csv")
    centre.work()
    centre.advance(400)
    centre.tick()
    probe = next(order for order in centre.orders() if order.task == "probe")
    _fail(centre, probe, "corrupt", "sha256 differs")
    assert sorted(_states(centre)) == ["available", "available", "suspect"]
    assert len(centre.transfers(kind="verify")) == 1


def test_files_that_a_site_cannot_take_are_given_to_another_and_not_left_out(
    centre: Centre,
) -> None:
    version = centre.mirror(*MANY)
    while _progress(centre, version).state == "draft":
        centre.tick()
        for order in centre.orders():
            if order.site == "toronto" and order.shard is None:
                _fail(centre, order, "local", "this host's disk is full")
            else:
                centre.report(order)
        centre.advance(60)
    done = _progress(centre, version)
    assert (done.excluded, done.state) == (0, "published")


def test_files_of_a_worker_that_fails_without_a_word_about_them_go_to_another(
    centre: Centre,
) -> None:
    version = centre.mirror(*MANY)
    while _progress(centre, version).state == "draft":
        centre.tick()
        for order in centre.orders():
            if order.site == "toronto" and order.shard is None:
                centre.report(order, items=(), reason="the worker failed: KeyError")
            else:
                centre.report(order)
        centre.advance(60)
    done = _progress(centre, version)
    assert (done.excluded, done.state) == (0, "published")


def test_a_copy_that_comes_through_after_its_site_was_retired_is_not_offered(
    centre: Centre,
) -> None:
    centre.settings = CentreSettings(alone_from=1)
    centre.mirror("a.csv")
    centre.tick()
    [ingest] = centre.orders()
    centre.report(ingest)
    centre.tick()
    copy = centre.orders()[0]
    centre.apply_sites(copy.site, retired=True)
    verdict = centre.report(copy)
    assert not verdict.applied
    assert "retired" in verdict.reason
    assert centre.replicas()[copy.site] == ["retired"]


def test_work_that_a_silent_site_was_told_to_do_goes_to_another(centre: Centre) -> None:
    version = centre.mirror(*MANY)
    while (done := _progress(centre, version)).state == "draft":
        _without("netcup", centre, rounds=1)
    assert (done.known, done.state) == (len(MANY) + 1, "published")  # with its manifest
    assert {one.state for one in centre.transfers(kind="ingest", executor_id="netcup")} == {
        "cancelled"
    }


def test_probes_go_on_when_one_of_their_observers_is_dead(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.work()
    seen = Counter[str | None]()
    for _ in range(40):  # the dead one is drawn as an observer half of the times
        centre.advance(301)
        _without("netcup", centre, rounds=1)
        with centre.store.read() as session:
            probes = select(Observation.site_id).where(Observation.kind == "probe")
            seen = Counter(session.exec(probes).all())
        if all(seen[site] >= 5 for site in ("toronto", "amsterdam", "netcup")):
            return
    raise AssertionError(seen)


def test_a_retired_site_is_offered_to_nobody_and_its_work_goes_to_others(centre: Centre) -> None:
    version = centre.mirror(*MANY)
    centre.tick()
    centre.apply_sites("netcup", retired=True)
    centre.work()
    assert _progress(centre, version).complete
    centre.prove()
    centre.apply_sites("amsterdam", retired=True)
    with centre.store.read() as session:
        shard = session.exec(select(Shard).where(Shard.name != "manifest.json")).one()
        _meta, web_seeds, _peers = torrents.torrent_of(session, shard.infohash or "")
    assert web_seeds == ["http://toronto.example/"]
    assert centre.replicas()["amsterdam"] == ["retired"]


def test_a_site_that_comes_back_from_retirement_is_read_again_before_it_counts(
    centre: Centre,
) -> None:
    centre.mirror("a.csv")
    centre.work()
    centre.apply_sites("netcup", retired=True)
    centre.work()
    centre.apply_sites("netcup", retired=False)
    centre.tick()
    assert centre.replicas()["netcup"] == ["pending"]
    centre.work()
    assert centre.replicas()["netcup"] == ["available"]


def test_a_copy_that_nobody_could_read_for_long_stops_counting(centre: Centre) -> None:
    version = centre.mirror("a.csv")
    centre.work()
    centre.advance(400 * DAY)
    for _ in range(3):
        centre.tick()
        centre.announced()
    assert set(_states(centre)) == {"suspect"}
    assert not _progress(centre, version).complete


def test_a_verify_that_was_suspended_waits_for_a_person(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.work()
    centre.advance(91 * DAY)
    for _ in range(10):
        centre.tick()
        for order in centre.orders():
            if order.task == "verify":
                _fail(centre, order, "local", "permission denied")
            else:
                centre.report(order)
        centre.advance(3600)
    given_up = {one.id for one in centre.transfers(kind="verify")}
    centre.advance(2 * DAY)
    centre.work()
    verifies = centre.transfers(kind="verify")
    assert {one.id for one in verifies} == given_up
    assert {one.state for one in verifies} == {"suspended"}
    for one in verifies:
        suspensions.retry(centre.store, one.id)
    centre.work()
    assert set(_states(centre)) == {"available"}


def test_work_finished_after_its_transfer_was_suspended_still_counts(centre: Centre) -> None:
    centre.mirror("a.csv")
    centre.work()
    with centre.store.write() as session:
        shard = session.exec(select(Shard.id).where(Shard.name != "manifest.json")).one()
        copy = select(Replica).where(Replica.site_id == "toronto", Replica.shard_id == shard)
        lost = session.exec(copy).one()
        lost.state = "missing"
        session.get_one(Shard, lost.shard_id).dirty = True
    for _ in range(3):
        centre.tick()
        order = next(one for one in centre.orders() if one.task == "pull")
        centre.advance(11)
    centre.tick()
    assert centre.transfers(kind="copy", target_id="toronto", state="suspended")
    assert centre.report(order).applied
    assert centre.replicas()["toronto"] == ["available"]


def test_an_ingest_that_comes_through_after_it_was_given_to_another_still_counts(
    centre: Centre,
) -> None:
    centre.mirror("a.csv")
    for _ in range(3):
        centre.tick()
        [order] = centre.orders()
        centre.advance(11)
    centre.tick()
    assert centre.report(order).applied
    with centre.store.read() as session:
        assert session.exec(select(Artifact)).one().state == "known"


def test_one_file_that_fits_nowhere_does_not_hold_back_those_after_it(
    centre: Centre, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"x" * 5000)
    for number in range(5):
        (folder / f"z{number}.csv").write_bytes(b"y")
    centre.apply_sites("toronto", "amsterdam", "netcup", capacity=1000)
    version = mirror.mirror_dataset(centre.store, str(folder), dataset="f").version
    centre.tick()
    assert len(centre.transfers(kind="ingest")) == 5
    with centre.store.read() as session:
        assert "bytes free and needs 5,000" in session.get_one(Version, version).reason


def test_no_site_is_given_more_than_it_has_room_for(centre: Centre) -> None:
    centre.settings = CentreSettings(alone_from=1)
    centre.apply_sites("netcup", capacity=2000)
    centre.mirror(*MANY)
    centre.work()
    with centre.store.read() as session:
        sizes = session.exec(
            select(Shard.size)
            .join(Replica, Replica.shard_id == Shard.id)  # type: ignore[arg-type]
            .where(Replica.site_id == "netcup")
        ).all()
    assert 0 < sum(sizes) <= 2000


def test_waiting_ends_with_a_reason_where_no_site_matches(centre: Centre) -> None:
    version = centre.mirror("a.csv", rule=RuleSpec(selector="region=nowhere"))
    centre.tick()
    done = _progress(centre, version)
    assert done.settled
    assert not done.complete


def test_a_list_that_was_edited_is_not_taken_for_the_one_asked_for_before(
    centre: Centre, tmp_path: Path
) -> None:
    listing = tmp_path / "x.txt"
    listing.write_text("https://o.example/a.csv\n")
    first = mirror.mirror_dataset(centre.store, str(listing), dataset="d")
    again = mirror.mirror_dataset(centre.store, str(listing), dataset="d")
    listing.write_text("https://o.example/a.csv\nhttps://o.example/b.csv\n")
    edited = mirror.mirror_dataset(centre.store, str(listing), dataset="d")
    assert (again.version, again.repeated) == (first.version, True)
    assert (edited.artifacts, edited.repeated) == (2, False)


@on_sqlite
@pytest.mark.parametrize(
    "tell",
    [
        lambda item: ItemResult(artifact=item, ok=True),
        lambda item: ItemResult(artifact=item, ok=True, size=5, sha256="b" * 64),
    ],
    ids=["without proof", "against what the list says"],
)
def test_a_worker_is_not_believed(
    centre: Centre, tmp_path: Path, tell: Callable[[str], ItemResult]
) -> None:
    listing = tmp_path / "x.txt"
    listing.write_text(f"https://o.example/a.csv\n  checksum=sha-256={'a' * 64}\n")
    mirror.mirror_dataset(centre.store, str(listing), dataset="d")
    centre.tick()
    [order] = centre.orders()
    centre.report(order, items=(tell(order.items[0].artifact),))
    with centre.store.read() as session:
        artifact = session.exec(select(Artifact)).one()
    assert (artifact.state, artifact.sha256) == ("expected", "a" * 64)


def _states(centre: Centre) -> list[str]:
    return [state for states in centre.replicas().values() for state in states]


def _progress(centre: Centre, version: str) -> progress.Progress:
    with centre.store.read() as session:
        return progress.of(session, version)


def _fail(centre: Centre, order: Order, fault: str, reason: str) -> None:
    items = (
        ItemResult(artifact=one.artifact, ok=False, reason=reason, fault=fault)  # type: ignore[arg-type]
        for one in order.items
    )
    centre.report(order, items=tuple(items))


def _without(silent: str, centre: Centre, rounds: int) -> None:
    """Play every site's part but one's."""
    for _ in range(rounds):
        centre.tick()
        for attempt, site in centre.announced():
            with centre.store.read() as session:
                row = session.exec(select(Transfer).where(Transfer.attempt_id == attempt)).first()
            if site != silent and row is not None and row.state == "announced":
                centre.report(centre.claim(attempt, site))
        centre.advance(11)


def test_a_bundle_whose_site_was_retired_is_hashed_elsewhere(centre: Centre) -> None:
    version = centre.mirror(*MANY)
    seal = None
    while seal is None:
        centre.tick()
        for order in centre.orders():
            if order.shard is None:
                centre.report(order)
            else:
                seal = order
    centre.apply_sites(seal.site, retired="lost")
    centre.work()
    assert _progress(centre, version).complete


def test_a_version_that_cannot_be_decided_is_set_aside_and_the_others_go_on(
    centre: Centre,
) -> None:
    bad = centre.mirror("a.csv", rule=RuleSpec(), key="bad")
    with centre.store.write() as session:
        rule = session.exec(select(Rule)).one()
        rule.selector = "not a selector"
    listing = centre.folder / "good.txt"
    listing.write_text("https://o.example/b.csv\n")
    good = mirror.mirror_dataset(centre.store, str(listing), dataset="good").version
    centre.work()
    assert _progress(centre, good).complete
    with centre.store.read() as session:
        version = session.get_one(Version, bad)
    assert "set aside" in version.reason
    assert version.look_at is not None
