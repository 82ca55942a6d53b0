"""What the centre signs and writes, and for how long it is good."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from fleet.catalogue.signing import folder
from fleet.catalogue.signing.errors import SigningError
from fleet.catalogue.signing.folder import KEPT, Folder
from fleet.catalogue.signing.lives import ABSENCE, LIVES
from tests.signing_support import ONE, THREE, TWO, Client, Office, files_in


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file, with what changes when it is written again."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (stat.st_ino, stat.st_mtime_ns) for path, stat in found}


def signed(office: Office, name: str) -> Metadata[Timestamp]:
    return Metadata[Timestamp].from_file(str(office.place / "metadata" / name))


def test_the_same_files_are_not_written_or_signed_again(office: Office) -> None:
    first = office.publish(ONE)
    before = listing(office.place)
    office.later(days=7)
    again = office.publish(ONE)
    assert (first.state, first.changed) == (1, True)
    assert (again.state, again.changed) == (1, False)
    assert listing(office.place) == before


def test_only_files_that_changed_are_written(office: Office) -> None:
    office.publish(ONE)
    before = listing(office.place)
    assert office.publish(TWO).state == 2
    after = listing(office.place)
    assert [name for name in before if after.get(name) != before[name]] == [
        "metadata/timestamp.json"
    ]


def test_files_come_and_go(office: Office, tmp_path: Path) -> None:
    client = Client(office, tmp_path / "home")
    for files in (ONE, THREE, {}, TWO):
        office.publish(files)
        client.sync(office.place)
        assert client.files == files


def test_the_same_files_on_the_same_day_are_signed_in_the_same_bytes(office: Office) -> None:
    office.publish(ONE)
    keys = office.keys_file.read_bytes()
    other = Office(office.folder / "other")
    other.keys_file.write_bytes(keys)
    (other.place / "metadata/1.root.json").write_bytes(
        (office.place / "metadata/1.root.json").read_bytes()
    )
    other.later(hours=3)
    other.publish(ONE)
    for name in ("1.snapshot.json", "1.targets.json"):
        ours, theirs = (one.place / "metadata" / name for one in (office, other))
        assert ours.read_bytes() == theirs.read_bytes()


def test_clients_resolve_for_thirty_days_after_the_centre_was_last_there(
    office: Office, tmp_path: Path
) -> None:
    """It looks every two days, whatever it then finds to renew, and the admin heeds warnings."""
    office.publish(ONE)
    for day in range(0, 400, 2):
        renewed = office.renew()
        assert renewed is not None
        if renewed.warnings:
            office.rotate()
        if day % 10 == 0:
            last = office.now
            office.now = last + timedelta(days=2) + ABSENCE  # it was about to look again
            client = Client(office, tmp_path / f"home-{day}")
            issued = client.sync(office.place).signed.issued
            assert client.files == ONE
            assert issued is not None
            assert office.now - issued <= timedelta(days=LIVES[Timestamp.type].days)
            office.now = last
        office.later(days=2)


def test_after_the_longest_absence_clients_refuse(office: Office, tmp_path: Path) -> None:
    office.publish(ONE)
    client = Client(office, tmp_path / "home")
    client.sync(office.place)
    office.later(days=LIVES[Timestamp.type].days + 1)
    with pytest.raises(Exception, match="expired"):
        client.sync(office.place)
    assert office.renew().changed  # type: ignore[union-attr]  # it was published
    client.sync(office.place)


def test_what_expires_soon_is_renewed_and_nothing_else(office: Office) -> None:
    office.publish(ONE)
    office.later(days=8)
    assert not office.publish(ONE).changed
    office.later(days=2)
    assert office.publish(ONE).changed
    assert signed(office, "timestamp.json").signed.version == 2
    assert not (office.place / "metadata/2.snapshot.json").exists()
    office.later(days=90)
    assert office.publish(ONE).state == 2
    assert (office.place / "metadata/2.targets.json").exists()


def test_the_timestamp_says_when_it_was_signed(office: Office) -> None:
    office.publish(ONE)
    said = signed(office, "timestamp.json").signed.unrecognized_fields["issued"]
    assert datetime.fromisoformat(said) == office.now
    expires = signed(office, "timestamp.json").signed.expires
    assert (expires.hour, expires.minute, expires.tzinfo) == (0, 0, UTC)


def test_the_last_states_are_kept_and_no_others(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "READ_FOR", -1.0)
    for number in range(KEPT + 3):
        office.publish({**ONE, "news.txt": f"{number}".encode()})
    names = files_in(office.place)
    versions = range(4, KEPT + 4)
    for role in (Snapshot.type, Targets.type):
        found = {name for name in names if name.endswith(f".{role}.json")}
        assert found == {f"metadata/{version}.{role}.json" for version in versions}
    news = {body for name, body in names.items() if name.endswith(".news.txt")}
    assert news == {f"{version - 1}".encode() for version in versions}
    for version in versions:
        at = Metadata[Targets].from_file(str(office.place / f"metadata/{version}.targets.json"))
        for target in at.signed.targets.values():
            assert f"targets/{target.get_prefixed_paths()[0]}" in names


def test_what_was_replaced_within_the_hour_is_kept_for_who_reads_it(
    office: Office, tmp_path: Path
) -> None:
    for number in range(KEPT + 3):
        office.publish({**ONE, "news.txt": f"{number}".encode()})
    news = [name for name in files_in(office.place) if name.endswith(".news.txt")]
    assert len(news) == KEPT + 3
    longer = time.time() - folder.READ_FOR - 1
    for version in (1, 2, 3):
        os.utime(office.place / f"metadata/{version}.snapshot.json", (longer, longer))
    office.publish(TWO)
    there = {path.name for path in (office.place / "metadata").glob("*.snapshot.json")}
    assert there == {f"{version}.snapshot.json" for version in range(3, KEPT + 5)}


def test_a_damaged_file_is_put_right_when_it_is_published_again(office: Office) -> None:
    office.publish(ONE)
    for path in (office.place / "targets").iterdir():
        body = path.read_bytes()
        path.write_bytes(bytes([body[0] ^ 1]) + body[1:])
    assert not office.publish(ONE).changed
    client = Client(office, office.folder / "home")
    client.sync(office.place)
    assert client.files == ONE


def test_a_timestamp_that_was_lost_is_followed_by_one_that_clients_take(office: Office) -> None:
    client = Client(office, office.folder / "home")
    for files in (ONE, TWO, ONE):
        office.publish(files)
        office.later(days=10)
        office.renew()
        client.sync(office.place)
    (office.place / "metadata/timestamp.json").unlink()
    office.publish(TWO)
    client.sync(office.place)
    assert client.files == TWO
    office.publish(THREE)
    client.sync(office.place)
    assert client.files == THREE


def test_what_was_signed_by_a_clock_that_was_ahead_is_signed_anew(office: Office) -> None:
    office.later(days=300)
    office.publish(ONE)
    office.later(days=-300)
    again = office.publish(ONE)
    assert again.changed
    assert again.expires <= office.now + timedelta(days=LIVES[Timestamp.type].days + 1)
    client = Client(office, office.folder / "home")
    client.sync(office.place)
    assert not office.publish(ONE).changed


def test_metadata_that_no_client_would_take_is_not_published(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.publish(ONE)
    monkeypatch.setattr(folder, "MAX_METADATA", 1_000)
    many = {f"{number}.parquet": b"x" for number in range(20)}
    with pytest.raises(SigningError, match=r"2\.targets\.json would have .* bytes, and clients"):
        office.publish(many)
    monkeypatch.undo()
    client = Client(office, office.folder / "home")
    client.sync(office.place)
    assert client.files == ONE


def test_nothing_is_written_through_what_another_put_in_the_way(
    office: Office, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (office.place / "metadata/.timestamp.json.part").symlink_to(victim)
    readable = office.keys_file.with_name(f".{office.keys_file.name}.part")
    readable.touch(0o666)
    with readable.open("rb") as spy:
        office.publish(ONE)
        office.rotate(online=True)
        assert spy.read() == b""
    assert victim.read_bytes() == b"precious"


def test_a_root_that_soon_expires_is_warned_of_and_one_that_has_stops_the_centre(
    office: Office,
) -> None:
    assert office.publish(ONE).warnings == ()
    office.later(days=300)
    (warning,) = office.publish(TWO).warnings
    assert "the root expires on 2027-03-02" in warning
    office.later(days=66)
    with pytest.raises(SigningError, match="the root expired on 2027-03-02"):
        office.publish(THREE)
    office.rotate()
    assert office.publish(THREE).warnings == ()


def test_keys_that_the_root_does_not_name_are_not_signed_with(office: Office) -> None:
    office.publish(ONE)
    before = files_in(office.place)
    stranger = Office(office.folder / "stranger")
    office.keys_file.write_bytes(stranger.keys_file.read_bytes())
    with pytest.raises(SigningError, match="the key for targets is not one that root 1 names"):
        office.publish(TWO)
    for name, body in before.items():
        assert (office.place / name).read_bytes() == body


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../x", "is not a name"),
        ("/x", "is not a name"),
        ("a//b", "is not a name"),
        (".hidden", "is hidden"),
        ("a/.hidden", "is hidden"),
        ("x" * 181, "more than 180 bytes"),
        ("a\nb", "control"),
    ],
)
def test_names_that_no_client_would_take_are_refused(
    office: Office, tmp_path: Path, name: str, said: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    office.given = lambda _: {name: source}  # type: ignore[method-assign]
    with pytest.raises(SigningError, match=said):
        office.publish({})
    assert not (office.place / "metadata/timestamp.json").exists()


def test_names_that_are_the_same_file_to_some_are_refused(office: Office) -> None:
    with pytest.raises(SigningError, match="same file"):
        office.publish({"Catalogue.parquet": b"a", "catalogue.parquet": b"b"})


def test_a_file_that_is_not_there_is_named(office: Office, tmp_path: Path) -> None:
    office.given = lambda _: {"x": tmp_path / "gone"}  # type: ignore[method-assign]
    with pytest.raises(SigningError, match="gone cannot be read: No such file"):
        office.publish({})


def test_damaged_metadata_is_named_and_never_begun_anew(office: Office) -> None:
    office.publish(ONE)
    (office.place / "metadata/timestamp.json").write_bytes(b"{}")
    with pytest.raises(SigningError, match=r"timestamp.json cannot be read.*from a mirror"):
        office.publish(TWO)


def test_two_that_publish_at_once_do_not_mix(office: Office) -> None:
    with (
        Folder(office.place).locked(),
        pytest.raises(SigningError, match="being written by another process"),
    ):
        office.publish(ONE)
    assert office.publish(ONE).changed


def test_mirrors_can_read_all_that_is_for_them(office: Office) -> None:
    mask = os.umask(0o077)
    try:
        office.publish(ONE)
    finally:
        os.umask(mask)
    for path in office.place.rglob("*.*"):
        if path.is_file() and path.name != ".lock":
            assert path.stat().st_mode & 0o444 == 0o444, path
    root = Metadata[Root].from_file(str(office.place / "metadata/1.root.json"))
    assert root.signed.consistent_snapshot
