"""What real clients do with our torrents: measured one by one, and written down as a table.

``python -m tests.torrent_clients`` measures every client and writes ``docs/torrent-clients.md``
anew; ``test_torrent_clients.py`` holds that file against the clients.

Rules this module keeps:

- A cell is ✓ only when every file of the torrent lies on disk under its own name, byte for byte.
- Each ✗ has a reason, and each reason a ✗.
- Nobody but this machine is asked: peers come from a tracker on loopback, web seeds from a server
  on loopback.
"""

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet.torrent.metainfo import torrent_bytes
from fleet.torrent.shard import web_seed
from tests.fault_server import FaultServer
from tests.seeder_support import PIECE, Centre, Process, Shard, running, site
from tests.torrent_drivers import CLIENTS, Client, Job, started

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "torrent-clients.md"
PATIENCE = 60.0  # seconds in which a download is done, however busy the machine
IMPATIENCE = 6.0  # seconds without a download where none is expected

SHAPES = {
    "lone file": {"raw/census_2021.bin": 60 * PIECE + 7},
    "bundle": {"a.bin": 20 * PIECE - 1, "raw/b.bin": 30 * PIECE + 1, "z": 100},
    "tiny files": {"a.bin": 20 * PIECE - 1, "empty": 0, "one": 1, "raw/b.bin": 3 * PIECE},
    "odd names": {"données/lot #1 (50%).csv": 20 * PIECE + 3, "données/b+c&d;e.csv": 9 * PIECE},
}
SOURCES = ("peer", "web", "both")
CELLS = tuple((shape, source) for shape in SHAPES for source in SOURCES)

Cell = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """What one version of a client did: ``done`` says of each cell whether it downloaded it."""

    version: str
    done: dict[Cell, bool]


_HEAD = """# What BitTorrent clients do with our torrents

Measured with real clients on one machine, each cell by a download of its own: from our seeder
alone (*peer*), from a web server alone (*web*, BEP 19), and from either (*both*). ✓: every file
lies on disk under its own name, byte for byte. ✗: it does not, for the reason that is numbered.
`python -m tests.torrent_clients` writes this file; the slow tests hold it against the clients.

- *lone file*: one file, not at the top of its dataset. *bundle*: several, whose pieces span files.
- *tiny files*: a bundle with an empty file and one of a single byte between larger ones.
- *odd names*: a bundle whose names have spaces, accents and signs that mean something in a URL.

| client | torrent | peer | web | both |
|---|---|---|---|---|
"""
# Why a cell is ✗; a ✗ without a reason here is a fault of this table.
REASONS: tuple[tuple[str, tuple[Cell, ...], str], ...] = (
    (
        "rtorrent",
        tuple((shape, "web") for shape in SHAPES),
        "It has no web seeds (BEP 19) and ignores `url-list`; a peer must be there.",
    ),
    (
        "Transmission",
        tuple(("tiny files", source) for source in SOURCES),
        "It says complete and every byte is there, but it makes no empty files.",
    ),
    (
        "aria2",
        (("tiny files", "web"), ("tiny files", "both")),
        "It asks the web server for the file of a single byte and then stops asking for anything.",
    ),
    (
        "WebTorrent",
        (("odd names", "web"),),
        "It sends names with accents unencoded, which no server understands; a peer helps.",
    ),
)
_TAIL = """
- Transmission 3.00 takes no loopback address from a tracker, so there our seeder dialled it.
- WebTorrent from 2 on needs a WebRTC binary that its installation fetches from outside npm, so the
  one measured is the last before.
- Of lone files and bundles with plain names, all clients get everything from a peer, and all but
  rtorrent from a web seed.
"""


def render(rows: dict[str, Row]) -> str:
    """Write the table.

    Raises:
        KeyError: there is a ✗ that no reason is known of.
    """
    lines = []
    for name, row in rows.items():
        for shape in SHAPES:
            marks = [_mark(name, row, (shape, source)) for source in SOURCES]
            lines.append(f"| {name} {row.version} | {shape} | {' | '.join(marks)} |")
    reasons = [f"{number}. {name}: {text}" for number, (name, _, text) in enumerate(REASONS, 1)]
    return _HEAD + "\n".join(lines) + "\n\n" + "\n".join(reasons) + "\n" + _TAIL


def _mark(name: str, row: Row, cell: Cell) -> str:
    return "✓" if row.done[cell] else f"✗ ({reason(name, cell)})"


def reason(name: str, cell: Cell) -> int:
    """The number of the reason why a client's cell is ✗.

    Raises:
        KeyError: none is known.
    """
    for number, (client, cells, _) in enumerate(REASONS, 1):
        if client == name and cell in cells:
            return number
    raise KeyError(f"{name} failed at {cell}: find out why, and add it to REASONS")


def committed() -> dict[str, Row]:
    """Read the table back from the document."""
    rows: dict[str, Row] = {}
    pattern = r"^\| (\w+) ([\d.]+) \| ([\w ]+) \| (.+) \|$"
    for name, version, shape, marks in re.findall(pattern, DOCUMENT.read_text(), re.MULTILINE):
        row = rows.setdefault(name, Row(version, {}))
        for source, mark in zip(SOURCES, marks.split(" | "), strict=True):
            row.done[shape, source] = mark == "✓"
    return rows


class Told(Centre):
    """A centre whose tracker notes that somebody announced."""

    def __init__(self) -> None:
        self.announced = threading.Event()
        super().__init__()

    def announce(self) -> bytes:
        self.announced.set()
        return super().announce()


class Stage:
    """A seeder with one shard of each shape, a tracker, and a web server with the same files."""

    def __init__(self, folder: Path, told: Told, web: FaultServer, seeder: Process) -> None:
        self.folder = folder
        self.told = told
        self.web = web
        self.seeder = seeder
        self.port: int = seeder.ready()["bittorrent"]
        self.shards = {
            shape: Shard(shape.replace(" ", "-"), files, trackers=(told.tracker,))
            for shape, files in SHAPES.items()
        }
        for shard in self.shards.values():
            shard.put(seeder.settings.store_root)
            for path, data in shard.files.items():
                web.serve(f"{shard.dataset}/v1/{path}", data)

    def download(self, client: Client, cell: Cell, patience: float) -> tuple[bool, str]:
        """Let a client download one shard; whether it did, and the end of what it printed."""
        shape, source = cell
        shard = self.shards[shape]
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            job = self._job(Path(name), shard, source)
            peer = source != "web"
            self._seed(shard if peer and not client.dialled else None)
            self.told.peers = [("127.0.0.1", job.port if client.dialled else self.port)]
            self.told.announced.clear()
            with started(client, job) as process:
                if peer and client.dialled:
                    # it hangs up on whoever comes before it has looked at its files
                    assert self.told.announced.wait(PATIENCE), f"{client.name} never announced"
                    self._seed(shard)
                done = _await(process, shard, Path(name) / "disk", patience)
            return done, (job.home / "output").read_text(errors="replace")[-2000:]

    def _seed(self, shard: Shard | None) -> None:
        self.told.want(*[shard] if shard else [])
        assert self.seeder.sync()["ok"]

    def _job(self, root: Path, shard: Shard, source: str) -> Job:
        job = Job(root / "one.torrent", root / "disk" / shard.folder, root / "home", free_port())
        job.into.mkdir(parents=True)
        job.home.mkdir()
        seed = web_seed(f"http://{self.web.netloc}", shard.folder, shard.meta)
        job.torrent.write_bytes(
            torrent_bytes(
                shard.meta,
                trackers=() if source == "web" else (self.told.tracker,),
                web_seeds=() if source == "peer" else (seed,),
            )
        )
        return job


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Everything that a client needs around it, in ``folder``."""
    told = Told()
    try:
        with FaultServer() as web, running(site(folder), told.url) as seeder:
            yield Stage(folder, told, web, seeder)
    finally:
        told.close()


def _await(process: subprocess.Popen[bytes], shard: Shard, disk: Path, patience: float) -> bool:
    """Wait until every byte is on disk, or the client has ended, or patience has."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if whole(shard, disk):
            return True
        if ended:
            return False
        time.sleep(0.05)
    return False


def whole(shard: Shard, disk: Path) -> bool:
    """Whether every byte is there, under its right name."""
    try:
        return shard.lies_in(disk)
    except OSError:
        return False


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def main() -> None:
    """Measure every client and write the document; each must be installed."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as around:
        for client in CLIENTS:
            if missing := client.missing():
                sys.exit(f"{client.name} {missing}")
            row = rows[client.name] = Row(client.version(), {})
            for cell in CELLS:
                row.done[cell], output = around.download(client, cell, PATIENCE)
                print(client.name, *cell, "✓" if row.done[cell] else f"✗\n{output}", flush=True)
    DOCUMENT.write_text(render(rows))


if __name__ == "__main__":
    main()
