"""The peers as contestants: commands that are run and timed whole, each set up to be fast."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import libtorrent

from fleet.torrent.pieces import piece_length

Command = Sequence[str]
MANY = 32  # transfers side by side of curl and rclone, when files are small
ARIA2_MANY = 16  # the most that pays for aria2


def timed(folder: Path, *commands: Command) -> float:
    """Run commands one after the other in ``folder``; return the seconds they took in all.

    Raises:
        RuntimeError: one failed; the message has what it said.
    """
    started = time.perf_counter()
    for command in commands:
        done = subprocess.run(
            command, cwd=folder, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise RuntimeError(f"{command[0]} failed with {done.returncode}: {said[-500:]}")
    return time.perf_counter() - started


def curl(url: str, name: str, authority: Path | None = None) -> Command:
    """Fetch one file; nothing is verified."""
    trust = [] if authority is None else ["--cacert", str(authority)]
    return ["curl", "--silent", "--show-error", "--fail", *trust, "--output", name, url]


def aria2(url: str, name: str, sha256: str = "", authority: Path | None = None) -> Command:
    """Fetch one file on four connections; with ``sha256`` it is checked when all has come."""
    check = [f"--checksum=sha-256={sha256}"] if sha256 else []
    trust = [] if authority is None else [f"--ca-certificate={authority}"]
    return [
        *_aria2(),
        "--split=4",
        "--max-connection-per-server=4",
        *check,
        *trust,
        f"--out={name}",
        url,
    ]


def sha256sum(name: str) -> Command:
    """Hash one file."""
    return ["sha256sum", name]


def md5sum(name: str) -> Command:
    """Hash one file."""
    return ["md5sum", name]


def hybrid_torrent(path: Path) -> float:
    """Make a torrent of v1 pieces and v2 trees with libtorrent; return the seconds it took."""
    started = time.perf_counter()
    files = libtorrent.list_files(str(path))
    torrent = libtorrent.create_torrent(files, piece_length(path.stat().st_size))
    libtorrent.set_piece_hashes(torrent, str(path.parent))
    libtorrent.bencode(torrent.generate())
    return time.perf_counter() - started


def curl_many(config: Path) -> Command:
    """Fetch the files that ``config`` lists; see ``curl_config``."""
    many = ["--parallel", "--parallel-immediate", "--parallel-max", str(MANY)]
    return ["curl", "--silent", "--show-error", "--fail", *many, "--config", str(config)]


def curl_config(urls: Sequence[str], names: Sequence[str]) -> str:
    """List files for curl."""
    return "".join(
        f'url = "{url}"\noutput = "{name}"\n' for url, name in zip(urls, names, strict=True)
    )


def aria2_many(listed: Path) -> Command:
    """Fetch the files that ``listed`` lists; see ``aria2_list``."""
    return [*_aria2(), f"--max-concurrent-downloads={ARIA2_MANY}", f"--input-file={listed}"]


def aria2_list(urls: Sequence[str], names: Sequence[str]) -> str:
    """List files for aria2."""
    return "".join(f"{url}\n  out={name}\n" for url, name in zip(urls, names, strict=True))


def rclone_many(base: str) -> Command:
    """Fetch all that the server lists below ``base``."""
    quiet = ["--config", "/dev/null", "--log-level", "ERROR"]
    many = ["--transfers", str(MANY), "--checkers", str(MANY)]
    return ["rclone", "copy", *quiet, *many, "--http-url", base, ":http:", "."]


def sha256sum_check(sums: Path) -> Command:
    """Hash all files that ``sums`` lists, and compare."""
    return ["sha256sum", "--check", "--quiet", "--strict", str(sums)]


def sync(folder: Path) -> Command:
    """Make all that lies on the file system of ``folder`` durable."""
    return ["sync", "--file-system", str(folder)]


def _aria2() -> list[str]:
    return [
        "aria2c",
        "--no-conf",
        "--quiet",
        "--file-allocation=none",
        "--allow-overwrite=true",
        "--auto-file-renaming=false",
    ]
