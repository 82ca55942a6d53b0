"""Keys: made once, kept from others, replaced without a moment in which clients are lost."""

import threading
from pathlib import Path

import pytest

from fleet.catalogue.signing import rotation
from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.signing.keys import ONLINE, OnlineKeys, read_online
from tests.signing_support import ONE, THREE, TWO, Client, Office, files_in


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, root_keys=3, threshold=2)


@pytest.fixture
def client(office: Office, tmp_path: Path) -> Client:
    office.publish(ONE)
    made = Client(office, tmp_path / "home")
    made.sync(office.place)
    return made


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_private_keys_are_for_their_owner_alone_and_in_no_file_that_mirrors_copy(
    office: Office,
) -> None:
    office.publish(ONE)
    assert {mode(path) for path in (office.keys_file, *office.root_files)} == {0o600}
    assert all(b"PRIVATE" not in body for body in files_in(office.place).values())


def test_each_role_has_a_key_of_its_own(office: Office) -> None:
    (root,) = rotation.roots(office.place)
    held = [key for keys in root.keys.values() for key in keys]
    assert len(set(held)) == 6
    assert (root.threshold, len(root.keys["root"])) == (2, 3)


def test_keys_are_never_made_over_others(office: Office, tmp_path: Path) -> None:
    before = files_in(tmp_path)
    with pytest.raises(SigningError, match="has a root"):
        rotation.init(office.place, tmp_path / "k", [tmp_path / "r"], 1, office.now)
    elsewhere = tmp_path / "elsewhere"
    with pytest.raises(SigningError, match=r"keys\.json is there already"):
        rotation.init(elsewhere, office.keys_file, [tmp_path / "r"], 1, office.now)
    with pytest.raises(SigningError, match=r"root-0\.pem is there already"):
        rotation.init(elsewhere, tmp_path / "k", office.root_files, 1, office.now)
    after = files_in(tmp_path)
    assert {name: after[name] for name in before} == before
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize(("threshold", "keys"), [(0, 1), (2, 1), (1, 0)])
def test_a_threshold_that_cannot_be_met_is_refused(
    tmp_path: Path, office: Office, threshold: int, keys: int
) -> None:
    paths = [tmp_path / f"new-{number}" for number in range(keys)]
    with pytest.raises(SigningError, match=f"{threshold} of {keys} root keys cannot"):
        rotation.init(tmp_path / "other", tmp_path / "k", paths, threshold, office.now)


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660])
def test_keys_that_others_can_read_are_refused(office: Office, bits: int) -> None:
    office.keys_file.chmod(bits)
    with pytest.raises(SigningError, match=rf"read by others \(mode {bits:04o}\): chmod 600"):
        office.publish(ONE)
    office.keys_file.chmod(0o600)
    office.root_files[0].chmod(bits)
    with pytest.raises(SigningError, match=r"root-0\.pem can be read by others"):
        office.rotate()


def test_keys_that_are_missing_or_damaged_are_named(office: Office) -> None:
    office.keys_file.write_bytes(b"{}")
    with pytest.raises(SigningError, match="does not hold the catalogue's keys"):
        office.publish(ONE)
    office.keys_file.unlink()
    with pytest.raises(SigningError, match=r"keys\.json is not there: FLEET_CATALOGUE_KEYS_FILE"):
        office.publish(ONE)
    office.root_files[0].write_bytes(b"-----BEGIN NOTHING-----")
    with pytest.raises(SigningError, match="holds no private key"):
        office.rotate()


def test_new_keys_of_the_centre_are_taken_by_old_clients_and_new_ones(
    office: Office, client: Client, tmp_path: Path
) -> None:
    before = read_online(office.keys_file)
    office.rotate(online=True)
    after = read_online(office.keys_file)
    for role in ONLINE:
        assert len(after[role]) == 1
        assert after[role][0].public_key.keyid != before[role][0].public_key.keyid
    client.sync(office.place)
    assert client.files == ONE
    office.publish(TWO)
    client.sync(office.place)
    fresh = Client(office, tmp_path / "fresh")
    fresh.sync(office.place)
    assert client.files == fresh.files == TWO
    assert client.verify().good


def test_while_keys_are_replaced_nobody_else_rotates_or_publishes(
    office: Office, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, tried = rotation.write_online, list[str]()

    def meanwhile(path: Path, keys: OnlineKeys) -> None:
        for other in (office.rotate, lambda: office.publish(TWO)):
            with pytest.raises(SigningError, match="being written by another process"):
                other()
            tried.append(path.name)
        write(path, keys)

    monkeypatch.setattr(rotation, "write_online", meanwhile)
    office.rotate(online=True)
    assert len(tried) == 4
    assert [one.version for one in rotation.roots(office.place)] == [1, 2]
    client.sync(office.place)
    assert client.files == ONE


def test_keys_that_came_to_nothing_are_not_left_behind(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_path: Path, _keys: OnlineKeys) -> None:
        raise SigningError("keys.json cannot be written: the disk is full")

    monkeypatch.setattr(rotation, "write_online", broken)
    fresh = tmp_path / "fresh"
    for _ in range(2):
        with pytest.raises(SigningError, match="full"):
            rotation.init(fresh, tmp_path / "k", [tmp_path / "r"], 1, office.now)
        with pytest.raises(SigningError, match="full"):
            office.rotate(online=True, new=[tmp_path / "n"])
    monkeypatch.undo()
    rotation.init(fresh, tmp_path / "k", [tmp_path / "r"], 1, office.now)
    office.rotate(online=True, new=[tmp_path / "n"])


def test_the_old_keys_sign_nothing_any_more(office: Office, client: Client) -> None:
    stolen = office.keys_file.read_bytes()
    office.rotate(online=True)
    office.keys_file.write_bytes(stolen)
    with pytest.raises(SigningError, match="is not one that root 2 names"):
        office.publish(TWO)


def test_new_keys_can_be_had_where_the_old_ones_are_lost(office: Office, client: Client) -> None:
    office.keys_file.unlink()
    office.rotate(online=True)
    office.publish(TWO)
    client.sync(office.place)
    assert client.files == TWO


def test_a_client_that_was_away_follows_all_roots(
    office: Office, client: Client, tmp_path: Path
) -> None:
    """Every root key is replaced, one at a time; the client knows only the first root."""
    keys = list(office.root_files)
    for number in range(3):
        made = tmp_path / f"next-{number}.pem"
        (*_, newest) = rotation.roots(office.place)
        office.rotate(root_keys=keys[1:], new=[made], drop=[newest.keys["root"][0]])
        keys = [*keys[1:], made]
    office.rotate(root_keys=keys, online=True, threshold=3)
    office.publish(THREE)
    client.sync(office.place)
    assert client.files == THREE
    (*_, newest) = rotation.roots(office.place)
    assert (newest.version, newest.threshold) == (5, 3)
    assert not set(newest.keys["root"]) & set(office.first.keys["root"])
    with pytest.raises(SigningError, match="holds no key of root 5"):
        office.rotate(root_keys=office.root_files)


def test_a_root_that_is_missing_on_the_way_is_not_passed_over(
    office: Office, client: Client, tmp_path: Path
) -> None:
    office.rotate(online=True)
    office.rotate(online=True)
    (office.place / "metadata/2.root.json").unlink()
    with pytest.raises(Exception, match="not signed by enough"):
        client.sync(office.place)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"root_keys": 1}, "root 2 has to be signed by 2 keys of root 1, and 1 would"),
        ({"root_keys": 0}, "and 0 would"),
        ({"twice": True}, "and 1 would"),
        ({"threshold": 3, "root_keys": 2}, "3 keys of root 2, and 2 would"),
        ({"drop": ["abc"]}, "abc is no root key"),
        ({"threshold": 4}, "4 of 3 root keys cannot"),
    ],
)
def test_rotations_that_clients_would_refuse_are_refused_before_anything_is_made(
    office: Office, tmp_path: Path, asked: dict[str, object], said: str
) -> None:
    office.publish(ONE)
    before = files_in(tmp_path)
    given = dict(asked)
    keys = office.root_files[: int(str(given.pop("root_keys", 3)))]
    if given.pop("twice", False):
        keys = [keys[0], keys[0]]
    with pytest.raises(SigningError, match=said):
        office.rotate(root_keys=keys, online=True, **given)
    assert files_in(tmp_path) == before


def test_readers_never_see_metadata_that_their_root_does_not_answer_for(
    office: Office, client: Client, tmp_path: Path
) -> None:
    over, failed, rounds = threading.Event(), [], []

    def read(number: int) -> None:
        reader = Client(office, tmp_path / f"reader-{number}")
        while not over.is_set():
            try:
                reader.sync(office.place)
                assert reader.files in (ONE, TWO)
                rounds.append(number)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                failed.append(error)
                return

    readers = [threading.Thread(target=read, args=(number,)) for number in range(2)]
    for reader in readers:
        reader.start()
    for number in range(6):
        office.rotate(online=True)
        office.publish(TWO if number % 2 else ONE)
    over.set()
    for reader in readers:
        reader.join()
    assert failed == []
    assert len(rounds) > 2
