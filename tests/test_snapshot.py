"""What the redirector knows: all that is public, as of the last time that it read what changed."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete
from sqlmodel import Session, col, select

from fleet.control import replicas, sites
from fleet.control.sites import SiteSpec
from fleet.control.snapshot import Snapshot
from fleet.planning.redirect import Asker
from fleet.store import offers
from fleet.store.database import Store
from fleet.store.tables import (
    Artifact,
    Dataset,
    DatasetAlias,
    Incident,
    Publication,
    Replica,
    Shard,
    Site,
    Version,
    VersionChange,
)
from tests.centre_support import Centre
from tests.databases import lacking
from tests.holdings_support import doubt, hold
from tests.redirect_support import label_of, shard_of

SITES = {"toronto", "amsterdam", "netcup"}
ARCHIVE = {
    "id": "ia",
    "kind": "archive",
    "driver": "internet-archive",
    "store": {"prefix": "dfc"},
}
ZENODO = {"id": "zenodo", "kind": "repository", "driver": "zenodo", "store": {}}
Act = Callable[[Session], None]


@pytest.fixture
def proved(centre: Centre) -> Centre:
    """A centre whose three sites hold a bundle, and have been seen to serve it."""
    centre.mirror("a.csv", "%C3%A9%20b.csv")
    centre.prove()
    return centre


def _read(store: Store) -> Snapshot:
    snapshot = Snapshot()
    snapshot.refresh(store)
    return snapshot


def _used(snapshot: Snapshot, dataset: str, label: str, path: str) -> set[str]:
    """The sites that a file is read at."""
    edition = snapshot.edition(dataset, label)
    found = edition.find(path) if edition else None
    assert found is not None
    return {one.site for one in snapshot.standing.rank(found, Asker()).used}


def _artifact(store: Store, path: str) -> Artifact:
    with store.read() as session:
        return session.exec(select(Artifact).where(Artifact.path == path)).one()


def test_a_file_is_known_with_all_that_is_told_of_it(proved: Centre) -> None:
    snapshot, row = _read(proved.store), _artifact(proved.store, "é b.csv")
    edition = snapshot.edition("data", label_of(proved))
    assert edition is not None
    assert edition is snapshot.edition("data", "latest")
    found = edition.find("é b.csv")
    assert found is not None
    with proved.store.read() as session:
        shard = shard_of(session)
    assert (found.path, found.size, found.sha256.hex()) == ("é b.csv", row.size, row.sha256)
    assert found.infohash == shard.infohash
    assert _used(snapshot, "data", "latest", "é b.csv") == SITES
    assert edition.find("b.csv") is None


def test_nothing_is_known_of_a_draft_and_all_once_it_is_published(centre: Centre) -> None:
    version = centre.mirror("a.csv")
    centre.tick()
    snapshot = _read(centre.store)
    assert snapshot.complete
    assert not snapshot.knows("data")
    centre.prove()
    snapshot.refresh(centre.store)
    assert _used(snapshot, "data", "latest", "a.csv") == SITES
    with centre.store.read() as session:
        assert session.get_one(Version, version).state == "published"


def test_items_and_records_are_read_at_addresses_of_their_own(proved: Centre) -> None:
    label = label_of(proved)
    sites.apply(proved.store, tuple(SiteSpec.model_validate(one) for one in (ARCHIVE, ZENODO)))
    _put_copies(proved, "ia", "zenodo")
    snapshot = _read(proved.store)
    assert _used(snapshot, "data", label, "é b.csv") == SITES | {"ia"}  # no record is there yet
    with proved.store.write() as session:
        version, now = session.exec(select(Version)).one(), proved.store.now(session)
        record = {"record": "4711", "state": "published", "whole": True}
        session.add(Publication(version_id=version.id, site_id="zenodo", created_at=now, **record))
        version.doi = "10.5281/zenodo.4711"
    snapshot.refresh(proved.store)
    edition = snapshot.edition("data", label)
    found = edition.find("é b.csv") if edition else None
    assert found is not None
    assert _used(snapshot, "data", label, "é b.csv") == SITES | {"ia", "zenodo"}
    urls = [snapshot.standing.url(found, site) for site in ("ia", "zenodo")]
    assert urls == [
        f"https://archive.org/download/dfc_data_{label}/%C3%A9%20b.csv",
        "https://zenodo.org/records/4711/files/%C3%A9%20b.csv?download=1",
    ]


def test_a_doi_of_the_whole_dataset_is_read_for_each_of_its_versions(proved: Centre) -> None:
    snapshot = _read(proved.store)
    with proved.store.write() as session:
        session.get_one(Dataset, "data").doi = "10.5281/zenodo.4710"
    snapshot.refresh(proved.store)
    edition = snapshot.edition("data", label_of(proved))
    assert edition is not None
    assert (edition.doi, edition.concept) == ("", "10.5281/zenodo.4710")


def _put_copies(centre: Centre, *at: str) -> None:
    """Have the one shard at more sites, verified and seen to be served."""
    with centre.store.write() as session:
        shard, now = shard_of(session), centre.store.now(session)
        for site in at:
            times = {"verified_at": now, "arrived_at": now, "proved_at": now}
            session.add(Replica(shard_id=shard.id, site_id=site, state="available", **times))


def _doubted(session: Session) -> None:
    shard, now = shard_of(session).id, session.exec(select(Version)).one().created_at
    replicas.doubt(session, shard, "toronto", "wrong bytes", now)


def _unproved(session: Session) -> None:
    for row in session.exec(select(Replica).where(Replica.site_id == "toronto")).all():
        row.proved_at = None


def _at_fault(session: Session) -> None:
    moment = session.exec(select(Version)).one().created_at
    session.add(Incident(site_id="toronto", kind="probe", reason="it is away", began_at=moment))


def _not_read(session: Session) -> None:
    session.get_one(Site, "toronto").read_url = ""


def _retired(session: Session) -> None:
    session.get_one(Site, "toronto").retired = True


@pytest.mark.parametrize("act", [_doubted, _unproved, _at_fault, _not_read, _retired])
def test_what_takes_a_copy_out_of_rotation_does_so_at_the_next_refresh(
    proved: Centre, act: Act
) -> None:
    snapshot = _read(proved.store)
    assert "toronto" in _used(snapshot, "data", "latest", "a.csv")
    with proved.store.write() as session:
        act(session)
    snapshot.refresh(proved.store)
    assert _used(snapshot, "data", "latest", "a.csv") == SITES - {"toronto"}


def test_a_change_that_came_to_nothing_is_none(proved: Centre) -> None:
    snapshot = _read(proved.store)
    with proved.store.write() as session:
        _doubted(session)
        session.flush()
        session.rollback()
    snapshot.refresh(proved.store)
    assert _used(snapshot, "data", "latest", "a.csv") == SITES


def test_of_many_shards_only_those_that_changed_are_read(centre: Centre) -> None:
    shards = hold(centre, 40, sorted(SITES))
    _prove_all(centre)
    with centre.store.write() as session:
        offers.fold(session)
    snapshot = _read(centre.store)
    before = snapshot.edition("held", "1")
    snapshot.refresh(centre.store)
    assert snapshot.edition("held", "1") is before
    doubt(centre, "toronto", [*shards[7:9], shards[20]])
    with centre.store.write() as session:  # of what nobody noted nothing is read
        session.exec(delete(VersionChange).where(col(VersionChange.shard_id) == shards[20]))
    snapshot.refresh(centre.store)
    for number in (6, 7, 8, 9, 20):
        wanted = SITES - {"toronto"} if number in (7, 8) else SITES
        assert _used(snapshot, "held", "1", f"{number:05}.csv") == wanted
    after = snapshot.edition("held", "1")
    assert after is not None
    assert before is not None
    assert after.files is before.files


def test_changes_that_were_added_up_meanwhile_are_not_lost(centre: Centre) -> None:
    shards = hold(centre, 40, sorted(SITES))
    _prove_all(centre)
    snapshot = _read(centre.store)
    doubt(centre, "toronto", shards[:3])
    with centre.store.write() as session:
        before = offers.changes(session)
        offers.fold(session)
        assert offers.changes(session) == before
        assert len(session.exec(select(VersionChange)).all()) == 1
    doubt(centre, "netcup", shards[2:4])
    snapshot.refresh(centre.store)
    used = [_used(snapshot, "held", "1", f"{number:05}.csv") for number in range(5)]
    assert used == [
        SITES - {"toronto"},
        SITES - {"toronto"},
        {"amsterdam"},
        SITES - {"netcup"},
        SITES,
    ]


def test_the_scheduler_adds_changes_up_once_they_are_many(centre: Centre) -> None:
    hold(centre, 250, sorted(SITES))
    centre.tick()
    with centre.store.read() as session:
        assert len(session.exec(select(VersionChange)).all()) == 1


def test_while_the_database_fails_what_was_known_stays_and_then_all_is_read(
    proved: Centre,
) -> None:
    snapshot = _read(proved.store)
    before = snapshot.at
    proved.advance(60)
    with lacking(proved.store, "replica"):
        with proved.store.write() as session:
            session.exec(select(Version)).one().doi = "10.5281/zenodo.1"
        with pytest.raises(Exception, match="replica"):
            snapshot.refresh(proved.store)
    assert snapshot.at == before
    assert _used(snapshot, "data", "latest", "a.csv") == SITES
    snapshot.refresh(proved.store)
    edition = snapshot.edition("data", "latest")
    assert edition is not None
    assert edition.doi == "10.5281/zenodo.1"
    assert snapshot.at == before + timedelta(seconds=60) if before else False


def test_the_latest_is_the_newest_that_is_published_and_the_others_stay(centre: Centre) -> None:
    for day in (1, 2):
        centre.mirror("a.csv", key=str(day))
        centre.prove()
    snapshot = _read(centre.store)
    with centre.store.read() as session:
        old, new = session.exec(select(Version.label).order_by(col(Version.sequence))).all()
    latest = snapshot.edition("data", "latest")
    assert latest is not None
    assert latest.label == new
    assert _used(snapshot, "data", old, "a.csv") == SITES


def test_of_a_version_that_is_withdrawn_no_file_is_left(proved: Centre) -> None:
    snapshot, label = _read(proved.store), label_of(proved)
    with proved.store.write() as session:
        session.exec(select(Version)).one().state = "withdrawn"
    snapshot.refresh(proved.store)
    edition = snapshot.edition("data", label)
    assert edition is not None
    assert (edition.state, edition.find("a.csv")) == ("withdrawn", None)
    assert snapshot.edition("data", "latest") is None
    assert snapshot.owner("a.csv") == ""
    with proved.store.write() as session:
        _doubted(session)  # what becomes of its copies is nobody's business any more
    snapshot.refresh(proved.store)
    assert snapshot.edition("data", label) is not None


def test_old_names_of_datasets_are_known(proved: Centre) -> None:
    with proved.store.write() as session:
        session.add(DatasetAlias(alias="before", dataset_id="data"))
    assert _read(proved.store).renamed("before") == "data"


def test_bare_names_are_those_of_data_files_right_in_a_version_or_its_processed_folder(
    centre: Centre,
) -> None:
    _publish(centre, "one", 1, ["a.csv", "processed/b.csv", "archive/c.csv", "processed/x/d.csv"])
    _publish(centre, "two", 1, ["e.csv", "processed/e.csv"])
    _publish(centre, "three", 1, ["manifest.json"], role="manifest")
    snapshot = _read(centre.store)
    owners = {name: snapshot.owner(name) for name in ("a.csv", "b.csv", "c.csv", "d.csv", "e.csv")}
    assert owners == {"a.csv": "one", "b.csv": "one", "c.csv": "", "d.csv": "", "e.csv": "two"}
    assert snapshot.owner("manifest.json") == ""
    paths = {}
    for name in ("a.csv", "b.csv", "e.csv"):
        edition = snapshot.edition(snapshot.owner(name), "latest")
        found = edition.bare(name) if edition else None
        paths[name] = found.path if found else ""
    assert paths == {"a.csv": "a.csv", "b.csv": "processed/b.csv", "e.csv": "processed/e.csv"}


def test_of_two_datasets_the_one_that_has_had_a_bare_name_for_longer_keeps_it(
    centre: Centre,
) -> None:
    _publish(centre, "younger", 2, ["a.csv"])
    _publish(centre, "older", 1, ["a.csv"])
    snapshot = _read(centre.store)
    assert snapshot.owner("a.csv") == "older"
    _publish(centre, "older", 3, ["a.csv", "b.csv"])
    snapshot.refresh(centre.store)
    assert snapshot.owner("a.csv") == "older"
    _publish(centre, "older", 4, ["b.csv"])
    snapshot.refresh(centre.store)
    assert snapshot.owner("a.csv") == "younger"
    _publish(centre, "older", 5, ["a.csv"])
    snapshot.refresh(centre.store)
    assert snapshot.owner("a.csv") == "younger"


def _publish(
    centre: Centre, dataset: str, day: int, paths: list[str], *, role: str = "data"
) -> None:
    """Publish a version, in whose shard are these files, on a day of the month."""
    with centre.store.write() as session:
        now = centre.store.now(session) + timedelta(days=day)
        session.merge(Dataset(id=dataset, created_at=now))
        session.flush()
        for other in session.exec(select(Version).where(Version.dataset_id == dataset)).all():
            other.state = "superseded"
        version = Version(
            dataset_id=dataset,
            label=str(day),
            state="published",
            created_at=now,
            published_at=now,
            sequence=day,
        )
        session.add(version)
        session.flush()
        shard = Shard(
            version_id=version.id, position=0, size=1, files=len(paths), piece_length=2**18
        )
        session.add(shard)
        session.flush()
        for path in paths:
            known = {"state": "known", "size": 1, "sha256": "00" * 32, "role": role}
            session.add(
                Artifact(version_id=version.id, path=path, shard_id=shard.id, offset=0, **known)
            )


def _prove_all(centre: Centre) -> None:
    with centre.store.write() as session:
        for row in session.exec(select(Replica)).all():
            row.proved_at, row.proved_by = row.verified_at, "netcup"
