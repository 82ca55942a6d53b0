"""A web seed that misbehaves beside our seeder: the download completes, and no lie is kept.

Each time the bad web seed is asked first, and only then does the client hear of the seeder.
"""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest

from fleet.torrent.metainfo import torrent_bytes
from fleet.torrent.shard import web_seed
from tests.fault_server import FaultServer
from tests.seeder_support import PIECE, Centre, Process, Shard, eventually, running, site

FAULTS: dict[str, tuple[str, dict[str, Any]]] = {
    "404": ("status", {"code": 404}),
    "403": ("status", {"code": 403}),
    "429": ("status", {"code": 429, "headers": {"Retry_After": "1"}}),
    "503": ("status", {"code": 503, "headers": {"Retry_After": "1"}}),
    "redirect": ("redirect", {}),
    "truncating ranges": ("short_ranges", {"most": 1000}),
    "cut": ("truncated", {"cuts": (1000,)}),
    "no ranges": ("no_ranges", {}),
    "wrong bytes": ("wrong_bytes", {}),
    "stall": ("stalling", {"after": 1000}),
}
_SETTINGS: Any = {
    "listen_interfaces": "127.0.0.1:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True,
    # the liar has the seeder's address here
    "ban_web_seeds": False,
    "alert_mask": int(lt.alert.category_t.status_notification)
    | int(lt.alert.category_t.error_notification)
    | int(lt.alert.category_t.peer_notification),
}
aria2_is_there = pytest.mark.skipif(
    not shutil.which("aria2c"), reason="needs aria2c (Debian package aria2)"
)


@dataclass
class Scene:
    """A shard, its healthy seeder, and the web server that is at fault."""

    told: Centre
    seeder: Process
    web: FaultServer
    shard: Shard

    def torrent(self, fault: str) -> bytes:
        """The torrent, with a web seed at fault and the tracker."""
        kind, options = FAULTS[fault]
        self.web.serve(self.path, self.shard.files["a.bin"], kind, **options)
        seed = web_seed(f"http://{self.web.netloc}", self.shard.folder, self.shard.meta)
        return torrent_bytes(self.shard.meta, trackers=(self.told.tracker,), web_seeds=(seed,))

    @property
    def path(self) -> str:
        return f"{self.shard.dataset}/v1/a.bin"

    @property
    def peer(self) -> tuple[str, int]:
        return "127.0.0.1", self.seeder.ready()["bittorrent"]

    def asked(self) -> bool:
        return bool(self.web.asked(self.path))


@pytest.fixture(scope="module")
def seeding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Centre, Process, Shard]]:
    told = Centre()
    shard = Shard("lone", {"a.bin": 60 * PIECE + 7})
    settings = site(tmp_path_factory.mktemp("seeder"))
    shard.put(settings.store_root)
    told.want(shard)
    try:
        with running(settings, told.url) as seeder:
            assert seeder.sync()["seeding"] == 1
            yield told, seeder, shard
    finally:
        told.close()


@pytest.fixture
def scene(seeding: tuple[Centre, Process, Shard], server: FaultServer) -> Scene:
    told, seeder, shard = seeding
    told.peers = []
    return Scene(told, seeder, server, shard)


class Leecher:
    """libtorrent downloading one torrent, and what it complained of."""

    def __init__(self, torrent: bytes, folder: Path) -> None:
        self._session = lt.session(_SETTINGS)
        params = lt.load_torrent_buffer(torrent)
        params.save_path = str(folder)
        params.trackers = []
        held_back = lt.torrent_flags.auto_managed | lt.torrent_flags.paused
        params.flags &= ~held_back
        self.handle = self._session.add_torrent(params)
        self.complaints: list[str] = []

    def heard(self, words: str) -> bool:
        """Whether it has complained of its web seed, or of a piece, in such words."""
        for alert in self._session.pop_alerts():
            if isinstance(alert, lt.url_seed_alert):
                self.complaints.append(alert.error_message())
            if isinstance(alert, lt.hash_failed_alert):
                self.complaints.append(alert.message())
        return any(words in complaint for complaint in self.complaints)

    def done(self) -> bool:
        return bool(self.handle.status().is_seeding)

    def end(self) -> list[bool]:
        """End, with everything on disk; which pieces it takes for verified."""
        verified = list(self.handle.status().pieces)
        del self.handle, self._session
        return verified


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.slow
def test_libtorrent_completes_from_the_seeder(fault: str, scene: Scene, tmp_path: Path) -> None:
    into = tmp_path / scene.shard.folder
    leecher = Leecher(scene.torrent(fault), into)
    eventually(scene.asked, "the web seed is asked")
    leecher.handle.connect_peer(scene.peer)
    eventually(leecher.done, "the download completes")
    leecher.end()
    assert scene.shard.lies_in(tmp_path)


@pytest.mark.slow
@aria2_is_there
@pytest.mark.parametrize("fault", FAULTS)
def test_aria2_completes_from_the_seeder(fault: str, scene: Scene, tmp_path: Path) -> None:
    with aria2(scene.torrent(fault), tmp_path, scene.shard.folder) as process:
        eventually(scene.asked, "the web seed is asked")
        scene.told.peers = [scene.peer]
        assert process.wait(60) == 0
    assert scene.shard.lies_in(tmp_path)


def test_libtorrent_verifies_no_piece_of_a_lie_and_says_so(scene: Scene, tmp_path: Path) -> None:
    into = tmp_path / scene.shard.folder
    leecher = Leecher(scene.torrent("wrong bytes"), into)
    eventually(lambda: leecher.heard("hash for piece"), "it complains of the hash")
    assert not leecher.done()
    verified = leecher.end()
    assert not all(verified)
    data = scene.shard.files["a.bin"]
    on_disk = scene.shard.place(tmp_path, "a.bin").read_bytes()
    for index, one in enumerate(verified):
        if one:
            piece = slice(index * PIECE, (index + 1) * PIECE)
            assert on_disk[piece] == data[piece], index


@pytest.mark.parametrize("status", ["404", "403", "429", "503"])
def test_libtorrent_names_the_status_of_a_web_seed(
    status: str, scene: Scene, tmp_path: Path
) -> None:
    leecher = Leecher(scene.torrent(status), tmp_path)
    eventually(lambda: leecher.heard(status), "it names the status")
    assert not any(leecher.end())


@pytest.mark.slow
@aria2_is_there
def test_aria2_alone_with_a_lie_does_not_say_that_it_is_done(scene: Scene, tmp_path: Path) -> None:
    with aria2(scene.torrent("wrong bytes"), tmp_path, scene.shard.folder, "3") as process:
        assert process.wait(60) != 0
    assert scene.asked()
    assert scene.shard.place(tmp_path, "a.bin.aria2").exists()


@contextlib.contextmanager
def aria2(
    torrent: bytes, root: Path, folder: str, stop: str = "0"
) -> Iterator[subprocess.Popen[bytes]]:
    """Run aria2 on a torrent; it ends by itself after ``stop`` seconds without a byte."""
    into = root / folder
    into.mkdir(parents=True, exist_ok=True)
    (root / "one.torrent").write_bytes(torrent)
    words = ["aria2c", "--no-conf", "--quiet", "--enable-dht=false", "--enable-dht6=false"]
    words += ["--enable-peer-exchange=false", "--bt-tracker-interval=1", "--seed-time=0"]
    words += ["--timeout=2", f"--bt-stop-timeout={stop}", f"--dir={into}"]
    with subprocess.Popen([*words, str(root / "one.torrent")]) as process:
        try:
            yield process
        finally:
            process.kill()
