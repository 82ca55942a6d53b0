"""What mirrors and thieves of keys may sign, over HTTP, in the manner of tuf-conformance.

Each attack is refused with its reason, leaves what was synced before as it was, and does not keep
the same client from taking good metadata afterwards.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from fleet.catalogue.client import SyncError
from tests.fault_server import FaultServer
from tests.signing_support import ONE, THREE, TWO, Client, Office, offer, reasons, refused

ROLES = (Root.type, Timestamp.type, Snapshot.type, Targets.type)
BELOW = (Snapshot.type, Targets.type)


@pytest.fixture
def bad() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def good() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, root_keys=3, threshold=2)


@pytest.fixture
def client(office: Office, good: FaultServer) -> Client:
    """A client that has the first state."""
    return Client.that_has(ONE, office, good)


def past(office: Office) -> datetime:
    return office.now - timedelta(days=1)


# Rollback


def test_an_older_timestamp_is_refused(client: Client, bad: FaultServer, good: FaultServer) -> None:
    old = client.office.copy("old")
    client.office.publish(TWO)
    client.sync(offer(good, client.office.place))
    refused(client, offer(bad, old), good, "older state", "timestamp version 1 must be >= 2")


def test_an_older_snapshot_is_refused(client: Client, bad: FaultServer, good: FaultServer) -> None:
    client.office.publish(TWO)
    client.sync(offer(good, client.office.place))
    thief = client.office.thief("evil")
    (thief.place / "metadata/2.snapshot.json").unlink()
    thief.cover(targets=False)
    client.office.later(days=10)  # so that the centre's own timestamp is signed anew, and later
    client.office.renew()
    refused(client, offer(bad, thief.place), good, "older state", "snapshot version must be >= 2")


def test_older_targets_are_refused(client: Client, bad: FaultServer, good: FaultServer) -> None:
    client.office.publish(TWO)
    client.sync(offer(good, client.office.place))
    thief = client.office.thief("evil")
    (thief.place / "metadata/2.targets.json").unlink()
    thief.cover()
    for _ in range(2):
        client.office.publish(TWO)
        client.office.later(days=10)
        client.office.renew()
    with pytest.raises(SyncError, match=r"older state.*targets"):
        client.sync(offer(bad, thief.place))
    assert client.files == TWO


def test_a_root_that_skips_a_version_is_refused(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    thief = client.office.thief("evil", roots=True)
    thief.edit(Root.type, version=3, file="2.root.json")
    refused(client, offer(bad, thief.place), good, "Expected root version 2")


# Freeze


@pytest.mark.parametrize("role", ROLES)
def test_what_has_expired_is_refused(
    client: Client, bad: FaultServer, good: FaultServer, role: str
) -> None:
    office = client.office
    thief = office.thief("evil", roots=True)
    thief.edit(role, lambda one: setattr(one, "expires", past(office)))
    if role in BELOW:
        thief.cover(targets=role == Targets.type)
    with pytest.raises(SyncError, match=r"expired, so something newer is withheld.*" + role):
        client.sync(offer(bad, thief.place))
    assert client.files == ONE


def test_a_mirror_that_never_brings_news_is_found_out_when_its_state_expires(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    frozen = offer(bad, client.office.copy("frozen"))
    client.office.later(days=39)
    synced = client.sync(frozen)
    assert client.office.now - (synced.signed.issued or client.office.now) == timedelta(days=39)
    client.office.later(days=2)
    refused(client, frozen, good, "expired")


def test_one_mirror_cannot_freeze_a_client_that_has_another(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    frozen = offer(bad, client.office.copy("frozen"))
    client.office.publish(TWO)
    for order in (0, 1):
        fresh = Client(client.office, client.office.folder / f"home-{order}")
        both = [frozen, offer(good, client.office.place)]
        fresh.sync(*(both if order else reversed(both)))
        assert fresh.files == TWO


# Mix and match


@pytest.mark.parametrize("role", BELOW)
def test_parts_of_two_states_do_not_mix(
    client: Client, bad: FaultServer, good: FaultServer, role: str
) -> None:
    client.office.publish(TWO)
    mixed = client.office.copy("mixed") / "metadata"
    (mixed / f"2.{role}.json").write_bytes((mixed / f"1.{role}.json").read_bytes())
    with pytest.raises(SyncError, match="other bytes than were signed"):
        client.sync(offer(bad, mixed.parent))
    assert client.files == ONE
    client.sync(offer(good, client.office.place))
    assert client.files == TWO


def test_signed_parts_that_were_never_one_state_do_not_mix(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    """Without the keys of the timestamp, nobody can put together what was signed apart."""
    client.office.publish(TWO)
    mixed = client.office.copy("mixed") / "metadata"
    (mixed / "timestamp.json").write_bytes(
        (mixed / "timestamp.json").read_bytes().replace(b'"version":2', b'"version":1')
    )
    refused(client, offer(bad, mixed.parent), good, "not signed by enough")


@pytest.mark.parametrize("order", [1, -1])
def test_a_part_of_a_newer_state_is_no_state(
    client: Client, bad: FaultServer, good: FaultServer, order: int
) -> None:
    """One mirror is being copied to: it has the newest timestamp, and nothing that it names."""
    office = client.office
    old = offer(good, office.copy("old"))
    office.publish(TWO)
    part = office.copy("part")
    (part / "metadata/2.snapshot.json").unlink()
    client.sync(*[offer(bad, part), old][::order])
    assert client.files == ONE
    assert client.verify().good
    with pytest.raises(SyncError, match="snapshot"):
        client.sync(offer(bad, part))
    assert client.verify().good


# Keys


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("missing", ["timestamp.json", "*.snapshot.json"])
def test_what_revoked_keys_signed_is_not_taken_once_any_mirror_has_the_newer_root(
    client: Client, bad: FaultServer, good: FaultServer, missing: str, order: int
) -> None:
    office = client.office
    thief = office.thief("evil")
    (thief.place / "targets" / f"{sha256(b'evil').hexdigest()}.x").write_bytes(b"evil")
    target = TargetFile.from_data("x", b"evil", ["sha256"])
    thief.edit(Targets.type, lambda one: one.targets.update(x=target))
    thief.cover()
    office.rotate(online=True)
    office.publish(TWO)
    part = office.copy("part")
    for path in (part / "metadata").glob(missing):
        path.unlink()
    with pytest.raises(SyncError) as error:
        client.sync(*[offer(bad, thief.place), offer(good, part)][::order])
    assert "not signed by enough" in str(error.value)
    assert client.files == ONE
    client.sync(offer(bad, thief.place), offer(good, office.place))
    assert client.files == TWO


def _strangers(_thief: Office, _role: str) -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519()]


def _strangers_by_the_right_names(thief: Office, role: str) -> list[CryptoSigner]:
    names = [key.public_key.keyid for key in thief.keys(role)]
    return [CryptoSigner.generate_ed25519(keyid=name) for name in names]


def _another_roles(thief: Office, role: str) -> list[CryptoSigner]:
    return [thief.online[Timestamp.type if role != Timestamp.type else Targets.type]]


@pytest.mark.parametrize("keys", [_strangers, _strangers_by_the_right_names, _another_roles])
@pytest.mark.parametrize("role", ROLES)
def test_what_other_keys_signed_is_refused(
    client: Client,
    bad: FaultServer,
    role: str,
    keys: Callable[[Office, str], list[CryptoSigner]],
) -> None:
    thief = client.office.thief("evil", roots=True)
    thief.edit(role, keys=keys(thief, role))
    if role in BELOW:
        thief.cover(targets=role == Targets.type)
    with pytest.raises(SyncError, match="not signed by enough of the keys"):
        client.sync(offer(bad, thief.place))
    assert client.files == ONE


@pytest.mark.parametrize("signing", [0, 1])
def test_fewer_root_keys_than_asked_for_are_refused(
    client: Client, bad: FaultServer, good: FaultServer, signing: int
) -> None:
    thief = client.office.thief("evil", roots=True)
    thief.edit(Root.type, keys=thief.root[:1] * signing)
    refused(client, offer(bad, thief.place), good, "not signed by enough", f"{signing}/2")


def test_one_root_key_that_signs_twice_counts_once(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    thief = client.office.thief("evil", roots=True)
    thief.edit(Root.type, keys=[thief.root[0], thief.root[0]])
    refused(client, offer(bad, thief.place), good, "1/2")


def test_a_root_that_its_own_new_keys_did_not_sign_is_refused(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    thief = client.office.thief("evil", roots=True)
    strangers = [CryptoSigner.generate_ed25519() for _ in range(3)]

    def replace(root: Any) -> None:
        for keyid in list(root.roles[Root.type].keyids):
            root.revoke_key(keyid, Root.type)
        for stranger in strangers:
            root.add_key(stranger.public_key, Root.type)

    thief.edit(Root.type, replace)
    refused(client, offer(bad, thief.place), good, "0/2")


def test_a_root_that_only_its_own_new_keys_signed_is_refused(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    thief = client.office.thief("evil", roots=True)
    strangers = [CryptoSigner.generate_ed25519() for _ in range(3)]

    def replace(root: Any) -> None:
        for stranger in strangers:
            root.add_key(stranger.public_key, Root.type)

    thief.edit(Root.type, replace, keys=strangers)
    refused(client, offer(bad, thief.place), good, "0/2")


def test_fewer_signatures_than_a_role_asks_for_are_refused(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    """A root that asks for two of two timestamp keys is not content with one."""
    thief = client.office.thief("evil", roots=True)

    def ask_for_two(root: Any) -> None:
        root.add_key(CryptoSigner.generate_ed25519().public_key, Timestamp.type)
        root.roles[Timestamp.type].threshold = 2

    thief.edit(Root.type, ask_for_two)
    with pytest.raises(SyncError, match=r"timestamp was signed by 1/2 keys"):
        client.sync(offer(bad, thief.place))
    assert client.files == ONE


# Content


def test_metadata_of_another_role_is_refused(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    thief = client.office.thief("evil")
    snapshot: Metadata[Any] = Metadata.from_file(str(thief.newest(Snapshot.type)))
    snapshot.sign(thief.online[Timestamp.type])
    (thief.place / "metadata/timestamp.json").write_bytes(snapshot.to_bytes())
    refused(client, offer(bad, thief.place), good, "Expected 'timestamp', got 'snapshot'")


@pytest.mark.parametrize(
    "name", ["../../escaped", "/tmp/escaped", "a/../../../escaped", "a\\b", "a\x00b", "."]
)
def test_signed_names_that_lead_out_of_the_folder_are_refused(
    client: Client, bad: FaultServer, good: FaultServer, name: str, tmp_path: Path
) -> None:
    thief = client.office.thief("evil")
    target = TargetFile.from_data(name, b"x", ["sha256"])
    thief.edit(Targets.type, lambda one: one.targets.update({name: target}))
    thief.cover()
    with pytest.raises(SyncError, match="no file of a catalogue is called that"):
        client.sync(offer(bad, thief.place))
    assert not list(tmp_path.rglob("escaped"))
    assert client.files == ONE


def test_signed_names_in_each_other_s_way_are_refused(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    thief = client.office.thief("evil")
    names = ("catalogue.parquet/x", "CATALOGUE.EN.PARQUET")
    for name in names:
        target = TargetFile.from_data(name, b"x", ["sha256"])
        thief.edit(Targets.type, lambda one, n=name, t=target: one.targets.update({n: t}))
    thief.cover()
    with pytest.raises(SyncError, match="same file"):
        client.sync(offer(bad, thief.place))


# Recovery


@pytest.mark.parametrize("role", [Timestamp.type, Snapshot.type, Targets.type])
def test_a_client_led_far_ahead_comes_back_once_the_keys_are_replaced(
    client: Client, bad: FaultServer, good: FaultServer, role: str
) -> None:
    office = client.office
    thief = office.thief("evil")
    thief.edit(role, version=1_000_000)
    if role in BELOW:
        thief.cover(targets=role == Targets.type)
    ahead = offer(bad, thief.place)
    client.sync(ahead)
    office.publish(THREE)
    office.publish(TWO)
    with pytest.raises(SyncError, match="older state"):
        client.sync(offer(good, office.place))
    office.rotate(online=True)
    synced = client.sync(ahead, offer(good, office.place))
    assert client.files == TWO
    assert synced.signed.number < 100
    office.publish(THREE)
    synced = client.sync(ahead, offer(good, office.place))
    assert client.files == THREE
    assert "not signed by enough" in reasons(synced.refusals)
    assert client.verify().good
