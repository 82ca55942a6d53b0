"""The storages that one conformance suite is run for, each with its server."""

import contextlib
import hashlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import cast

import httpx

from fleet.invenio import Patience
from fleet.places import ItemsPlace, RecordsPlace
from fleet.rehearsal.archive.server import Archive as ArchiveServer
from fleet.rehearsal.archive.server import Habits
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS, R2, SOURCE_COOPERATIVE, Strictness
from fleet.rehearsal.zenodo import TOKEN, Zenodo
from fleet.settings import SiteSettings
from tests.fault_server import FaultServer
from tests.seeder_support import eventually
from tests.zenodo_support import Person
from workers.lease import Lease
from workers.storage.archive import Archive
from workers.storage.archive import Keys as ArchiveKeys
from workers.storage.archive import Patience as ArchivePatience
from workers.storage.contract import Content, Readable, Storage
from workers.storage.folder import Folder
from workers.storage.hosted import Hosted
from workers.storage.s3 import Bucket, Keys, Place
from workers.storage.zenodo import Record

AGENT = "Fleet/test (+mailto:ops@example.org)"
KEYS = Keys("AKIDAKIDAKIDAKIDAKID", "secretsecretsecretsecretsecretsecret")
BUCKET = "open-data"
ARCHIVE_KEYS = ArchiveKeys("access", "low-secret")
PATIENCE = ArchivePatience(again=0.01, longest=0.02, look=0.002, taken_in=20.0)
_numbers = count()


@dataclass
class Scene:
    """An empty storage, and where files to be written lie."""

    server: "Server"
    readable: Readable
    home: Path
    names: Iterator[int] = field(default_factory=count)

    @property
    def storage(self) -> Storage:
        """The same, which is written to."""
        return cast("Storage", self.readable)

    def put(self, path: str, data: bytes) -> None:
        """Have some bytes there, by a write or where it is only read from by other means."""
        if self.server.read_only:
            self.server.put(path, data)
        else:
            self.storage.write(path, self.content(data), Lease())

    def content(self, data: bytes) -> Content:
        """Stage some bytes."""
        file = self.home / f"staged-{next(self.names)}"
        file.write_bytes(data)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return Content(file, len(data), hashlib.sha256(data).hexdigest(), md5)


class Server:
    """Where the storages of one kind are made, as long as it is open."""

    read_only = False

    def storage(self, home: Path) -> Readable:
        """Make an empty one."""
        raise NotImplementedError

    def put(self, path: str, data: bytes) -> None:
        """Have some bytes in the last one, where it is only read from."""
        raise NotImplementedError


class Folders(Server):
    """Folders on this machine."""

    def storage(self, home: Path) -> Storage:
        return Folder(home / "store")


class Hosts(Server):
    """A web server that files are only read from."""

    read_only = True

    def __init__(self, server: FaultServer) -> None:
        self._server, self._run = server, ""

    def storage(self, home: Path) -> Readable:
        self._run = f"run-{next(_numbers)}"
        settings = SiteSettings(home=home, site="here", allow_networks="127.0.0.0/8")
        return Hosted(self._server.url(self._run), settings)

    def put(self, path: str, data: bytes) -> None:
        self._server.serve(f"{self._run}/{path}", data)


class Buckets(Server):
    """A server that speaks S3; each storage is a prefix of its own in one bucket."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def storage(self, _home: Path) -> Storage:
        place = Place(self.endpoint, BUCKET, f"run-{next(_numbers)}", "us-east-1")
        return Bucket(place, lambda: KEYS, AGENT)


class Items(Server):
    """The Archive; each storage has a prefix of its own."""

    def __init__(self, server: ArchiveServer) -> None:
        self.server = server

    def storage(self, _home: Path) -> Storage:
        return Archive(items_place(self.server), ARCHIVE_KEYS, AGENT, patience=PATIENCE)


class Drafts(Server):
    """Zenodo; each storage is a draft of its own."""

    def __init__(self, server: Zenodo) -> None:
        self._person, self._url, self.draft = Person(server), server.url, ""

    def storage(self, _home: Path) -> Storage:
        self.draft = self._person.create()
        return record(self._url, self.draft)


class Records(Drafts):
    """Zenodo's published records, which are only read from."""

    read_only = True

    def put(self, path: str, data: bytes) -> None:
        self._person.upload(self.draft, path, data)
        assert self._person.publish(self.draft).status_code == 202


def record(url: str, name: str, folder: str = "") -> Record:
    """A draft or record; nobody waits in earnest for a Zenodo that says so."""
    place = RecordsPlace(endpoint=url, record=name)
    patience = Patience(4000, sleep=lambda _: None)
    return Record(place, TOKEN, AGENT, folder=folder, patience=patience)


def items_place(server: ArchiveServer) -> ItemsPlace:
    """Where nobody has an item yet."""
    return ItemsPlace(endpoint=server.url, read=server.url, prefix=f"run{next(_numbers)}")


@contextlib.contextmanager
def folders(_home: Path) -> Iterator[Server]:
    yield Folders()


@contextlib.contextmanager
def hosts(_home: Path) -> Iterator[Server]:
    with FaultServer() as server:
        yield Hosts(server)


@contextlib.contextmanager
def rclone(home: Path) -> Iterator[Server]:
    """``rclone serve s3``: refuses a wrong Content-MD5 and a wrong secret."""
    (home / BUCKET).mkdir()
    port = _free_port()
    command = [str(Path(sys.executable).parent / "rclone"), "serve", "s3", str(home)]
    command += ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEYS.key_id},{KEYS.secret}"]
    with _process(command, home, port):
        yield Buckets(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def moto(home: Path) -> Iterator[Server]:
    """moto's server: conditional writes, and the tags that S3 gives."""
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with _process(command, home, port):
        httpx.put(f"http://127.0.0.1:{port}/{BUCKET}").raise_for_status()
        yield Buckets(f"http://127.0.0.1:{port}")


@contextlib.contextmanager
def strict(home: Path, strictness: Strictness = R2) -> Iterator[Server]:
    """Our own, which refuses what R2 or AWS refuse."""
    keys = {KEYS.key_id: Key(KEYS.secret)}
    with S3Server(home, [BUCKET], keys, strictness) as server:
        yield Buckets(server.url)


@contextlib.contextmanager
def aws(home: Path) -> Iterator[Server]:
    with strict(home, AWS) as server:
        yield server


@contextlib.contextmanager
def archive(home: Path, habits: Habits | None = None) -> Iterator[Server]:
    """The Archive; by its clock a second passes with each request."""
    keys = {ARCHIVE_KEYS.key: ARCHIVE_KEYS.secret}
    with ArchiveServer(home, keys, habits, lambda: 1_800_000_000.0 + len(server.log)) as server:
        yield Items(server)


@contextlib.contextmanager
def slow_archive(home: Path) -> Iterator[Server]:
    """The Archive, where what was sent is seen only some requests later."""
    with archive(home, Habits(task_seconds=5)) as server:
        yield server


@contextlib.contextmanager
def zenodo(home: Path, server: type[Drafts] = Drafts) -> Iterator[Server]:
    """Zenodo; by its clock a second passes with each request, so that its rates are kept."""
    with Zenodo(home, now=lambda: datetime.fromtimestamp(1_800_000_000 + len(run.log), UTC)) as run:
        yield server(run)


@contextlib.contextmanager
def zenodo_records(home: Path) -> Iterator[Server]:
    with zenodo(home, Records) as server:
        yield server


@contextlib.contextmanager
def source_cooperative(home: Path) -> Iterator[Server]:
    """Its proxy: no length in a HEAD, and ranges cut short."""
    with strict(home, replace(SOURCE_COOPERATIVE, listing_age=0.0)) as server:
        yield server


SERVERS = {
    "r2": strict,
    "aws": aws,
    "source.coop": source_cooperative,
    "folder": folders,
    "web": hosts,
    "rclone": rclone,
    "moto": moto,
    "archive": archive,
    "slow_archive": slow_archive,
    "zenodo": zenodo,
    "zenodo_records": zenodo_records,
}
READ_ONLY = {"web", "zenodo_records"}


@contextlib.contextmanager
def _process(command: list[str], home: Path, port: int) -> Iterator[None]:
    with (
        (home / "log.txt").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd=home) as process,
    ):
        try:
            eventually(lambda: _listens(port), f"{command[0]} listens")
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
