"""Syncing without the centre: from a version's folder, a redirector, or a bucket's root."""

import json
from pathlib import Path
from typing import Any

import pytest

from fleet.catalogue.client import Mirror, SyncError
from fleet.catalogue.signing import copies
from fleet.planning.latest import File, Manifest, encode, place
from fleet.planning.press import DATASET
from tests.fault_server import FaultServer
from tests.signing_support import ONE, TWO, Client, Office, reasons


@pytest.fixture
def office(tmp_path: Path) -> Office:
    made = Office(tmp_path)
    made.publish(ONE)
    return made


@pytest.fixture
def client(office: Office) -> Client:
    return Client(office, office.folder / "home")


def edition(office: Office) -> dict[str, bytes]:
    """What a version's folder has of the state that holds."""
    with copies.copied(office.place) as copy:
        return {name: path.read_bytes() for name, path in copy.files.items()}


def serve(server: FaultServer, folder: str, office: Office) -> Mirror:
    """Serve a version's folder."""
    for name, body in edition(office).items():
        server.serve(f"{folder}/{name}", body)
    return Mirror.at(server.url(f"{folder}/"))


def manifest(version: str, dataset: str = DATASET) -> bytes:
    files = {name: File(f"{dataset}/{version}/{name}", 1, "0" * 64) for name in ONE}
    return encode(Manifest(dataset, version, 1, files))


def test_a_version_s_folder_is_a_mirror_and_so_is_a_copy_of_it_on_a_disk(
    client: Client, server: FaultServer, tmp_path: Path
) -> None:
    assert client.sync(serve(server, "catalogue/1", client.office)).refusals == ()
    assert client.files == ONE
    client.office.publish(TWO)
    for name, body in edition(client.office).items():
        path = tmp_path / "usb" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    assert client.sync(tmp_path / "usb").changed
    assert client.files == TWO


def test_a_bucket_says_where_the_newest_edition_is(client: Client, server: FaultServer) -> None:
    serve(server, "catalogue/42", client.office)
    server.serve(place(DATASET), manifest("42"))
    assert client.sync(Mirror.at(server.url(""))).refusals == ()
    assert client.files == ONE


def test_the_root_is_found_by_its_digest_in_a_bucket_too(
    client: Client, server: FaultServer
) -> None:
    client.office.rotate()
    serve(server, "catalogue/42", client.office)
    server.serve(place(DATASET), manifest("42"))
    assert client.sync(Mirror.at(server.url(""))).changed


def test_a_version_s_folder_with_other_bytes_is_named_and_nothing_shows(
    client: Client, server: FaultServer
) -> None:
    mirror = serve(server, "catalogue/1", client.office)
    server.serve("catalogue/1/catalogue.parquet", b"wrong" * 600)
    with pytest.raises(SyncError, match=r"no mirror has catalogue.parquet as it was signed"):
        client.sync(mirror)
    assert not client.home.current.exists()


def test_a_folder_that_lacks_a_file_says_so(client: Client, server: FaultServer) -> None:
    mirror = serve(server, "catalogue/1", client.office)
    del server.files["catalogue/1/catalogue.parquet"]
    with pytest.raises(SyncError, match=r"no mirror has catalogue.parquet.*404"):
        client.sync(mirror)


_GOOD: dict[str, Any] = json.loads(manifest("42"))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[" * 60_000, id="deep"),
        pytest.param(b" " * 70_000, id="endless"),
        pytest.param(json.dumps(_GOOD | {"version": "../../private"}).encode(), id="climbs"),
        pytest.param(json.dumps(_GOOD | {"version": ".."}).encode(), id="above"),
        pytest.param(json.dumps(_GOOD | {"version": "4 2"}).encode(), id="space"),
        pytest.param(json.dumps(_GOOD | {"version": 42}).encode(), id="number"),
        pytest.param(json.dumps(_GOOD | {"files": []}).encode(), id="no files"),
        pytest.param(manifest("42", "roads"), id="another's"),
    ],
)
def test_a_hostile_manifest_leads_nowhere_and_other_mirrors_are_used(
    client: Client, server: FaultServer, data: bytes
) -> None:
    server.serve(place(DATASET), data)
    bucket = Mirror.at(server.url(""))
    synced = client.sync(bucket, client.office.place)
    assert client.files == ONE
    assert "processed/latest/catalogue.json" in reasons(synced.refusals)
    asked = {one.path for one in server.requests}
    assert asked == {"metadata/timestamp.json", "processed/latest/catalogue.json"}


def test_a_mirror_that_leads_to_an_older_edition_cannot_lead_back(
    client: Client, server: FaultServer
) -> None:
    serve(server, "catalogue/1", client.office)
    server.serve(place(DATASET), manifest("1"))
    client.office.publish(TWO)
    client.sync(client.office.place)
    with pytest.raises(SyncError, match="older state"):
        client.sync(Mirror.at(server.url("")))
    assert client.files == TWO


def test_a_copy_resolves_when_the_centre_is_gone_for_thirty_days(
    client: Client, server: FaultServer
) -> None:
    mirror = serve(server, "catalogue/1", client.office)
    client.office.later(days=30)
    client.sync(mirror)
    assert client.verify().good
    client.office.later(days=12)
    with pytest.raises(SyncError, match="has expired"):
        client.sync(mirror)
