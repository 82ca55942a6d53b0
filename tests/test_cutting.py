"""Cutting a draft into shards that torrents can be made of, whatever its files are."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import select

from fleet.control import blobs, drafts, progress, seeds, suspensions, torrents, views
from fleet.control.errors import RefusedError
from fleet.messages import BlobRef, ItemResult
from fleet.settings import CentreSettings
from fleet.store.tables import Artifact, Shard, Site, Version
from tests import centre_support
from tests.centre_support import MOMENT, Centre

LONG = "é" * 120 + ".csv"  # 244 bytes: file systems take it, torrents do not
NAMES = [f"{number:02}.csv" for number in range(40)]


def _settings(**changes: int) -> CentreSettings:
    return CentreSettings(lease_seconds=10, retry_seconds=5, max_attempts=3, **changes)


def _version(centre: Centre, version: str) -> Version:
    with centre.store.read() as session:
        return session.get_one(Version, version)


def _artifacts(centre: Centre) -> dict[str, Artifact]:
    with centre.store.read() as session:
        return {one.path: one for one in session.exec(select(Artifact)).all()}


def _shards(centre: Centre) -> list[Shard]:
    with centre.store.read() as session:
        return list(session.exec(select(Shard).order_by(Shard.position)).all())


def _empty(monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
    content: Callable[[str], bytes] = centre_support.content
    monkeypatch.setattr(
        centre_support, "content", lambda path: b"" if path in paths else content(path)
    )


def _refused(artifact: str) -> ItemResult:
    return ItemResult(artifact=artifact, ok=False, reason="404", final=True, fault="refused")


def test_an_empty_file_joins_a_large_one_where_nothing_else_is(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre.settings = _settings(alone_from=100)
    _empty(monkeypatch, "_SUCCESS")
    version = centre.mirror("big.csv", "_SUCCESS", "bigger.csv")
    centre.work()
    assert _version(centre, version).state == "published"
    assert [(one.files, one.size, one.name) for one in _shards(centre)] == [
        (2, len(centre_support.content("big.csv")), "data"),
        (1, len(centre_support.content("bigger.csv")), "bigger.csv"),
        (1, _artifacts(centre)["manifest.json"].size, "manifest.json"),
    ]
    with centre.store.read() as session:
        assert progress.of(session, version).complete


def test_a_version_of_empty_files_alone_says_why_there_is_no_torrent_of_it(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    _empty(monkeypatch, "a", "b")
    version = centre.mirror("a", "b")
    centre.work()
    assert {(one.state, one.reason) for one in _artifacts(centre).values()} == {
        ("excluded", "an empty file cannot be put into a torrent by itself")
    }
    assert _version(centre, version).reason == "none of its files could be had"
    assert _shards(centre) == []


@pytest.mark.parametrize("alone_from", [1, 10_000_000])
def test_a_name_that_no_torrent_can_hold_leaves_out_that_file_alone(
    centre: Centre, alone_from: int
) -> None:
    centre.settings = _settings(alone_from=alone_from)
    version = centre.mirror("a.csv", "b.csv", "c.csv")
    _rename(centre, "b.csv", LONG)
    centre.work()
    bad = _artifacts(centre)[LONG]
    assert (bad.state, bad.shard_id) == ("excluded", None)
    assert "longer than 240 bytes" in bad.reason
    assert _version(centre, version).reason == "published without 1 files"


def test_an_outcome_that_seals_nothing_is_answered_with_the_problem(centre: Centre) -> None:
    centre.mirror("a.csv", "b.csv")
    centre.describe()
    centre.tick()
    [order] = centre.orders()
    short = hashlib.sha256(b"short").hexdigest()
    blobs.keep(centre.store, short, b"short")
    verdict = centre.report(order, pieces=BlobRef(sha256=short, size=5))
    assert "wants 20 bytes of piece hashes" in verdict.reason
    shard, _manifest = _shards(centre)
    assert (shard.pieces, shard.infohash, shard.name) == (None, None, "")


def test_an_ingest_is_not_tried_again_once_its_version_is_being_cut(centre: Centre) -> None:
    version = centre.mirror(*NAMES)
    while "manifest.json" not in _artifacts(centre):
        centre.tick()
        told = [(one.attempt_id or "", one.site_id) for one in centre.wakeups()]
        for order in [centre.claim(*one) for one in told]:
            centre.report_but(order, NAMES[0], _refused)
    [transfer] = centre.transfers(kind="ingest", state="suspended")
    with pytest.raises(RefusedError, match="being cut into shards without these files"):
        suspensions.retry(centre.store, transfer.id)
    centre.work()
    assert _version(centre, version).reason == "published without 1 files"
    with pytest.raises(RefusedError, match="published without these files"):
        suspensions.retry(centre.store, transfer.id)


def test_nothing_is_cut_while_a_file_is_tried_again(centre: Centre) -> None:
    version = centre.mirror(*NAMES)
    while len(centre.transfers(kind="ingest", state="suspended")) == 0:
        drafts.step(centre.store, centre.settings)
        centre.dispatch()
        for order in centre.orders():
            centre.report_but(order, NAMES[0], _refused)
    [transfer] = centre.transfers(kind="ingest", state="suspended")
    suspensions.retry(centre.store, transfer.id)
    while drafts.step(centre.store, centre.settings):
        pass
    assert _shards(centre) == []
    centre.work()
    assert _version(centre, version).reason == ""
    assert all(one.shard_id for one in _artifacts(centre).values())


def test_a_version_cut_by_halves_under_other_settings_has_every_file_in_one_shard(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafts, "_MOST", timedelta(0))
    centre.settings = _settings(bundle_files=3)
    version = centre.mirror(*NAMES)
    centre.describe()
    assert _shards(centre) == []
    for made in (1, 2):
        while len(_shards(centre)) < made:
            drafts.step(centre.store, centre.settings)
        assert len(_shards(centre)) == made
    centre.settings = _settings(bundle_files=20)
    centre.work(rounds=60)
    assert _version(centre, version).state == "published"
    assert [one.files for one in _shards(centre)] == [3, 3, 20, 14, 1]
    assert [one.position for one in _shards(centre)] == [0, 1, 2, 3, 4]
    for shard in _shards(centre):
        inside = sorted(
            (one for one in _artifacts(centre).values() if one.shard_id == shard.id),
            key=lambda one: one.path,
        )
        sizes = [one.size or 0 for one in inside]
        assert [one.offset for one in inside] == [sum(sizes[:at]) for at in range(len(sizes))]
        assert sum(sizes) == shard.size


def test_a_site_that_was_retired_before_its_files_were_cut_is_left_no_copies(
    centre: Centre,
) -> None:
    centre.settings = _settings(alone_from=1)
    version = centre.mirror(*NAMES)
    drafts.step(centre.store, centre.settings)
    centre.dispatch()
    orders = centre.orders()
    for order in orders:
        if order.site == "toronto":
            centre.report(order)
    centre.apply_sites("toronto", retired=True)
    for order in orders:
        if order.site != "toronto":
            centre.report(order)
    centre.work()
    assert _version(centre, version).state == "published"
    assert {site: set(found) for site, found in centre.replicas().items()} == {
        "amsterdam": {"available"},
        "netcup": {"available"},
    }
    assert centre.transfers(kind="probe", target_id="toronto") == []


def test_a_file_that_two_versions_hold_is_one_torrent_with_the_copies_of_both(
    centre: Centre,
) -> None:
    centre.settings = _settings(alone_from=1)
    centre.mirror("a.csv", key="1")
    centre.work()
    before, [old] = seeds.desired(centre.store, "toronto"), centre.seeds("toronto")
    centre.advance(1)
    newer = centre.mirror("a.csv", key="2")
    centre.prove()
    [seed] = centre.seeds("toronto")
    label = _version(centre, newer).label
    assert (seed.infohash, seed.folder) == (old.infohash, f"data/{label}")
    assert seeds.desired(centre.store, "toronto").revision != before.revision
    with centre.store.read() as session:
        _meta, web_seeds, _peers = torrents.torrent_of(session, seed.infohash)
    assert len(web_seeds) == 6
    assert {one for one in web_seeds if "toronto" in one} == {
        f"http://toronto.example/{old.folder}/a.csv",
        f"http://toronto.example/data/{label}/a.csv",
    }


def test_a_retired_site_is_named_nowhere(centre: Centre) -> None:
    centre.apply_sites("netcup", peer="netcup.example:6881")
    centre.mirror("a.csv")
    centre.prove()
    [seed] = centre.seeds("toronto")
    with centre.store.write() as session:
        session.get_one(Site, "netcup").retired = True
    with centre.store.read() as session:
        _meta, web_seeds, peers = torrents.torrent_of(session, seed.infohash)
        view = views.dataset(session, "data", MOMENT)
    assert (len(web_seeds), peers) == (2, [])
    assert [one.site for one in view.copies] == ["amsterdam", "toronto"]
    assert [place.site for one in view.files for place in one.places].count("netcup") == 0


def test_people_are_shown_what_is_published_with_a_newer_draft_beside_it(centre: Centre) -> None:
    first = centre.mirror("a.csv", key="1")
    centre.work()
    with centre.store.read() as session:
        assert views.dataset(session, "data", MOMENT).draft == ""
    centre.advance(1)
    second = centre.mirror("b.csv", key="2")
    centre.tick()
    with centre.store.read() as session:
        view = views.dataset(session, "data", MOMENT)
        [line] = views.datasets(session)
    draft = _version(centre, second)
    assert (view.version, view.progress.state) == (_version(centre, first).label, "published")
    assert [one.name for one in view.torrents] == ["a.csv", "manifest.json"]
    assert len(view.copies) == 3
    assert view.draft == line.draft == f"{draft.label}: {draft.reason}"
    assert draft.reason


def _rename(centre: Centre, path: str, name: str) -> None:
    """Give a file a name that no importer lets in."""
    with centre.store.write() as session:
        session.exec(select(Artifact).where(Artifact.path == path)).one().path = name
