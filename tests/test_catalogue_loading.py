"""What the catalogue tells of a store: verified copies of published versions, and nothing else."""

import hashlib
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlmodel import col, select

from fleet.catalogue.edition import Edition
from fleet.catalogue.entry import Dataset as Told
from fleet.catalogue.entry import Mirror
from fleet.catalogue.rows import to_items
from fleet.control import catalogue, replicas
from fleet.control.sites import SiteSpec
from fleet.control.sites import apply as apply_sites
from fleet.store import cataloguing
from fleet.store.tables import Dataset, Incident, Publication, Replica, Shard, Site, Version
from tests.catalogue_support import BASE
from tests.centre_support import Centre, content
from tests.conftest import NOON
from tests.redirect_support import redirecting


def told(centre: Centre, name: str = "data") -> Told | None:
    with centre.store.read() as session:
        return catalogue.dataset(session, centre.settings, name)


def mirrors(centre: Centre) -> dict[str, Mirror]:
    dataset = told(centre)
    assert dataset is not None
    return {one.site: one for one in dataset.entries[-1].mirrors}


def published(centre: Centre, *paths: str) -> str:
    version = centre.mirror(*paths)
    centre.work()
    return version


def shards(centre: Centre) -> list[str]:
    """All shards of the only version; the last is its manifest."""
    with centre.store.read() as session:
        return list(session.exec(select(Shard.id).order_by(col(Shard.position))).all())


def test_a_published_version_is_told_with_its_files_torrents_and_mirrors(centre: Centre) -> None:
    published(centre, "é.csv", "b.csv")
    dataset = told(centre)
    assert dataset is not None
    [entry] = dataset.entries
    assert (entry.label, entry.sequence, entry.state) == ("2026-03-01", 1, "published")
    assert entry.published_at == NOON
    data = [one for one in entry.artifacts if one.role == "data"]
    assert [(one.path, one.size, one.sha256) for one in data] == [
        (path, len(content(path)), hashlib.sha256(content(path)).hexdigest())
        for path in ("b.csv", "é.csv")
    ]
    assert [(one.shard, one.offset) for one in data] == [(0, 0), (0, len(content("b.csv")))]
    [manifest] = [one for one in entry.artifacts if one not in data]
    assert (manifest.path, manifest.role, manifest.shard) == ("manifest.json", "manifest", 1)
    shard, _ = entry.shards
    assert shard.torrent.endswith(f"/api/v1/torrents/{shard.infohash}.torrent")
    assert shard.magnet.startswith(f"magnet:?xt=urn:btih:{shard.infohash}&dn=data&xl=")
    assert [one.site for one in entry.mirrors] == ["amsterdam", "netcup", "toronto"]
    assert entry.mirrors[0].verified_at == NOON
    assert entry.mirrors[0].url("é.csv") == ("http://amsterdam.example/data/2026-03-01/%C3%A9.csv")


def test_what_is_no_published_version_is_not_told(centre: Centre) -> None:
    centre.mirror("a.csv")
    assert told(centre) is None
    assert told(centre, "nothing") is None
    with centre.store.read() as session:
        assert cataloguing.datasets(session) == []


def test_versions_are_told_in_the_order_in_which_they_were_published(centre: Centre) -> None:
    first = published(centre, "a.csv")
    centre.mirror("b.csv", key="again")
    centre.work()
    with centre.store.write() as session:
        session.get_one(Version, first).state = "superseded"
    dataset = told(centre)
    assert dataset is not None
    assert [(one.sequence, one.state) for one in dataset.entries] == [
        (1, "superseded"),
        (2, "published"),
    ]
    assert dataset.latest == dataset.entries[1]


def test_a_copy_in_doubt_is_no_mirror(centre: Centre) -> None:
    published(centre, "a.csv")
    with centre.store.write() as session:
        now = centre.store.now(session)
    held = shards(centre)
    with centre.store.write() as session:
        for shard in held:
            replicas.doubt(session, shard, "toronto", "gone", now)
        session.add(Incident(site_id="netcup", kind="judged", reason="it rots", began_at=now))
    centre.advance(1)
    assert set(mirrors(centre)) == {"amsterdam", "netcup"}  # read when its incident began
    with centre.store.write() as session:
        incident = session.exec(select(Incident).where(Incident.site_id == "netcup")).one()
        incident.began_at = centre.store.now(session)
    assert set(mirrors(centre)) == {"amsterdam"}


def test_a_site_that_cannot_be_read_or_is_retired_is_no_mirror(centre: Centre) -> None:
    published(centre, "a.csv")
    with centre.store.write() as session:
        session.get_one(Site, "toronto").read_url = ""
        session.get_one(Site, "netcup").retired = True
    assert set(mirrors(centre)) == {"amsterdam"}
    with centre.store.read() as session:
        assert cataloguing.sites(session) == ["amsterdam"]


def test_a_site_with_a_part_of_a_version_says_which(centre: Centre) -> None:
    centre.settings = centre.settings.model_copy(update={"alone_from": 1})
    published(centre, "a.csv", "b.csv")
    with centre.store.read() as session:
        first = session.exec(select(Shard.id).where(Shard.position == 0)).one()
    with centre.store.write() as session:
        replicas.gone(session, first, "toronto", "dropped")
    assert {site: one.shards for site, one in mirrors(centre).items()} == {
        "amsterdam": (),
        "netcup": (),
        "toronto": (1, 2),
    }


def test_what_was_built_to_last_is_named_before_nodes(centre: Centre) -> None:
    published(centre, "a.csv")
    with centre.store.write() as session:
        session.get_one(Site, "toronto").kind = "object_store"
    assert list(mirrors(centre)) == ["toronto", "amsterdam", "netcup"]


def test_a_record_is_a_mirror_once_anyone_may_read_it(centre: Centre) -> None:
    version, held = published(centre, "a.csv"), shards(centre)
    zenodo = {"id": "zenodo", "kind": "repository", "driver": "zenodo", "store": {}}
    apply_sites(centre.store, (SiteSpec.model_validate(zenodo),))
    with centre.store.write() as session:
        publication = Publication(version_id=version, site_id="zenodo", created_at=NOON)
        session.add(publication)
        for shard in held:
            copy = Replica(shard_id=shard, site_id="zenodo", state="available", verified_at=NOON)
            session.add(copy)
    assert "zenodo" not in mirrors(centre)
    with centre.store.write() as session:
        row = session.exec(select(Publication)).one()
        row.state, row.record, row.whole = "published", "4711", True
    found = mirrors(centre)
    assert next(iter(found)) == "zenodo"
    assert found["zenodo"].url("a.csv") == "https://zenodo.org/records/4711/files/a.csv?download=1"


def test_what_is_of_one_file_has_the_metalink_that_the_redirector_makes(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(centre, "é.csv", "b.csv", "manifest.json.meta4")
    dataset = told(centre)
    assert dataset is not None
    assert [one.metalink for one in dataset.entries[0].shards] == ["", ""]  # a file has that name
    centre.mirror("é.csv", key="2")
    centre.prove()
    dataset = told(centre)
    assert dataset is not None
    metalinks = {one.name: one.metalink for one in dataset.entries[1].shards}
    at = centre.settings.centre_url
    label = dataset.entries[1].label
    assert metalinks == {
        "é.csv": f"{at}/d/data/{label}/%C3%A9.csv.meta4",
        "manifest.json": f"{at}/d/data/{label}/manifest.json.meta4",
    }
    with redirecting(centre, monkeypatch) as api:
        for one in metalinks.values():
            answer = api.get(one.removeprefix(at))
            assert answer.headers["Content-Type"] == "application/metalink4+xml"


def test_a_withdrawn_version_keeps_its_entry_and_nothing_leads_to_its_files(
    centre: Centre,
) -> None:
    version = published(centre, "a.csv")
    with centre.store.write() as session:
        session.get_one(Version, version).state = "withdrawn"
    dataset = told(centre)
    assert dataset is not None
    [entry] = dataset.entries
    assert (entry.state, entry.mirrors, entry.shards) == ("withdrawn", (), ())
    assert dataset.latest is None


def test_what_is_known_of_a_version_is_told_but_no_path_of_the_centre(centre: Centre) -> None:
    version = published(centre, "a.csv")
    dataset = told(centre)
    assert dataset is not None
    assert dataset.entries[0].source == ""
    with centre.store.write() as session:
        row = session.get_one(Version, version)
        row.source, row.doi = "https://origin.example/list.txt", "10.5281/zenodo.1"
        row.licence, row.licence_retrieved_at = "CC0-1.0", datetime(2026, 2, 1, 23, tzinfo=UTC)
        whole = session.get_one(Dataset, "data")
        whole.title, whole.doi = "Roads\tof all", "10.5281/zenodo.0"
    dataset = told(centre)
    assert dataset is not None
    [entry] = dataset.entries
    assert (entry.source, entry.doi) == ("https://origin.example/list.txt", "10.5281/zenodo.1")
    assert (entry.licence, entry.licence_retrieved) == ("CC0-1.0", date(2026, 2, 1))
    assert (dataset.description.title.en, dataset.doi) == ("Roads of all", "10.5281/zenodo.0")
    with centre.store.write() as session:
        session.get_one(Dataset, "data").description = {"title": {"fr": "Routes"}}
    dataset = told(centre)
    assert dataset is not None
    assert (dataset.description.title.en, dataset.description.title.fr) == ("", "Routes")


SOURCES = {
    "https://a.example/roads.zip": "https://a.example/roads.zip",
    "https://a.example/roads.zip?access_token=SECRET#part": "https://a.example/roads.zip",
    "http://93.184.216.34:8080/x": "http://93.184.216.34:8080/x",
    "https://me:secret@a.example/x": "",
    "http://10.0.0.5/x": "",
    "http://[::ffff:10.0.0.5]/x": "",
    "http://[fe80::1]/x": "",
    "http://0x7f.1/x": "",
    "http://2130706433/x": "",
    "http://nas/x": "",
    "http://NAS.local./x": "",
    "http://store.internal/x": "",
    "http://[": "",
    "https://": "",
    "ftp://a.example/x": "",
    "/srv/x": "",
}


def test_of_a_source_nothing_is_told_that_is_not_for_all_to_know(centre: Centre) -> None:
    version = published(centre, "a.csv")
    found = {}
    for source in SOURCES:
        with centre.store.write() as session:
            session.get_one(Version, version).source = source
        dataset = told(centre)
        assert dataset is not None
        found[source] = dataset.entries[0].source
    assert found == SOURCES


def test_a_dataset_that_cannot_be_told_of_stops_no_other(centre: Centre) -> None:
    published(centre, "a.csv")
    with centre.store.write() as session:
        session.add(Dataset(id="bad", created_at=NOON, description={"titel": "x"}))
        session.flush()
        version = Version(dataset_id="bad", label="1", state="published", created_at=NOON)
        version.sequence = 1
        session.add(version)
    with centre.store.read() as session:
        names = cataloguing.datasets(session)
    assert names == ["bad", "data"]
    read = catalogue.datasets(centre.store, centre.settings, [*names, "gone"])
    assert [(name, one is None) for name, one in read] == [("data", False), ("gone", True)]


def test_a_store_becomes_an_edition(centre: Centre, tmp_path: Path) -> None:
    published(centre, "a.csv", "b.csv")
    with centre.store.read() as session:
        names, sites = cataloguing.datasets(session), cataloguing.sites(session)
    edition = Edition(tmp_path / "public", tmp_path / "memory", BASE, sites)
    edition.put(catalogue.datasets(centre.store, centre.settings, names))
    edition.write()
    table = pq.read_table(tmp_path / "public" / "catalogue.parquet")
    [item] = [one for batch in table.to_batches() for one in to_items(batch)]
    place = tmp_path / "public" / "datasets" / "data" / "versions" / "2026-03-01"
    assert json.loads((place / "item.json").read_bytes()) == item
    assert pq.read_table(place / "files.parquet")["path"].to_pylist() == [
        *("a.csv", "b.csv", "manifest.json")
    ]
