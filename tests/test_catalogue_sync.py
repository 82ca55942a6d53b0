"""What a client has after a sync, from which mirrors, and whom it believes from the beginning."""

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pytest
from tuf.api.metadata import Timestamp

from fleet.catalogue.client import (
    Fetcher,
    Mirror,
    MirrorError,
    SyncError,
    Trust,
    UntrustedError,
    verify,
)
from tests.fault_exchange import Exchange
from tests.fault_kinds import FAULTS
from tests.fault_server import FaultServer
from tests.signing_support import (
    NOON,
    ONE,
    THREE,
    TWO,
    Client,
    Office,
    files_in,
    offer,
    reasons,
)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(tmp_path)
    made.publish(ONE)
    return made


@pytest.fixture
def client(office: Office) -> Client:
    return Client(office, office.folder / "home")


@pytest.fixture
def others() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def asked(server: FaultServer) -> list[str]:
    return [one.path for one in server.requests if one.path.startswith("targets/")]


def test_only_what_changed_is_fetched(client: Client, server: FaultServer) -> None:
    mirror = offer(server, client.office.place)
    assert client.sync(mirror).changed
    assert len(asked(server)) == 2
    assert not client.sync(mirror).changed
    client.office.publish(TWO)
    assert client.sync(offer(server, client.office.place)).changed
    assert [path.split(".", 1)[1] for path in asked(server)[2:]] == ["catalogue.parquet"]
    assert client.files == TWO


def test_the_state_before_stays_for_whoever_reads_it(client: Client) -> None:
    client.sync(client.office.place)
    reading = client.home.current.resolve()
    client.office.publish(TWO)
    client.sync(client.office.place)
    assert (files_in(reading), client.files) == (ONE, TWO)
    client.office.publish(THREE)
    client.sync(client.office.place)
    assert not reading.exists()


def test_a_state_that_no_mirror_has_whole_does_not_show(
    client: Client, server: FaultServer
) -> None:
    client.sync(offer(server, client.office.place))
    client.office.publish(TWO)
    mirror = offer(server, client.office.place)
    for path in list(server.files):
        if path.startswith("targets/") and server.files[path].body == TWO["catalogue.parquet"]:
            del server.files[path]
    with pytest.raises(SyncError, match=r"no mirror has catalogue.parquet as it was signed.*404"):
        client.sync(mirror)
    assert client.files == ONE
    assert client.sync(offer(server, client.office.place)).changed
    assert client.files == TWO


def test_files_come_from_any_mirror_that_has_the_right_bytes(
    client: Client, server: FaultServer, others: FaultServer
) -> None:
    """One mirror has the news but damaged files, the other is behind but has one of them."""
    behind = offer(others, client.office.copy("behind"))
    client.office.publish(TWO)
    newest = offer(server, client.office.place)
    path = next(one for one in server.files if one.endswith(".catalogue.en.parquet"))
    server.serve(path, b"damaged" * 10)
    synced = client.sync(newest, behind)
    assert client.files == TWO
    assert "older state" in reasons(synced.refusals)
    assert "catalogue.en.parquet: it sends other bytes" in reasons(synced.refusals)


def test_mirrors_that_do_not_answer_are_named_and_others_are_used(
    client: Client, server: FaultServer
) -> None:
    with FaultServer() as gone:
        dead = Mirror.at(gone.url(""))
    nothing, good = client.office.folder / "nothing", offer(server, client.office.place)
    synced = client.sync(dead, nothing, good)
    assert client.files == ONE
    first, second = synced.refusals
    assert (first.mirror, "cannot be read" in first.reason) == (dead.name, True)
    assert second.reason == "it has no metadata/timestamp.json"


def test_damaged_files_are_found_and_mended(client: Client) -> None:
    client.sync(client.office.place)
    (client.home.current / "catalogue.parquet").write_bytes(b"rotten")
    (client.home.current / "catalogue.en.parquet").unlink()
    (client.home.current / "planted").write_bytes(b"")
    faults = {one.path: one.reason for one in client.verify().faults}
    assert faults == {
        "catalogue.parquet": "its bytes are not those that were signed",
        "catalogue.en.parquet": "it is missing",
        "planted": "nobody signed it",
    }
    synced = client.sync(client.office.place)
    assert (synced.changed, set(synced.mended)) == (False, set(ONE))
    (client.home.current / "planted").unlink()
    assert client.verify().good


def test_what_was_synced_is_verified_without_anybody(client: Client) -> None:
    client.sync(client.office.place)
    client.office.rotate(online=True)
    client.sync(client.office.place)
    for path in sorted(client.office.place.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert client.verify().good
    client.office.later(days=41)
    found = client.verify()
    assert (found.expired, found.faults, found.good) == (True, (), False)


def test_to_verify_a_copy_nothing_of_it_is_written(client: Client) -> None:
    """So that it can be done on a disk that cannot be written."""
    client.sync(client.office.place)

    def listing() -> dict[Path, tuple[int, int]]:
        found = ((path, path.lstat()) for path in client.root.rglob("*"))
        return {path: (one.st_ino, one.st_mtime_ns) for path, one in found}

    before = listing()
    assert client.verify().good
    assert listing() == before


def test_who_cannot_write_a_folder_holds_it_all_the_same(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.sync(client.office.place)
    begin = Path.open

    def read_only(path: Path, mode: str = "r", *rest: Any, **more: Any) -> IO[Any]:
        if mode != "rb" and path.is_relative_to(client.root):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return begin(path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", read_only)
    assert client.verify().good
    with client.home.locked(), pytest.raises(BlockingIOError):
        client.verify()


@pytest.mark.parametrize("name", ["timestamp", "snapshot", "targets"])
def test_altered_signatures_are_found_and_mended(client: Client, name: str) -> None:
    client.sync(client.office.place)
    path = client.home.trusted / f"{name}.json"
    path.write_bytes(path.read_bytes().replace(b'"sig":"', b'"sig":"00'))
    with pytest.raises(SyncError, match="cannot be believed"):
        client.verify()
    client.sync(client.office.place)
    assert client.verify().good


def test_a_folder_that_was_never_synced_is_not_verified(client: Client) -> None:
    with pytest.raises(SyncError, match="has no catalogue: bring one"):
        client.verify()


def test_nobody_is_believed_until_it_is_said_whose_catalogue_is_meant(client: Client) -> None:
    with pytest.raises(UntrustedError, match="--root FILE"):
        client.sync(client.office.place, trust=Trust())
    client.sync(client.office.place)
    client.sync(client.office.place, trust=Trust())


def test_a_root_s_file_is_believed(client: Client) -> None:
    root = client.office.place / "metadata/1.root.json"
    client.sync(client.office.place, trust=Trust(root=root))
    assert client.files == ONE


def test_a_later_root_can_be_pinned(client: Client) -> None:
    client.office.rotate()
    later = client.office.rotate(online=True)
    client.sync(client.office.place, trust=Trust(sha256=later.sha256.upper()))
    assert client.files == ONE


def test_a_digest_that_no_root_has_is_refused(client: Client) -> None:
    with pytest.raises(UntrustedError, match=r"no mirror has a root of the SHA-256 0000"):
        client.sync(client.office.place, trust=Trust(sha256="0" * 64))
    assert not client.home.begun.exists()


def test_another_catalogue_is_not_taken_for_this_one(client: Client, tmp_path: Path) -> None:
    client.sync(client.office.place)
    (tmp_path / "other").mkdir()
    other = Office(tmp_path / "other")
    other.publish(TWO)
    with pytest.raises(SyncError, match="not signed by enough"):
        client.sync(other.place, trust=Trust())
    with pytest.raises(UntrustedError, match="was begun with another root"):
        client.sync(other.place, trust=other.trust)
    assert client.files == ONE


def test_what_is_no_root_does_not_begin_a_folder(client: Client, tmp_path: Path) -> None:
    junk = tmp_path / "junk.json"
    junk.write_bytes(b"{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    with pytest.raises(UntrustedError, match=r"junk\.json is no root of a catalogue"):
        client.sync(tmp_path / "nobody is asked", trust=Trust(root=junk))
    (client.office.place / "metadata/2.root.json").write_bytes(b"{}")
    with pytest.raises(UntrustedError, match=r"2\.root\.json is no such root"):
        client.sync(client.office.place, trust=Trust(sha256=digest))
    (client.office.place / "metadata/2.root.json").unlink()
    client.sync(client.office.place)
    assert client.files == ONE


@pytest.mark.parametrize("again", [b"junk", None], ids=["junk", "the first again"])
def test_who_has_no_root_of_a_digest_is_not_asked_for_ever(
    client: Client, server: FaultServer, again: bytes | None
) -> None:
    mirror = offer(server, client.office.place)
    first = server.files["metadata/1.root.json"].body
    for version in range(2, 50):
        server.serve(f"metadata/{version}.root.json", again or first)
    with pytest.raises(UntrustedError, match=r"2\.root\.json is no such root"):
        client.sync(mirror, trust=Trust(sha256="0" * 64))
    assert len(server.requests) <= 3


def test_files_come_from_the_mirror_that_answers_first(
    client: Client, server: FaultServer, others: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever was named first, and whichever brought the news."""

    def late(exchange: Exchange) -> None:
        exchange.server.released.wait(0.5)
        FAULTS["none"](exchange)

    monkeypatch.setitem(FAULTS, "late", late)
    slow, quick = offer(server, client.office.place), offer(others, client.office.place)
    server.serve("metadata/timestamp.json", server.files["metadata/timestamp.json"].body, "late")
    client.sync(quick, slow)
    assert client.files == ONE
    assert (len(asked(server)), len(asked(others))) == (0, 2)


def test_a_pipe_in_a_folder_is_not_waited_for(client: Client) -> None:
    timestamp = client.office.place / "metadata/timestamp.json"
    timestamp.unlink()
    os.mkfifo(timestamp)
    with pytest.raises(SyncError, match=r"timestamp\.json is no plain file"):
        client.sync(client.office.place)


def test_what_others_leave_beside_the_states_is_cleared_away(client: Client) -> None:
    for name in (".DS_Store", ".DS_Store.part"):
        (client.root / "states").mkdir(parents=True, exist_ok=True)
        (client.root / "states" / name).write_bytes(b"")
    (client.root / "states" / "link").symlink_to(client.office.place)
    client.sync(client.office.place)
    assert [path.name for path in (client.root / "states").iterdir()] == [
        client.home.current.readlink().name
    ]
    assert client.office.place.exists()


@pytest.mark.parametrize(
    ("said", "issued"),
    [
        ("2026-03-01T12:00:00", NOON),
        ("2026-03-01T14:00:00+02:00", NOON),
        ("0001-01-01T00:00:00+23:59", None),
        ("yesterday", None),
    ],
)
def test_when_a_state_was_issued_is_read_in_utc(
    client: Client, said: str, issued: datetime | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/Toronto")
    time.tzset()
    thief = client.office.thief("other")
    thief.edit(Timestamp.type, lambda one: one.unrecognized_fields.update(issued=said))
    try:
        assert client.sync(thief.place).signed.issued == issued
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "given",
    [
        "ftp://a.example/",
        "http://",
        "https://a:b@c.example/",
        "https://a.example/?x=1",
        "https://a.example/#x",
        "http://a.example:0/",
        "http://a.example:99999/",
        "http://[::1/",
    ],
)
def test_what_is_no_mirror_is_refused(given: str) -> None:
    with pytest.raises(MirrorError):
        Mirror.at(given)


def test_two_syncs_of_one_folder_do_not_mix(client: Client) -> None:
    with client.home.locked(), pytest.raises(BlockingIOError):
        client.sync(client.office.place)


def test_who_breaks_off_a_sync_has_what_was_there_before(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.sync(client.office.place)
    client.office.publish(TWO)
    ask = Fetcher._fetch

    def broken_off(fetcher: Fetcher, url: str) -> Iterator[bytes]:
        if url.endswith(".snapshot.json") and str(client.office.place) in url:
            raise KeyboardInterrupt
        return ask(fetcher, url)

    with monkeypatch.context() as patch:
        patch.setattr(Fetcher, "_fetch", broken_off)
        with pytest.raises(KeyboardInterrupt):
            client.sync(client.office.place)
    assert verify(client.home, NOON).faults == ()
    client.sync(client.office.place)
    assert client.files == TWO
