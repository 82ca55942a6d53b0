"""One node's seeder with 10,000 torrents: applying them, what they cost, and a restart.

A centre that answers from memory desires ever so many torrents of one file each (sparse, so that
nothing is stored); a real seeder process fetches them all and seeds.  Then it rests, is killed,
and is started again.  What it reads is what the kernel counts (``/proc/PID/io``): a seeder that
hashed at its start would read every byte.
"""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from benchmarks.contest import missed, options, show
from benchmarks.engine import HOME
from benchmarks.ground import DISK, MIB, say, scratch
from fleet.messages import DesiredSeeds, Seed
from fleet.settings import SiteSettings
from fleet.torrent.metainfo import Metainfo, torrent_bytes
from workers.seeder import client

TORRENTS = 10_000
FILE_BYTES = MIB
PIECE_LENGTH = 256 * 1024
IDLE_SECONDS = 10.0
PATIENCE = 300.0
LOOK_SECONDS = 0.05
TOKEN = "benchmark"  # noqa: S105 - the centre below asks for none
WANTED = {
    "apply_seconds": ("<=", 60.0),
    "restart_share_read": ("<=", 0.01),
    "seeding": (">=", TORRENTS),
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a seeder that was killed while it asked."""


@dataclass
class Centre:
    """What a seeder asks of its centre, answered from memory; use it as a context manager."""

    seeds: list[Seed] = field(default_factory=list)
    torrents: dict[str, bytes] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Listen."""
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def desire(self, root: Path, count: int) -> None:
        """Desire so many torrents, and put their files below ``root``."""
        piece = hashlib.sha1(bytes(PIECE_LENGTH), usedforsecurity=False).digest()
        pieces = piece * (FILE_BYTES // PIECE_LENGTH)
        for number in range(count):
            name, folder = f"tile-{number:06}.tif", f"set-{number // 1000}/v1"
            meta = Metainfo(name, ((name, FILE_BYTES),), PIECE_LENGTH, pieces)
            place = root / folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                file.truncate(FILE_BYTES)
            self.torrents[meta.infohash] = torrent_bytes(meta)
            self.seeds.append(
                Seed(
                    infohash=meta.infohash,
                    shard=f"shard-{number}",
                    folder=folder,
                    name=name,
                    size=FILE_BYTES,
                )
            )

    def answer(self, path: str, etag: str) -> tuple[int, bytes, str]:
        """Answer a GET with a status, a body and an entity tag."""
        name = path.rpartition("/")[2]
        if name == "seeds":
            revision = f'"{len(self.seeds)}"'
            if etag == revision:
                return 304, b"", etag
            body = DesiredSeeds(revision=revision, seeds=tuple(self.seeds)).model_dump_json()
            return 200, body.encode(), revision
        return 200, self.torrents[name.removesuffix(".torrent")], ""


def _handler(centre: Centre) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._reply(*centre.answer(self.path, self.headers["If-None-Match"] or ""))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._reply(204, b"", "")

        def _reply(self, status: int, body: bytes, etag: str) -> None:
            self.send_response(status)
            if etag:
                self.send_header("ETag", etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


@dataclass(frozen=True)
class Running:
    """A seeder process."""

    pid: int
    settings: SiteSettings

    def until_seeding(self, count: int) -> float:
        """Wait until it seeds so many torrents, and say at what moment it did."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            answer = client.nudge(self.settings)
            if answer["ok"] and answer["seeding"] >= count:
                return time.monotonic()
            time.sleep(LOOK_SECONDS)
        raise RuntimeError(f"after {PATIENCE:.0f} s it does not seed {count} torrents")

    @property
    def memory(self) -> int:
        """Bytes of memory that it holds now."""
        return _number(self.pid, "status", "VmRSS") * 1024

    @property
    def bytes_read(self) -> int:
        """Bytes that it has read, from files and sockets, since it was started."""
        return _number(self.pid, "io", "rchar")

    @property
    def processor_seconds(self) -> float:
        """Seconds that it has used of a processor."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2]
        used = sum(int(one) for one in fields.split()[11:13])
        return used / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(settings: SiteSettings, centre_url: str) -> Iterator[Running]:
    """Run a seeder; in the end it is killed."""
    environment = {
        "PATH": os.environ["PATH"],
        "FLEET_HOME": str(settings.home),
        "FLEET_SITE": settings.site,
        "FLEET_SITE_TOKEN": TOKEN,
        "FLEET_CENTRE_URL": centre_url,
        "FLEET_BITTORRENT": "127.0.0.1:0",
    }
    command = [sys.executable, "-m", "workers.seeder"]
    with subprocess.Popen(command, cwd=HOME, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield Running(process.pid, settings)
        finally:
            process.kill()


def measure(folder: Path, count: int) -> dict[str, object]:
    """Start a seeder with nothing to do, let it seed, let it rest, and start it again."""
    settings = SiteSettings(home=folder, site="bench", site_token=TOKEN)
    with Centre() as centre:
        with running(settings, centre.url) as seeder:
            seeder.until_seeding(0)
            empty = seeder.memory
            say(f"making {count} torrents")
            centre.desire(settings.store_root, count)
            began = time.monotonic()
            applied = seeder.until_seeding(count) - began
            say(f"applied in {applied:.1f} s")
            memory = seeder.memory - empty
            used, since = seeder.processor_seconds, time.monotonic()
            time.sleep(IDLE_SECONDS)
            idle = (seeder.processor_seconds - used) / (time.monotonic() - since)
        began = time.monotonic()
        with running(settings, centre.url) as seeder:
            restarted = seeder.until_seeding(count) - began
            read = seeder.bytes_read
    return {
        "seeding": count,
        "apply_seconds": round(applied, 2),
        "memory_kib_per_torrent": round(memory / 1024 / count, 1),
        "idle_processor_share": round(idle, 4),
        "restart_seconds": round(restarted, 2),
        "restart_mb_read": round(read / 1e6, 1),
        "restart_share_read": round(read / (count * FILE_BYTES), 5),
    }


def main() -> None:
    """Measure, and print what was found."""
    given = options(__doc__, f"torrents ({TORRENTS})").parse_args()
    with scratch(DISK) as folder:
        result = measure(folder, given.size or TORRENTS)
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


def _number(pid: int, table: str, name: str) -> int:
    for line in Path(f"/proc/{pid}/{table}").read_text(encoding="ascii").splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise RuntimeError(f"/proc/{pid}/{table} has no {name}")


if __name__ == "__main__":
    main()
