"""Whoever writes is killed at each step: readers find one state whole, and the next run ends it."""

import shutil
from pathlib import Path

import pytest

from fleet.catalogue.client import Fetcher, Home, Mirror, Trust, sync
from fleet.catalogue.signing import folder, publishing, rotation
from fleet.catalogue.signing.keys import read_online
from tests.catalogue_kills import killed_at_each_change
from tests.signing_support import LOOPBACK, NOON, ONE, THREE, TWO, Client, Office, files_in

STATES = (ONE, TWO)
pytestmark = pytest.mark.timeout(400)  # each starts some dozens of processes


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def publish(place: Path, keys: Path, files: dict[str, Path]) -> None:
    publishing.publish(place, files, keys, NOON)


def rotate(place: Path, keys: Path, root: list[Path]) -> None:
    rotation.rotate(place, keys, root, NOON, online=True)


def bring(home: Path, place: Path, sha256: str) -> None:
    with Fetcher("DataFleet/test", LOOPBACK) as fetcher:
        sync(Home(home), [Mirror.at(str(place))], Trust(sha256=sha256), NOON, fetcher)


def read(office: Office, name: str, known: Path) -> dict[str, bytes]:
    """What a client finds that knew ``known`` before."""
    client = Client(office, office.folder / name)
    shutil.rmtree(client.root, ignore_errors=True)
    if known.exists():
        shutil.copytree(known, client.root, symlinks=True)
    client.sync(office.place)
    assert client.verify().good
    return client.files


def test_a_killed_publication_leaves_the_old_state_or_the_new_one(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "READ_FOR", -1.0)
    for number in range(6):  # so that there is something to sweep
        office.publish({**ONE, "n": str(number).encode()})
    office.publish(ONE)
    known = Client(office, office.folder / "known")
    known.sync(office.place)
    shutil.copytree(office.place, office.folder / "before")
    kills, seen = 0, set()
    for died in killed_at_each_change(publish, office.place, office.keys_file, office.given(TWO)):
        kills += died
        found = [read(office, "fresh", Path("/none")), read(office, "reader", known.root)]
        assert found[0] == found[1]
        assert found[0] in STATES
        seen.add(STATES.index(found[0]))
        office.publish(TWO)
        left = files_in(office.place)
        assert not [name for name in left if name.endswith(".part")]
        assert len([name for name in left if name.endswith(".snapshot.json")]) == 5
        office.publish(THREE)
        assert read(office, "reader", known.root) == THREE
        shutil.rmtree(office.place)
        shutil.copytree(office.folder / "before", office.place)
    assert kills >= 12
    assert seen == {0, 1}


def test_a_killed_first_publication_leaves_nothing_or_the_first_state(office: Office) -> None:
    shutil.copytree(office.place, office.folder / "before")
    for _ in killed_at_each_change(publish, office.place, office.keys_file, office.given(ONE)):
        if (office.place / "metadata/timestamp.json").exists():
            assert read(office, "fresh", Path("/none")) == ONE
        office.publish(ONE)
        assert read(office, "fresh", Path("/none")) == ONE
        shutil.rmtree(office.place)
        shutil.copytree(office.folder / "before", office.place)


@pytest.mark.slow
def test_a_killed_rotation_leaves_clients_an_answer_and_is_done_again(office: Office) -> None:
    office.publish(ONE)
    known = Client(office, office.folder / "known")
    known.sync(office.place)
    shutil.copytree(office.place, office.folder / "before")
    keys = office.keys_file.read_bytes()
    kills = 0
    for died in killed_at_each_change(rotate, office.place, office.keys_file, office.root_files):
        kills += died
        assert read(office, "fresh", Path("/none")) == ONE
        assert read(office, "reader", known.root) == ONE
        office.rotate(online=True)
        office.publish(TWO)
        assert read(office, "reader", known.root) == TWO
        assert {len(each) for each in read_online(office.keys_file).values()} == {1}
        shutil.rmtree(office.place)
        shutil.copytree(office.folder / "before", office.place)
        office.keys_file.write_bytes(keys)
    assert kills >= 15


def test_a_killed_client_shows_one_state_whole_and_goes_on(office: Office) -> None:
    office.publish(ONE)
    client = Client(office, office.folder / "home")
    client.sync(office.place)
    shutil.copytree(client.root, office.folder / "before", symlinks=True)
    office.publish(TWO)
    kills = 0
    for died in killed_at_each_change(bring, client.root, office.place, office.first.sha256):
        kills += died
        assert client.files in STATES
        client.sync(office.place)
        assert client.files == TWO
        assert client.verify().good
        assert len(list((client.root / "states").iterdir())) == 2
        shutil.rmtree(client.root)
        shutil.copytree(office.folder / "before", client.root, symlinks=True)
    assert kills >= 12


@pytest.mark.slow
def test_a_client_killed_as_it_begins_goes_on(office: Office) -> None:
    office.publish(ONE)
    client = Client(office, office.folder / "home")
    for _ in killed_at_each_change(bring, client.root, office.place, office.first.sha256):
        assert not client.home.current.exists() or client.files == ONE
        client.sync(office.place)
        assert client.verify().good
        shutil.rmtree(client.root)
