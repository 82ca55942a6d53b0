"""Copies in items and records as sources, as mirrors, as what probes read and torrents name."""

from typing import Any

import pytest
from pydantic import ValidationError
from sqlmodel import col, select

from fleet.control import probes, samples, torrents, views, webseeds, why
from fleet.control.rules import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.control.sites import apply as apply_sites
from fleet.messages import Order
from fleet.planning.states import PublicationState, ReplicaState
from fleet.store.tables import Publication, Replica, Shard, Site, Version
from fleet.torrent.adoption import Move, own_files
from fleet.torrent.metainfo import Metainfo, torrent_bytes
from fleet.torrent.parsed import parse
from tests.centre_support import Centre

ARCHIVE: dict[str, Any] = {
    "id": "ia",
    "kind": "archive",
    "driver": "internet-archive",
    "store": {"prefix": "dfc"},
}
ZENODO: dict[str, Any] = {"id": "zenodo", "kind": "repository", "driver": "zenodo", "store": {}}
RECORD = "https://zenodo.org/records/4711/files"


def _apply(centre: Centre, spec: dict[str, Any]) -> None:
    apply_sites(centre.store, (SiteSpec.model_validate(spec),))


@pytest.fixture
def archived(centre: Centre) -> Centre:
    """A centre with a trusted node, which writes to the Archive."""
    centre.apply_sites("toronto", trusted=True)
    _apply(centre, ARCHIVE)
    keys = centre.folder / "keys.yaml"
    keys.write_text("ia: {key_id: AKID, secret: hush}")
    keys.chmod(0o600)
    centre.settings = centre.settings.model_copy(update={"keys_file": keys})
    return centre


def _publish(centre: Centre, version: str, **changes: Any) -> None:
    """Have a version published at the repository, and all its shards there."""
    values = {"record": "4711", "state": PublicationState.PUBLISHED, "whole": True, **changes}
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(Publication(version_id=version, site_id="zenodo", created_at=now, **values))
        for shard in session.exec(select(Shard).where(Shard.version_id == version)).all():
            session.add(
                Replica(
                    shard_id=shard.id,
                    site_id="zenodo",
                    state=ReplicaState.AVAILABLE,
                    verified_at=now,
                    arrived_at=now,
                )
            )


def _mirrors(centre: Centre) -> dict[str, str]:
    """Where the dataset's page says that its file is read, by site."""
    with centre.store.read() as session:
        files = views.dataset(session, "data", centre.store.now(session)).files
    return {place.site: place.url for place in files[0].places}


def _copied(centre: Centre, *, to: str) -> Order:
    """The order that brings the dataset to one more site."""
    centre.apply_sites(to)
    centre.tick()
    [order] = [one for one in centre.orders() if one.site == to and one.task == "pull"]
    return order


def _sources(order: Order) -> dict[str | None, str]:
    return {one.site: one.url for one in order.items[0].sources}


def _web_seeds(centre: Centre) -> list[str]:
    with centre.store.read() as session:
        data = select(Shard.infohash).where(Shard.name != "manifest.json")
        infohash = session.exec(data).one() or ""
        return list(parse(torrents.torrent_file(session, infohash)).web_seeds)


def _why(centre: Centre, site: str) -> str:
    with centre.store.read() as session:
        replica = session.exec(
            select(Replica)
            .join(Shard, col(Shard.id) == col(Replica.shard_id))
            .where(Replica.site_id == site, Shard.name != "manifest.json")
        ).one()
        causes = why.explain(session, replica.id, centre.store.now(session)).causes
    [found] = [one for one in causes if one.thing == f"web seed at {site}"]
    return f"{found.state}: {found.reason}"


EVERYWHERE = RuleSpec(copies=None, selector="")


def test_an_item_is_a_source_and_a_mirror_at_its_own_address(archived: Centre) -> None:
    archived.mirror("a.csv", rule=EVERYWHERE)
    archived.work()
    assert archived.replicas()["ia"] == ["available"]
    with archived.store.read() as session:
        label = session.exec(select(Version.label)).one()
    url = f"https://archive.org/download/dfc_data_{label}/a.csv"
    assert _mirrors(archived)["ia"] == url
    assert _sources(_copied(archived, to="montreal"))["ia"] == url


def test_what_was_written_to_an_item_is_probed_there_soon(archived: Centre) -> None:
    archived.mirror("a.csv", rule=EVERYWHERE)
    archived.work()
    archived.advance(5)
    archived.tick()
    read = {
        source.site: source.url
        for order in archived.orders()
        for item in order.items
        if item.path.endswith("/a.csv")
        for source in item.sources
    }
    assert read["ia"] == _mirrors(archived)["ia"]


def test_the_lone_file_of_a_torrent_has_a_web_seed_in_its_item(archived: Centre) -> None:
    archived.mirror("a.csv", rule=EVERYWHERE)
    archived.prove()
    assert _mirrors(archived)["ia"] in _web_seeds(archived)
    assert _why(archived, "ia").startswith("listed: ")


def test_several_files_have_none_since_an_item_has_other_folders(archived: Centre) -> None:
    archived.mirror("a.csv", "b.csv", rule=EVERYWHERE)
    archived.prove()
    assert len(_web_seeds(archived)) == 3  # those of the nodes
    assert not any("archive.org" in url for url in _web_seeds(archived))
    assert "not listed: BEP 19 names several files" in _why(archived, "ia")


@pytest.mark.parametrize(
    ("files", "url"),
    [
        (("other.csv",), "https://archive.org/download/dfc_data_v1/raw/other.csv"),
        (("raw/a.csv", "raw/b.csv"), None),
    ],
)
def test_a_torrent_of_others_has_a_web_seed_in_an_item_if_it_is_a_lone_file(
    files: tuple[str, ...], url: str | None
) -> None:
    sizes = tuple((name, 5) for name in files)
    made = Metainfo("other.csv" if url else "data", sizes, 16384, bytes(20))
    torrent = parse(torrent_bytes(made))
    own = own_files(torrent)
    move = Move("other.csv", "data/v1/raw/other.csv") if url else Move("data/raw", "data/v1/raw")
    site = Site(id="ia", kind="archive", driver="internet-archive", store=ARCHIVE["store"])
    site.read_url = "https://archive.org/download"
    assert webseeds.alias_address(site, torrent, own, move) == url


def test_a_published_record_is_a_source_and_a_mirror_and_no_web_seed(centre: Centre) -> None:
    _apply(centre, ZENODO)
    version = centre.mirror("a.csv")
    centre.work()
    _publish(centre, version)
    url = f"{RECORD}/a.csv?download=1"
    assert _mirrors(centre)["zenodo"] == url
    assert _sources(_copied(centre, to="montreal"))["zenodo"] == url
    assert not any("zenodo" in one for one in _web_seeds(centre))
    assert "not listed: each range of it would count" in _why(centre, "zenodo")


def test_a_published_record_is_sampled_by_probes(centre: Centre) -> None:
    _apply(centre, ZENODO)
    version = centre.mirror("a.csv")
    centre.work()
    _publish(centre, version)
    with centre.store.write() as session:
        probes.ensure(session, "zenodo", centre.store.now(session))
        assert probes.of(session, "zenodo") is not None
        items = samples.choose(session, session.get_one(Site, "zenodo"))
        assert [one.url for item in items for one in item.sources] == [
            f"{RECORD}/{name}?download=1" for name in ("a.csv", "manifest.json")
        ]


@pytest.mark.parametrize(
    "changes", [{"state": PublicationState.CLOSING}, {"whole": False}, {"whole": None}]
)
def test_a_record_without_the_data_or_not_yet_published_is_read_by_nobody(
    centre: Centre, changes: dict[str, Any]
) -> None:
    _apply(centre, ZENODO)
    version = centre.mirror("a.csv")
    centre.work()
    _publish(centre, version, **changes)
    assert "zenodo" not in _mirrors(centre)
    assert "zenodo" not in _sources(_copied(centre, to="montreal"))


@pytest.mark.parametrize("spec", [ARCHIVE, ZENODO], ids=["archive", "zenodo"])
def test_where_its_store_says_how_a_site_is_read_nothing_else_may(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="is read where its `store` says: leave `read_url`"):
        SiteSpec.model_validate({**spec, "read_url": "https://elsewhere.example"})
