"""A centre for one seeder, and a real seeder process to hold against it."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import queue
import runpy
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet.messages import Order, Outcome, Verdict
from fleet.settings import SiteSettings
from fleet.torrent.bencode import encode
from fleet.torrent.metainfo import Metainfo, torrent_bytes
from fleet.torrent.pieces import PieceHasher
from fleet.torrent.shard import save_folder, shard_metainfo
from workers.seeder import client

TOKEN = "a-site-token"
PIECE = 16 * 1024
PATIENCE = 20.0


def eventually(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Wait until ``condition`` holds, and return what it gave."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"in {patience} s, never: {what}")


def content(label: str, size: int) -> bytes:
    """Bytes that are the same at every run."""
    return hashlib.shake_128(label.encode()).digest(size)


def aria2(
    torrent: bytes, root: Path, folder: str, *options: str
) -> subprocess.CompletedProcess[bytes]:
    """Download a torrent with aria2, as a peer that keeps its data below ``root`` would."""
    into = root / folder
    into.mkdir(parents=True, exist_ok=True)
    (root / "aria2.torrent").write_bytes(torrent)
    command = ["aria2c", "--no-conf", "--enable-dht=false", "--seed-time=0", "--bt-stop-timeout=20"]
    return subprocess.run(
        [*command, *options, "--dir", str(into), str(root / "aria2.torrent")],
        capture_output=True,
        check=False,
        timeout=60,
    )


class Shard:
    """A shard's bytes, its torrent, and what a centre says of it."""

    def __init__(
        self,
        dataset: str,
        files: dict[str, int],
        trackers: tuple[str, ...] = (),
        web_seeds: tuple[str, ...] = ("http://127.0.0.1:9/dead/",),
    ) -> None:
        self.dataset = dataset
        self.files = {path: content(f"{dataset}/{path}", size) for path, size in files.items()}
        hasher = PieceHasher(PIECE)
        for data in self.files.values():
            hasher.update(data)
        sizes = [(path, len(data)) for path, data in self.files.items()]
        self.meta: Metainfo = shard_metainfo(dataset, "v1", sizes, PIECE, hasher.finish())
        self.folder = save_folder(dataset, "v1", self.meta, sizes[0][0])
        self.torrent = torrent_bytes(self.meta, trackers=trackers, web_seeds=web_seeds)

    @property
    def infohash(self) -> str:
        return self.meta.infohash

    def place(self, root: Path, path: str) -> Path:
        return root / self.dataset / "v1" / path

    def put(self, root: Path) -> None:
        """Lay the files out as a pull would have."""
        for path, data in self.files.items():
            place = self.place(root, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

    def lies_in(self, root: Path) -> bool:
        """Whether every byte is there."""
        return all(self.place(root, path).read_bytes() == data for path, data in self.files.items())

    def seed(self, **changes: Any) -> dict[str, Any]:
        return {
            "infohash": self.infohash,
            "shard": f"shard-of-{self.dataset}",
            "folder": self.folder,
            "name": self.meta.name,
            "size": self.meta.size,
        } | changes


class Centre:
    """A real HTTP server that plays the centre, and a tracker beside it."""

    def __init__(self) -> None:
        self.seeds: list[Any] = []
        self.caps: dict[str, Any] = {}
        self.torrents: dict[str, bytes] = {}
        self.raw: bytes | None = None
        self.asked: list[str] = []
        self.unchanged = 0
        self.reports: list[list[dict[str, Any]]] = []
        self.uploads: list[dict[str, Any]] = []
        self.peers: list[tuple[str, int]] = []
        self.orders: dict[str, Order] = {}
        self.outcomes: list[Outcome] = []
        self.reported: Callable[[], None] = lambda: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def tracker(self) -> str:
        return f"{self.url}/announce"

    def want(self, *shards: Shard) -> None:
        self.seeds = [shard.seed() for shard in shards]
        self.torrents |= {shard.infohash: shard.torrent for shard in shards}

    def last(self, infohash: str) -> dict[str, Any]:
        """What was last reported of a torrent."""
        for report in self.reports[-1] if self.reports else []:
            if report["infohash"] == infohash:
                return report
        return {}

    def close(self) -> None:
        """Go away; nothing happens the second time."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, etag: str) -> tuple[int, bytes, str]:
        """Answer a GET with a status, a body and an entity tag."""
        if path == "/api/v1/worker/seeds":
            if self.raw is not None:
                return 200, self.raw, ""
            desired = {"uploads": self.caps, "seeds": self.seeds}
            revision = hashlib.sha1(json.dumps(desired).encode()).hexdigest()
            if etag == f'"{revision}"':
                self.unchanged += 1
                return 304, b"", etag
            body = json.dumps({"revision": revision, **desired}).encode()
            return 200, body, f'"{revision}"'
        infohash = path.removeprefix("/api/v1/worker/seeds/").removesuffix(".torrent")
        if infohash in self.torrents:
            return 200, self.torrents[infohash], ""
        return 404, b"no such torrent", ""

    def take(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Take a POST; answer with a status and a body."""
        if path == "seeds/report":
            self.reports.append(json.loads(body))
        elif path == "uploads/report":
            self.uploads.append(json.loads(body))
        elif path.endswith("/claim"):
            return 200, self.orders[path.split("/")[1]].model_dump_json().encode()
        elif path.startswith("attempts/"):
            self.outcomes.append(Outcome.model_validate_json(body))
            self.reported()
            return 200, Verdict(applied=True, reason="").model_dump_json().encode()
        return 204, b""

    def announce(self) -> bytes:
        """Answer an announce with the known peers (BEP 23)."""
        compact = b"".join(
            bytes(map(int, host.split("."))) + port.to_bytes(2) for host, port in self.peers
        )
        return encode({b"interval": 60, b"peers": compact})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        centre = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/announce":
                    self._reply(200, centre.announce(), "")
                elif self.headers["Authorization"] != f"Bearer {TOKEN}":
                    self._reply(401, b"who are you?", "")
                else:
                    centre.asked.append(parts.path)
                    self._reply(*centre.answer(parts.path, self.headers["If-None-Match"] or ""))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._reply(*centre.take(self.path.removeprefix("/api/v1/worker/"), body), "")

            def _reply(self, status: int, body: bytes, etag: str) -> None:
                self.send_response(status)
                if etag:
                    self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


# Each is a fork of one process that has imported it, which takes longer than most tests.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["pytest", "workers.seeder.daemon", __name__])


def _main(env: dict[str, str], errors: Connection) -> None:
    """Do what ``python -m workers.seeder`` does, with this environment alone."""
    os.dup2(errors.fileno(), 2)
    errors.close()
    os.environ.clear()
    os.environ.update(env)
    runpy.run_module("workers.seeder", run_name="__main__")


class Process:
    """A running ``python -m workers.seeder``."""

    def __init__(self, settings: SiteSettings, centre_url: str, **more: str) -> None:
        self.settings = settings
        env = {
            "PATH": os.environ["PATH"],
            "FLEET_HOME": str(settings.home),
            "FLEET_SITE": settings.site,
            "FLEET_SITE_TOKEN": TOKEN,
            "FLEET_CENTRE_URL": centre_url,
            "FLEET_BITTORRENT": "127.0.0.1:0",
            "FLEET_DOOR": "127.0.0.1:0",
            "FLEET_SEEDS_SECONDS": "3600",
        } | more
        self._errors, errors = _forks.Pipe(duplex=False)
        self._process = _forks.Process(target=_main, args=(env, errors), daemon=True)
        self._process.start()
        errors.close()
        self.log: list[dict[str, Any]] = []
        self.noise: list[str] = []
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def ready(self) -> dict[str, Any]:
        return self.event("ready")

    def event(self, name: str) -> dict[str, Any]:
        """Wait for a line of the log."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for line in self.log:
                if line["event"] == name:
                    return line
            with contextlib.suppress(queue.Empty):
                if self._lines.get(timeout=0.1) is None:
                    break
        raise AssertionError(f"no {name!r} in {self.log} {self.noise}")

    def sync(self) -> dict[str, Any]:
        return client.nudge(self.settings)

    def status(self) -> dict[str, Any]:
        return client.status(self.settings)

    def torrent(self, infohash: str) -> dict[str, Any]:
        """What the seeder says of one torrent now."""
        torrents = {one["infohash"]: one for one in self.status()["torrents"]}
        found: dict[str, Any] = torrents.get(infohash, {})
        return found

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, if it still runs, and wait; the exit code."""
        if self._process.is_alive():
            os.kill(self._process.pid or 0, number)
        return self.ended()

    def ended(self) -> int:
        """Wait until it has ended by itself; the exit code."""
        self._process.join(PATIENCE)
        code = self._process.exitcode
        assert code is not None, f"it did not end in {PATIENCE} s"
        self._reader.join()
        return code

    def _read(self) -> None:
        with self._errors, open(self._errors.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    self.noise.append(line.decode())
                    continue
                self.log.append(event)
                self._lines.put(event)
        self._lines.put(None)


@contextlib.contextmanager
def running(settings: SiteSettings, centre_url: str, **more: str) -> Iterator[Process]:
    """A seeder that is ready, and is gone afterwards."""
    process = Process(settings, centre_url, **more)
    try:
        process.ready()
        yield process
    finally:
        process.end(signal.SIGKILL)


def site(tmp_path: Path) -> SiteSettings:
    """Settings of a site below ``tmp_path``, as the process will see them."""
    return SiteSettings(home=tmp_path / "h", site="s1", site_token=TOKEN)
