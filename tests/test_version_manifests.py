"""The manifest that every version carries, and how long the centre keeps what it keeps."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlmodel import select

from fleet.blueprint import manifest
from fleet.control import blueprints, kept, manifests, mirror
from fleet.control.blueprints import Blueprint
from fleet.control.rules import RuleSpec
from fleet.messages import ItemResult
from fleet.store.tables import Artifact, Replica, Version
from tests.centre_support import Centre

DAY = 86_400.0


@pytest.fixture(autouse=True)
def _own_home(centre: Centre) -> None:
    centre.settings = centre.settings.model_copy(update={"home": centre.folder / "home"})


def _files(centre: Centre) -> dict[str, Artifact]:
    with centre.store.read() as session:
        return {one.path: one for one in session.exec(select(Artifact)).all()}


def _kept(centre: Centre) -> set[str]:
    folder = kept.place(centre.settings, "")
    return {one.name for one in folder.iterdir()}


def _lost(artifact: str) -> ItemResult:
    return ItemResult(artifact=artifact, ok=False, reason="404", final=True, fault="refused")


def test_a_version_carries_the_manifest_of_exactly_its_files_at_every_site(centre: Centre) -> None:
    centre.mirror("b.csv", "a.csv", "gone.csv")
    centre.tick()
    for order in centre.orders():
        centre.report_but(order, "gone.csv", _lost)
    centre.work()
    files = _files(centre)
    row = files["manifest.json"]
    assert (row.role, row.state, row.media_type) == ("manifest", "known", "application/json")
    read = manifest.parse(kept.place(centre.settings, row.sha256 or "").read_bytes())
    assert {one.path: one.sha256 for one in read.files} == {
        path: files[path].sha256 for path in ("a.csv", "b.csv")
    }
    with centre.store.read() as session:
        copies = session.exec(select(Replica).where(Replica.shard_id == row.shard_id)).all()
    assert {copy.site_id: copy.state for copy in copies} == dict.fromkeys(
        ("toronto", "amsterdam", "netcup"), "available"
    )
    assert [one.shard_id for one in files.values()].count(row.shard_id) == 1


def test_a_manifest_has_a_name_that_no_file_and_no_folder_has(centre: Centre) -> None:
    listing = centre.folder / "named.txt"
    names = ("Manifest.JSON", "manifest2.json/x")
    listing.write_text("".join(f"https://origin.example/{name}\n  out={name}\n" for name in names))
    mirror.mirror_dataset(centre.store, str(listing), dataset="data")
    centre.work()
    assert _files(centre)["manifest3.json"].role == "manifest"


def test_a_manifest_names_no_origin_that_only_its_own_machine_can_reach(centre: Centre) -> None:
    listing = centre.folder / "near.txt"
    hosts = ("127.0.0.1:8000", "localhost", "10.0.0.1", "origin.example")
    listing.write_text("".join(f"http://{host}/{n}.csv\n" for n, host in enumerate(hosts)))
    version = mirror.mirror_dataset(centre.store, str(listing), dataset="data").version
    centre.work()
    with centre.store.read() as session:
        read = manifest.parse(manifests.of(session, session.get_one(Version, version)))
    assert [one.origins for one in read.files] == [(), (), (), ("http://origin.example/3.csv",)]


def test_asked_for_again_after_a_kill_there_is_one_manifest(centre: Centre) -> None:
    version = centre.mirror("a.csv")
    centre.tick()
    for order in centre.orders():
        centre.report(order)
    with centre.store.read() as session:
        data = manifests.of(session, session.get_one(Version, version))
    sha256 = hashlib.sha256(data).hexdigest()

    def write(file: BinaryIO) -> str:
        file.write(data)
        return sha256

    kept.keep(centre.settings, write)  # and then it was killed
    for _ in range(2):
        assert manifests.give(centre.store, centre.settings, version)
    centre.work()
    assert [one.path for one in _files(centre).values() if one.role == "manifest"] == [
        "manifest.json"
    ]
    assert _kept(centre) == {sha256}


def test_a_version_of_too_many_files_goes_without_and_says_so(
    centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "MAX_BYTES", 100)
    version = centre.mirror("a.csv")
    centre.work()
    with centre.store.read() as session:
        row = session.get_one(Version, version)
    assert row.state == "published"
    [note] = [note for note in row.notes if "manifest" in note]
    assert "the manifest of 1 files would have" in note
    assert set(_files(centre)) == {"a.csv"}


def test_the_centre_keeps_a_manifest_until_there_are_as_many_copies_as_there_must_be(
    centre: Centre,
) -> None:
    centre.mirror("a.csv", rule=RuleSpec(copies=4, min=4))
    centre.work()
    centre.advance(2 * DAY)
    centre.tick()
    assert len(_kept(centre)) == 1
    centre.apply_sites("fourth")
    centre.work()
    centre.advance(2 * DAY)
    centre.tick()
    assert _kept(centre) == set()
    assert _files(centre)["manifest.json"].origins == []
    assert _files(centre)["a.csv"].origins != []


def test_a_bundle_is_kept_for_a_day_and_while_a_version_of_it_is_a_draft(centre: Centre) -> None:
    code = centre.folder / "code"
    code.mkdir()
    (code / "main.py").write_text("pass\n")
    bundle = blueprints.keep(centre.settings, Blueprint(code))
    place = kept.place(centre.settings, bundle.artifact.sha256 or "")
    first = _mirror(centre, bundle, "1")
    centre.work()
    second = _mirror(centre, bundle, "2")
    _older(centre, place, 2 * DAY)
    centre.advance(2 * DAY)
    assert not kept.let_go(centre.store, centre.settings, first)
    assert place.is_file()  # the second is a draft
    centre.work()
    _older(centre, place, DAY / 2)
    assert not kept.let_go(centre.store, centre.settings, second)
    assert place.is_file()  # somebody may have bundled the same just now
    _older(centre, place, 2 * DAY)
    assert kept.let_go(centre.store, centre.settings, second)
    assert not place.exists()
    assert [one.origins for one in _files(centre).values() if one.role == "source"] == [[]]


def test_what_was_lost_with_its_folder_is_let_go_of(centre: Centre) -> None:
    version = centre.mirror("a.csv")
    centre.work()
    shutil.rmtree(kept.place(centre.settings, ""))
    assert kept.let_go(centre.store, centre.settings, version)


def _mirror(centre: Centre, bundle: blueprints.Kept, label: str) -> str:
    listing = centre.folder / "bundled.txt"
    listing.write_text("https://origin.example/a.csv\n")
    return mirror.mirror_dataset(
        centre.store, str(listing), dataset="data", label=label, key=label, bundle=bundle
    ).version


def _older(centre: Centre, place: Path, seconds: float) -> None:
    with centre.store.read() as session:
        at = centre.store.now(session).timestamp() - seconds
    os.utime(place, (at, at))
