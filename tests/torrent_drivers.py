"""Real BitTorrent clients: how each is told to download one torrent and to ask nobody else.

DHT, local discovery, peer exchange and port mapping are off.  A client runs in a folder and a
process group of its own, and the whole group is ended.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

WEBTORRENT = Path(__file__).resolve().parent / "webtorrent"


@dataclass(frozen=True)
class Job:
    """One download: the torrent, where to, the client's own folder, a free port."""

    torrent: Path
    into: Path
    home: Path
    port: int


def _nothing() -> str:
    return ""


@dataclass(frozen=True)
class Client:
    """One client, and how it is told to download.

    ``prepare`` makes ready what its package does not bring, and says why that failed.
    ``dialled``: it takes no loopback address from a tracker, so the seeder must dial it.
    """

    name: str
    program: str
    package: str
    ask_version: tuple[str, ...]
    command: Callable[[Job], list[str]]
    prepare: Callable[[], str] = _nothing
    dialled: bool = False

    def version(self) -> str:
        """The version that is installed."""
        asked = subprocess.run(
            self.ask_version, capture_output=True, text=True, timeout=20, check=False
        )
        found = re.search(r"\d+(\.\d+)+", asked.stdout + asked.stderr)
        assert found, asked
        return found[0]

    def missing(self) -> str:
        """Why it cannot run here; empty if it can."""
        if not shutil.which(self.program):
            return f"needs {self.program} (Debian package {self.package})"
        return self.prepare()


@contextlib.contextmanager
def started(client: Client, job: Job) -> Iterator[subprocess.Popen[bytes]]:
    """Run a client, its output in its own folder, and end all of it."""
    env = {"PATH": os.environ["PATH"], "HOME": str(job.home), "LANG": "C.UTF-8", "TERM": "dumb"}
    with (job.home / "output").open("wb") as output:
        process = subprocess.Popen(
            client.command(job),
            env=env,
            cwd=job.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _aria2(job: Job) -> list[str]:
    words = ["aria2c", "--no-conf", "--enable-dht=false", "--enable-dht6=false", "--seed-time=0"]
    words += ["--enable-peer-exchange=false", "--bt-enable-lpd=false", "--interface=127.0.0.1"]
    words += [f"--listen-port={job.port}", f"--dir={job.into}", str(job.torrent)]
    return words


def _transmission(job: Job) -> list[str]:
    (job.home / "settings.json").write_text(
        '{"bind-address-ipv4": "127.0.0.1", "bind-address-ipv6": "::1", "dht-enabled": false,'
        ' "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false}'
    )
    words = ["transmission-cli", "--no-portmap", "--config-dir", str(job.home)]
    words += ["--port", str(job.port), "--download-dir", str(job.into), str(job.torrent)]
    return words


def _qbittorrent(job: Job) -> list[str]:
    folder = job.home / "qBittorrent" / "config"
    folder.mkdir(parents=True)
    (folder / "qBittorrent.conf").write_text(
        "[LegalNotice]\nAccepted=true\n"
        "[BitTorrent]\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\n"
        "Session\\PeXEnabled=false\nSession\\Interface=lo\n"
        "Session\\InterfaceAddress=127.0.0.1\n"
        f"Session\\Port={job.port}\n"
        "[Network]\nPortForwardingEnabled=false\n"
        "[Preferences]\nWebUI\\Enabled=false\n"
    )
    words = ["qbittorrent-nox", f"--profile={job.home}", f"--save-path={job.into}"]
    words += ["--skip-dialog=true", "--add-paused=false", str(job.torrent)]
    return words


def _rtorrent(job: Job) -> list[str]:
    config = job.home / "rtorrent.rc"
    config.write_text(
        "system.daemon.set = true\n"
        "network.bind_address.set = 127.0.0.1\n"
        f"network.port_range.set = {job.port}-{job.port}\n"
        "dht.mode.set = disable\nprotocol.pex.set = no\ntrackers.use_udp.set = no\n"
        f"session.path.set = {job.home}\n"
        f"directory.default.set = {job.into}\n"
        f"schedule2 = once, 0, 0, ((load.start, {job.torrent}))\n"
    )
    return ["rtorrent", "-n", "-o", f"import={config}"]


@functools.cache
def _webtorrent_folder() -> tempfile.TemporaryDirectory[str]:
    """Install the pinned WebTorrent and all it needs, by their hashes, until this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="fleet-webtorrent-")
    for file in WEBTORRENT.iterdir():
        shutil.copy(file, folder.name)
    words = ["npm", "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(words, cwd=folder.name, check=True, capture_output=True, timeout=300)
    return folder


def _webtorrent(job: Job) -> list[str]:
    script = Path(_webtorrent_folder().name) / "download.js"
    return ["node", str(script), str(job.torrent), str(job.into)]


def _webtorrent_missing() -> str:
    try:
        _webtorrent_folder()
    except subprocess.CalledProcessError as error:
        return f"npm cannot install WebTorrent: {error.stderr.decode().strip()[-300:]}"
    return ""


CLIENTS = (
    Client("aria2", "aria2c", "aria2", ("aria2c", "--version"), _aria2),
    Client(
        "Transmission",
        "transmission-cli",
        "transmission-cli",
        ("transmission-cli", "--version"),
        _transmission,
        dialled=True,
    ),
    Client(
        "qBittorrent",
        "qbittorrent-nox",
        "qbittorrent-nox",
        ("qbittorrent-nox", "--version"),
        _qbittorrent,
    ),
    Client("rtorrent", "rtorrent", "rtorrent", ("rtorrent", "-h"), _rtorrent),
    Client(
        "WebTorrent",
        "npm",
        "npm",
        ("node", "-p", f"require({str(WEBTORRENT / 'package.json')!r}).dependencies.webtorrent"),
        _webtorrent,
        prepare=_webtorrent_missing,
    ),
)
