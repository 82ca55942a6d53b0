"""A catalogue's centre with keys and a clock, mirrors over HTTP, and a thief who has some keys."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from fleet.catalogue.client import (
    Fetcher,
    Home,
    Mirror,
    Refusal,
    Synced,
    SyncError,
    Trust,
    Verified,
)
from fleet.catalogue.client import sync as client_sync
from fleet.catalogue.client import verify as client_verify
from fleet.catalogue.signing import publishing, rotation
from fleet.catalogue.signing.folder import Folder
from fleet.catalogue.signing.keys import read_online, read_root
from tests.fault_server import FaultServer

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LOOPBACK = (ip_network("127.0.0.0/8"),)
ONE = {"catalogue.parquet": b"one" * 1000, "catalogue.en.parquet": b"en" * 500}
TWO = {"catalogue.parquet": b"two" * 1100, "catalogue.en.parquet": b"en" * 500}
THREE = {"catalogue.parquet": b"three" * 900, "files/a b.parquet": "é".encode() * 400}


@dataclass
class Office:
    """The centre: it publishes, at a moment that a test moves."""

    folder: Path
    root_keys: int = 1
    threshold: int = 1
    now: datetime = NOON
    sources: int = 0
    first: rotation.Rooted = field(init=False)

    def __post_init__(self) -> None:
        self.first = rotation.init(
            self.place, self.keys_file, self.root_files, self.threshold, self.now
        )

    @property
    def place(self) -> Path:
        return self.folder / "repository"

    @property
    def keys_file(self) -> Path:
        return self.folder / "keys.json"

    @property
    def root_files(self) -> list[Path]:
        return [self.folder / f"root-{number}.pem" for number in range(self.root_keys)]

    @property
    def trust(self) -> Trust:
        return Trust(sha256=self.first.sha256)

    def given(self, files: dict[str, bytes]) -> dict[str, Path]:
        """Files with these bytes, in a folder of their own."""
        self.sources += 1
        found = {}
        for name, body in files.items():
            found[name] = self.folder / f"given-{self.sources}" / name
            found[name].parent.mkdir(parents=True, exist_ok=True)
            found[name].write_bytes(body)
        return found

    def publish(self, files: dict[str, bytes]) -> publishing.Published:
        return publishing.publish(self.place, self.given(files), self.keys_file, self.now)

    def renew(self) -> publishing.Published | None:
        folder = Folder(self.place)
        with folder.locked():
            return publishing.renew(folder, folder.root(), read_online(self.keys_file), self.now)

    def rotate(self, **asked: Any) -> rotation.Rooted:
        given = asked.pop("root_keys", self.root_files)
        return rotation.rotate(self.place, self.keys_file, given, self.now, **asked)

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def copy(self, name: str) -> Path:
        """What a mirror has that copied the folder now."""
        shutil.copytree(self.place, self.folder / name)
        return self.folder / name

    def thief(self, name: str, *, roots: bool = False) -> "Thief":
        """An attacker with a copy, and with the centre's keys; with the root's keys as well."""
        online = {role: keys[0] for role, keys in read_online(self.keys_file).items()}
        root = [read_root(path) for path in self.root_files] if roots else []
        return Thief(self.copy(name), online, root)


@dataclass
class Thief:
    """Signs anything, with the keys that were stolen."""

    place: Path
    online: dict[str, CryptoSigner]
    root: list[CryptoSigner]

    def edit(
        self,
        role: str,
        change: Callable[[Any], None] = lambda _: None,
        *,
        version: int | None = None,
        keys: Iterable[CryptoSigner] | None = None,
        file: str = "",
    ) -> None:
        """Sign another version of a role, the next one unless it is said, and offer it."""
        metadata: Metadata[Any] = Metadata.from_file(str(self.newest(role)))
        metadata.signed.version = version or metadata.signed.version + 1
        change(metadata.signed)
        metadata.signatures.clear()
        signers = keys if keys is not None else self.keys(role)
        for signer in signers:
            metadata.sign(signer, append=True)
        name = (
            "timestamp.json" if role == Timestamp.type else f"{metadata.signed.version}.{role}.json"
        )
        (self.place / "metadata" / (file or name)).write_bytes(metadata.to_bytes())

    def keys(self, role: str) -> list[CryptoSigner]:
        return self.root if role == Root.type else [self.online[role]]

    def newest(self, role: str) -> Path:
        folder = self.place / "metadata"
        if role == Timestamp.type:
            return folder / "timestamp.json"
        return max(folder.glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))

    def describe(self, role: str) -> MetaFile:
        """What a snapshot or timestamp has to say of the newest version of a role."""
        path = self.newest(role)
        return MetaFile.from_data(int(path.name.split(".")[0]), path.read_bytes(), ["sha256"])

    def cover(self, *, targets: bool = True) -> None:
        """Have a new snapshot, and a new timestamp, name what was put below them."""
        if targets:
            self.edit(
                Snapshot.type,
                lambda one: one.meta.update({"targets.json": self.describe(Targets.type)}),
            )
        self.edit(
            Timestamp.type, lambda one: setattr(one, "snapshot_meta", self.describe(Snapshot.type))
        )


@dataclass
class Client:
    """Who syncs, by the office's clock."""

    office: Office
    root: Path

    @classmethod
    def that_has(cls, files: dict[str, bytes], office: Office, server: FaultServer) -> "Client":
        """One that synced a first state from a good mirror."""
        office.publish(files)
        made = cls(office, office.folder / "home")
        made.sync(offer(server, office.place))
        assert made.files == files
        return made

    @property
    def home(self) -> Home:
        return Home(self.root)

    def sync(self, *mirrors: Mirror | Path, trust: Trust | None = None) -> Synced:
        found = [one if isinstance(one, Mirror) else Mirror.at(str(one)) for one in mirrors]
        with Fetcher("DataFleet/test", LOOPBACK) as fetcher:
            return client_sync(
                self.home, found, trust or self.office.trust, self.office.now, fetcher
            )

    def verify(self) -> Verified:
        return client_verify(self.home, self.office.now)

    @property
    def files(self) -> dict[str, bytes]:
        """What a reader finds."""
        return files_in(self.home.current)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def offer(server: FaultServer, place: Path, **faults: Any) -> Mirror:
    """Serve a copy of a repository folder; a mirror that never answers badly."""
    for name, body in files_in(place).items():
        server.serve(name, body, **faults)
    return Mirror.at(server.url(""))


def reasons(refusals: Iterable[Refusal]) -> str:
    return "\n".join(one.reason for one in refusals)


def refused(client: Client, attacked: Mirror, good: FaultServer, *said: str) -> None:
    """The mirror is refused in these words; what is there stays; good metadata is taken after."""
    before = client.files
    with pytest.raises(SyncError) as error:
        client.sync(attacked)
    assert all(word in str(error.value) for word in (attacked.name, *said)), error.value
    assert client.files == before
    client.office.publish(THREE)
    synced = client.sync(attacked, offer(good, client.office.place))
    assert client.files == THREE
    assert {one.mirror for one in synced.refusals} <= {attacked.name}
    assert client.verify().good
