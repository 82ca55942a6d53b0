"""What mirrors may send instead of the bytes that were signed, over HTTP.

Each is refused with its reason, leaves what was synced before as it was, and does not keep the same
client from taking good bytes afterwards.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from fleet.catalogue.client import Mirror, SyncError, mirrors
from tests.fault_server import FaultServer
from tests.signing_support import ONE, TWO, Client, Office, offer, refused

ROLES = (Root.type, Timestamp.type, Snapshot.type, Targets.type)


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


def victim(office: Office, role: str) -> str:
    """The path of what a client that has the first state asks for next."""
    if role == "target":
        return next(
            path.relative_to(office.place).as_posix()
            for path in (office.place / "targets").iterdir()
            if path.read_bytes() == TWO["catalogue.parquet"]
        )
    return f"metadata/{'' if role == Timestamp.type else '2.'}{role}.json"


VICTIMS = (*ROLES, "target")
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda body: body[: len(body) // 2],
    "empty": lambda _: b"",
    "one byte more": lambda body: body + b"\n",
    "one byte wrong": lambda body: bytes([body[0] ^ 1]) + body[1:],
    "page": lambda _: b"<!DOCTYPE html><p>Please log in</p>",
}


def attack(client: Client, bad: FaultServer, role: str) -> tuple[Mirror, str]:
    """A mirror with news, and the path below which it is going to lie."""
    client.office.publish(TWO)
    if role == Root.type:
        client.office.rotate()
    return offer(bad, client.office.copy("evil")), victim(client.office, role)


@pytest.mark.parametrize(
    ("role", "damage"),
    [
        (role, damage)
        for role in VICTIMS
        for damage in DAMAGES
        # of these no length is signed, and white space after JSON says nothing
        if damage != "one byte more" or role not in {Root.type, Timestamp.type}
    ],
)
def test_damaged_bytes_are_refused(
    client: Client, bad: FaultServer, good: FaultServer, role: str, damage: str
) -> None:
    mirror, path = attack(client, bad, role)
    bad.serve(path, DAMAGES[damage](bad.files[path].body))
    refused(client, mirror, good, "it sends")


@pytest.mark.parametrize("role", VICTIMS)
@pytest.mark.parametrize("fault", ["truncated", "chunked_truncated", "garbage", "huge_length"])
def test_answers_that_break_off_are_refused(
    client: Client, bad: FaultServer, good: FaultServer, role: str, fault: str
) -> None:
    mirror, path = attack(client, bad, role)
    body = bad.files[path].body
    always = {"truncated": {"cuts": (len(body) // 2,)}, "chunked_truncated": {"times": 99}}
    bad.serve(path, body, fault, **always.get(fault, {}))
    refused(client, mirror, good, "it ")


@pytest.mark.parametrize("role", VICTIMS)
def test_answers_without_an_end_are_cut_off(
    client: Client, bad: FaultServer, good: FaultServer, role: str
) -> None:
    mirror, path = attack(client, bad, role)
    bad.serve(path, bad.files[path].body, "endless_chunked")
    refused(client, mirror, good, "more bytes than were signed")
    assert bad.sent[path] < 64 * 1024 * 1024  # what sockets hold, twice


@pytest.mark.parametrize("role", VICTIMS)
@pytest.mark.parametrize("fault", ["trickling", "silent", "stalling"])
def test_answers_that_take_for_ever_are_given_up(
    client: Client,
    bad: FaultServer,
    good: FaultServer,
    role: str,
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirrors, "GRACE", 0.1)
    monkeypatch.setattr(mirrors, "SILENCE", 0.1)
    mirror, path = attack(client, bad, role)
    bad.serve(path, bad.files[path].body, fault)
    refused(client, mirror, good, "too slow")


@pytest.mark.parametrize("role", [Timestamp.type, Snapshot.type, Targets.type, "target"])
@pytest.mark.parametrize("code", [404, 500])
def test_what_is_missing_is_named(
    client: Client, bad: FaultServer, good: FaultServer, role: str, code: int
) -> None:
    mirror, path = attack(client, bad, role)
    bad.serve(path, b"", "status", code=code, times=99)
    refused(client, mirror, good, f"it answers {code}")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("file:///etc/passwd", "no http or https URL"),
        ("ftp://127.0.0.1/x", "no http or https URL"),
        ("http://user:secret@127.0.0.1/x", "no http or https URL"),
        ("http://10.0.0.1/x", "its address 10.0.0.1 is not public"),
        ("http://[::ffff:169.254.169.254]/x", "is not public"),
        (None, "redirects more than 5 times"),
    ],
)
def test_redirects_lead_nowhere_that_may_not_be_asked(
    client: Client, bad: FaultServer, good: FaultServer, location: str | None, said: str
) -> None:
    mirror, path = attack(client, bad, Timestamp.type)
    bad.serve(path, b"", "redirect", **({"location": location} if location else {}))
    refused(client, mirror, good, said)


@pytest.mark.parametrize("scheme", ["https", "HTTPS"])
def test_no_redirect_leads_from_https_to_plain_http(scheme: str) -> None:
    with pytest.raises(DownloadError, match=r"from https to plain http at b\.example"):
        mirrors.hop(f"{scheme}://a.example/x", "http://b.example/x")
    assert mirrors.hop(f"{scheme}://a.example/x", "HTTPS://b.example/y") == "https://b.example/y"


def test_redirects_to_where_the_bytes_are_right_are_followed(
    client: Client, bad: FaultServer, good: FaultServer
) -> None:
    mirror, path = attack(client, bad, "target")
    offer(good, client.office.place)
    bad.serve(path, b"", "redirect", location=good.url(path))
    synced = client.sync(mirror)
    assert (client.files, synced.refusals) == (TWO, ())


def test_a_mirror_that_nobody_may_ask_is_not_asked(client: Client) -> None:
    with pytest.raises(SyncError, match=r"10\.0\.0\.1.*is not public"):
        client.sync(Mirror.at("http://10.0.0.1/catalogue"))
