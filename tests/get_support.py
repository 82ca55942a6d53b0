"""A signed catalogue, the mirrors that it names, and `fleet get` as it is run against them."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest

from fleet.blueprint import manifest
from fleet.catalogue.client import Fetcher, Home, Mirror
from fleet.catalogue.client import sync as client_sync
from fleet.catalogue.edition import Edition
from fleet.catalogue.entry import Artifact, Dataset, Entry, Shard
from fleet.catalogue.entry import Mirror as At
from fleet.cli import main as cli
from fleet.planning.reading import SEGMENTS
from fleet.planning.states import VersionState
from fleet.torrent.metainfo import magnet, torrent_bytes
from fleet.torrent.parsed import parse
from fleet.torrent.pieces import PieceHasher
from fleet.torrent.shard import shard_metainfo
from tests.cli_support import Ended
from tests.fault_server import FaultServer
from tests.signing_support import LOOPBACK, Office
from workers.pull import mirror

DATASET, LABEL = "census", "v1"
MANIFEST = "manifest.json"
SITES = ("amsterdam", "netcup", "toronto")
PIECE = 16 * 1024
NOW = datetime.now(UTC)
ENVIRONMENT = {
    "FLEET_ALLOW_NETWORKS": "127.0.0.0/8",
    "FLEET_STALL_SECONDS": "4",
    "COLUMNS": "200",
}
PEER: Any = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
}


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True)
class Made:
    """A version: its entry, the bytes of its files, and its torrents by infohash."""

    entry: Entry
    files: Mapping[str, bytes]
    torrents: Mapping[str, bytes]

    @property
    def infohash(self) -> str:
        """That of its first torrent."""
        return self.entry.shards[0].infohash


def made(
    files: Mapping[str, bytes],
    shards: Sequence[Sequence[str]] = (),
    peers: Sequence[tuple[str, int]] = (),
    trackers: Sequence[str] = (),
    label: str = LABEL,
) -> Made:
    """Make a version of files and their manifest; each of ``shards`` is a torrent of some."""
    listed = tuple(manifest.File(path, len(body), sha256(body)) for path, body in files.items())
    whole = manifest.write(manifest.Manifest(DATASET, label, listed))
    every = {**files, MANIFEST: whole}
    places: dict[str, tuple[int, int]] = {}
    told, torrents = [], {}
    for position, paths in enumerate(shards):
        hasher, at = PieceHasher(PIECE), 0
        for path in paths:
            places[path] = (position, at)
            hasher.update(every[path])
            at += len(every[path])
        sizes = [(path, len(every[path])) for path in paths]
        meta = shard_metainfo(DATASET, label, sizes, PIECE, hasher.finish())
        torrents[meta.infohash] = torrent_bytes(meta, trackers=trackers)
        link = magnet(meta, peers=peers, trackers=trackers)
        told.append(Shard(position, meta.infohash, meta.name, "", "", link))
    artifacts = tuple(
        Artifact(
            path,
            len(body),
            sha256(body),
            role="manifest" if path == MANIFEST else "data",
            shard=places.get(path, (None, None))[0],
            offset=places.get(path, (None, None))[1],
        )
        for path, body in sorted(every.items())
    )
    entry = Entry(label, 1, VersionState.PUBLISHED, NOW, artifacts, shards=tuple(told))
    return Made(entry, every, torrents)


@dataclass
class World:
    """A centre's folder and server, and the mirrors that a catalogue is to name."""

    folder: Path
    centre: FaultServer
    mirrors: dict[str, FaultServer]
    office: Office = field(init=False)

    def __post_init__(self) -> None:
        self.office = Office(self.folder / "office", now=NOW)

    @property
    def synced(self) -> Path:
        return self.folder / "catalogue"

    def serve(self, version: Made, *sites: str, fault: str = "none", **options: Any) -> None:
        """Have mirrors serve the files of a version."""
        for site in sites:
            for path, body in version.files.items():
                self.mirrors[site].serve(self.at(path), body, fault, **options)

    def at(self, path: str, label: str = LABEL) -> str:
        return f"{DATASET}/{label}/{path}"

    def lie(self, site: str, path: str, body: bytes) -> None:
        """Have a mirror serve a file of the same size with a wrong byte in each piece."""
        wrong = bytearray(body)
        wrong[::PIECE] = bytes(byte ^ 1 for byte in wrong[::PIECE])
        self.mirrors[site].serve(self.at(path), bytes(wrong))

    def tell(self, version: Made, *sites: str, **changes: Any) -> Made:
        """Have the catalogue say that these mirrors have it; sync it."""
        places = tuple(
            At(site, "node", self.mirrors[site].url(""), self.mirrors[site].url("") + self._below())
            for site in sites
        )
        shards = tuple(
            replace(one, torrent=self.centre.url(f"api/v1/torrents/{one.infohash}.torrent"))
            for one in version.entry.shards
        )
        entry = replace(version.entry, mirrors=places, shards=shards, **changes)
        self.publish(Dataset(DATASET, (entry,)))
        for infohash, torrent in version.torrents.items():
            self.centre.serve(f"api/v1/torrents/{infohash}.torrent", torrent)
        return replace(version, entry=entry)

    def publish(self, *datasets: Dataset, base: str = "") -> None:
        """Write the catalogue, sign it, and sync it."""
        pages = self.folder / "pages"
        base = base or self.centre.url("catalogue")
        edition = Edition(pages, self.folder / "memory", base, SITES)
        edition.put((one.id, one) for one in datasets)
        edition.write()
        for path in pages.rglob("files.parquet"):
            self.centre.serve(f"catalogue/{path.relative_to(pages)}", path.read_bytes())
        self.sign({"catalogue.parquet": (pages / "catalogue.parquet").read_bytes()})

    def sign(self, files: dict[str, bytes]) -> None:
        """Sign files as the catalogue, and sync them."""
        self.office.publish(files)
        mirror = Mirror.at(str(self.office.place))
        with Fetcher("DataFleet/test", LOOPBACK) as fetcher:
            client_sync(Home(self.synced), [mirror], self.office.trust, NOW, fetcher)

    @staticmethod
    def _below() -> str:
        return f"{DATASET}/{LABEL}{SEGMENTS}"


@dataclass(frozen=True)
class User:
    """Who downloads, into a folder."""

    world: World
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def words(self, *words: str) -> list[str]:
        catalogue = [] if "--from" in words else ["--from", str(self.world.synced)]
        return ["fleet", "get", *words, *catalogue, "--to", str(self.folder)]

    def get(self, *words: str) -> Ended:
        """Run the command as ``fleet`` would."""
        self.monkeypatch.setattr(sys, "argv", self.words(*words))
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ended(int(caught.value.code or 0), *self.capsys.readouterr())

    @contextmanager
    def process(self, *words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Run it as a process of its own, no longer than the test."""
        piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [sys.executable, "-m", *self.words(*words)]
        with subprocess.Popen(command, env=dict(os.environ), text=True, **piped) as process:
            try:
                yield process
            finally:
                process.kill()

    def files(self) -> dict[str, bytes]:
        """All that anybody could take for a file of the version."""
        if not self.folder.exists():
            return {}
        found = (path for path in self.folder.rglob("*") if path.is_file())
        named = ((path.relative_to(self.folder).as_posix(), path) for path in found)
        return {name: path.read_bytes() for name, path in named if not name.startswith(".")}


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A centre and three mirrors, which serve nothing yet."""
    with ExitStack() as stack:
        servers = [stack.enter_context(FaultServer()) for _ in range(len(SITES) + 1)]
        yield World(folder, servers[0], dict(zip(SITES, servers[1:], strict=True)))


@contextmanager
def peer(
    version: Made, infohash: str, folder: Path, *, lies: bool = False, rate: int = 0
) -> Iterator[str]:
    """A BitTorrent peer that has all of a torrent, or says so and sends all of it wrong.

    ``rate`` is how many bytes a second it sends at most; 0: any.
    """
    parsed = parse(version.torrents[infohash])
    for path, _ in parsed.content:
        inside = path if parsed.single else path.removeprefix(f"{DATASET}/{version.entry.label}/")
        body = next(body for name, body in version.files.items() if name.endswith(inside))
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bytes(byte ^ 0xFF for byte in body) if lies else body)
    session = lt.session(PEER)
    params = lt.load_torrent_buffer(version.torrents[infohash])
    params.save_path = str(folder)
    params.have_pieces = [True] * params.ti.num_pieces()
    params.flags |= lt.torrent_flags.no_verify_files | lt.torrent_flags.upload_mode
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    session.add_torrent(params).set_upload_limit(rate)
    yield f"127.0.0.1:{session.listen_port()}"
    del session


def downloading(
    there: World,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> User:
    """A user of that world, with nothing in the way of what is tested."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FLEET_HOME", str(folder / "home"))
    monkeypatch.setattr(mirror, "FIRST_WAIT", 0.01)
    return User(there, folder / "data", monkeypatch, capsys)
