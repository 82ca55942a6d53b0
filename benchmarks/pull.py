"""One large file: Fleet's one pass beside curl, aria2 and a chain of tools.

What each must do: curl only fetches; aria2 fetches and then checks a sha256; the chain fetches
with aria2, then runs sha256sum and md5sum, then makes a hybrid torrent with libtorrent.  Fleet
fetches, verifies the sha256 and computes what else is named, all in one pass.  nginx serves the
file over loopback from memory, and all write to memory that was touched just before, once whatever
runs is ready.  A ratio is the peer's time by ours.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import peers
from benchmarks.contest import ROUNDS, Contest, missed, options, show
from benchmarks.engine import FOLDER, Engine, Task, item, order
from benchmarks.ground import MIB, ground, make_file, require, warm
from benchmarks.nginx import Nginx
from fleet.messages import Digest

SIZE = 2048  # MiB
FULL_SIZE = 4096
NAME = "big.bin"
DIGESTS: dict[str, tuple[Digest, ...]] = {
    "sha256": ("sha256",),
    "sha256 + pieces": ("sha256", "pieces"),
    "all digests": ("sha256", "md5", "pieces", "bep52"),
}
WANTED = {
    "vs_curl_only": (">=", 0.95),
    "vs_curl_default": (">=", 0.8),
    "vs_aria2_checksum": (">=", 2.0),
    "vs_chain": (">=", 2.5),
    "vs_curl_tls": (">=", 0.6),
    "vs_aria2_checksum_tls": (">=", 1.25),
    "peak_memory_mb": ("<=", 100),
}


@dataclass
class Ours:
    """Our engine as a contestant; it remembers the most memory that a pull took."""

    size: int
    sha256: str
    authority: Path
    peak_memory_mb: float = 0.0

    def run(self, url: str, digests: str, cores: int, folder: Path) -> float:
        """Pull the file once."""
        wanted = item(NAME, url, size=self.size, sha256=self.sha256)
        task = Task(
            order([wanted], DIGESTS[digests]),
            str(folder / "site"),
            cores=cores,
            authority=str(self.authority),
        )
        with Engine() as engine:
            warm(folder, self.size)
            report = engine.pull(task)
        if (folder / "site" / FOLDER / NAME).stat().st_size != self.size:
            raise RuntimeError("our pull left no whole file")
        self.peak_memory_mb = max(self.peak_memory_mb, report.peak_memory_mb)
        return report.seconds


def chain(url: str, size: int, folder: Path) -> float:
    """Fetch, hash twice and make a torrent, one after the other."""
    warm(folder, size)
    fetched = peers.timed(folder, peers.aria2(url, NAME), peers.sha256sum(NAME), peers.md5sum(NAME))
    return fetched + peers.hybrid_torrent(folder / NAME)


def fewer_cores() -> list[int]:
    """Choose the numbers of cores to pull with, besides all of them: 1, 2, 4 and so on."""
    cores = len(os.sched_getaffinity(0))
    return [1 << power for power in range(cores.bit_length()) if 1 << power < cores]


def enter(contest: Contest, server: Nginx, ours: Ours) -> None:
    """Let everyone into the contest, those to be compared one after the other."""
    url, tls_url = server.url(NAME), server.tls_url(NAME)
    sha256, trust = ours.sha256, ours.authority
    curl, aria2 = peers.curl, peers.aria2

    def peer(*commands: peers.Command) -> Callable[[Path], float]:
        def run(folder: Path) -> float:
            warm(folder, ours.size)
            return peers.timed(folder, *commands)

        return run

    contest.add("curl", peer(curl(url, NAME)))
    for digests in DIGESTS:
        contest.add(f"fleet {digests}", partial(ours.run, url, digests, 0))
    contest.add("aria2 with checksum", peer(aria2(url, NAME, sha256)))
    contest.add("chain", partial(chain, url, ours.size))
    contest.add("curl, TLS", peer(curl(tls_url, NAME, trust)))
    contest.add("fleet sha256, TLS", partial(ours.run, tls_url, "sha256", 0))
    contest.add("aria2 with checksum, TLS", peer(aria2(tls_url, NAME, sha256, trust)))
    for cores in fewer_cores():
        contest.add(f"fleet sha256, cores: {cores}", partial(ours.run, url, "sha256", cores))


def found(contest: Contest, ours: Ours) -> dict[str, object]:
    """Work out the figures."""
    speeds = {cores: f"fleet sha256, cores: {cores}" for cores in fewer_cores()} | {
        len(os.sched_getaffinity(0)): "fleet sha256"
    }
    return {
        "size_mb": round(ours.size / 1e6, 1),
        "vs_curl_only": contest.ratio("curl", "fleet sha256"),
        "vs_curl_default": contest.ratio("curl", "fleet sha256 + pieces"),
        "vs_aria2_checksum": contest.ratio("aria2 with checksum", "fleet sha256"),
        "vs_chain": contest.ratio("chain", "fleet all digests"),
        "vs_curl_tls": contest.ratio("curl, TLS", "fleet sha256, TLS"),
        "vs_aria2_checksum_tls": contest.ratio("aria2 with checksum, TLS", "fleet sha256, TLS"),
        "peak_memory_mb": round(ours.peak_memory_mb, 1),
        "mb_per_second_by_cores": {
            str(cores): round(ours.size / 1e6 / contest.median(name))
            for cores, name in speeds.items()
        },
        "seconds": contest.medians,
    }


def main() -> None:
    """Hold the contest and print what it found."""
    given = options(__doc__, f"MiB of the file ({SIZE})", full=f"{FULL_SIZE} MiB").parse_args()
    require("nginx", "openssl", "curl", "aria2c", "sha256sum", "md5sum")
    size = (given.size or (FULL_SIZE if given.full else SIZE)) * MIB
    with ground(2 * size) as folder:
        sha256 = make_file(folder / "www" / NAME, size)
        with Nginx(folder / "nginx", folder / "www", tls=True) as server:
            ours = Ours(size, sha256, server.certificate)
            contest = Contest(folder / "arena")
            enter(contest, server, ours)
            contest.hold(given.rounds or ROUNDS)
    result = found(contest, ours)
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
