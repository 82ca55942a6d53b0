"""The demo's story, step by step, each timed: sample, start, mirror, re-hash, seed, download."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from fleet.blueprint import manifest
from fleet.cli import mirroring
from fleet.cli.demo.origins import write_list
from fleet.cli.demo.sample import SampleFile, make_sample
from fleet.cli.tree import Tree, answers
from fleet.control import mirror, progress, seeds, torrents
from fleet.messages import Seed
from fleet.store.database import Store

DATASET = "ca_statcan-2021A000011124_census-sample_2021"
_STEP_SECONDS = 120.0


class Failed(Exception):
    """The demo did not prove what it set out to prove."""


@dataclass(frozen=True)
class Download:
    """What came of downloading everything once through BitTorrent."""

    torrents: int
    bytes_from_peers: int
    bytes_from_web_seeds: int


class Story:
    """Carries the demo out and remembers what it saw."""

    def __init__(self, home: Path, store: Store, tree: Tree, console: Console) -> None:
        """Prepare the sample, so that its origins can be started."""
        self.home, self.store, self.tree, self.console = home, store, tree, console
        self.sample_folder = home / "origin"
        self.port_file = home / "origins.json"
        self.times: dict[str, float] = {}
        self.infohashes: list[str] = []
        self.verified = 0
        self.finished = False
        self.began = time.monotonic()
        with self._step("make the sample"):
            self.sample: list[SampleFile] = make_sample(self.sample_folder)

    def tell(self, stop: threading.Event) -> None:
        """Carry out every step.

        Raises:
            Failed: something is not as it must be.
        """
        with self._step("start the fleet"):
            self._await(stop, "the origins", self.port_file.exists)
            self._await(stop, "the server", lambda: answers(self.tree.page_url))
        with self._step("mirror"):
            self.origins = json.loads(self.port_file.read_text())
            self._mirror()
        with self._step("re-hash every replica on disk"):
            self.verified = self._rehash()
        with self._step("seed"):
            self.seeds = self._seeds()
            self._await(stop, "the seeders", self._all_seeding)
        with self._step("download through BitTorrent, from peers alone"):
            self.download = self._download()
        self.finished = True

    def result(self) -> dict[str, Any]:
        """Return what a program wants to know."""
        return {
            "artifacts": len(self.sample),
            "bytes": self.bytes,
            "sites": len(self.tree.sites),
            "replicas_available": self.done.replicas_available,
            "replicas_verified": self.verified,
            "origin_bytes_ratio": round(self.origin_bytes / self.bytes, 4),
            "infohashes": [seed.infohash for seed in self.seeds],
            "bittorrent_download_ok": True,
            "bittorrent_bytes_from_web_seeds": self.download.bytes_from_web_seeds,
            "seconds": round(sum(self.times.values()), 2),
            "steps": {name: round(seconds, 2) for name, seconds in self.times.items()},
        }

    @property
    def bytes(self) -> int:
        """The size of the sample."""
        return sum(file.size for file in self.sample)

    def _mirror(self) -> None:
        listing = self.home / "census-sample.txt"
        write_list(self.sample_folder, self.origins["a"], self.origins["b"], listing)
        mirrored = mirror.mirror_dataset(self.store, str(listing), dataset=DATASET)
        self.version = mirrored
        quiet = not self.console.is_terminal
        self.done = mirroring.wait(mirrored.version, quiet=quiet, store=self.store)
        if not self.done.complete:
            raise Failed(f"not everything was mirrored: {self._why()}")
        self.origin_bytes = sum(
            httpx.get(f"{url}/_counters", trust_env=False).json()["bytes"]
            for url in self.origins.values()
        )

    def _why(self) -> str:
        with self.store.read() as session:
            done = progress.of(session, self.version.version)
        return (
            f"{done.known} of {done.artifacts} files, {done.replicas_available} of "
            f"{done.replicas_wanted} copies, {done.excluded} files excluded, "
            f"{done.suspended} transfers suspended"
        )

    def _rehash(self) -> int:
        """Hash every file at every site, against the sample and not the database."""
        for site in self.tree.sites:
            root = self.home / "sites" / site / "data" / DATASET / self.version.label
            there = {path for path in root.rglob("*") if path.is_file()}
            for file in self.sample:
                path = root / file.path
                if path not in there:
                    raise Failed(f"{site} lacks {file.path}")
                if _sha256(path) != file.sha256:
                    raise Failed(f"{site} holds other bytes as {file.path}")
            if len(there) != len(self.sample) + 1:
                raise Failed(f"{site} holds {len(there)} files, not {len(self.sample)} and one")
            listed = manifest.parse((root / "manifest.json").read_bytes()).files
            if {(one.path, one.sha256) for one in listed} != self._proved():
                raise Failed(f"the manifest at {site} does not list the sample")
        return self.done.replicas_available

    def _proved(self) -> set[tuple[str, str]]:
        return {(file.path, file.sha256) for file in self.sample}

    def _seeds(self) -> tuple[Seed, ...]:
        lists = [seeds.desired(self.store, site).seeds for site in self.tree.sites]
        torrents_of = [{seed.infohash for seed in one} for one in lists]
        if any(one != torrents_of[0] for one in torrents_of):
            raise Failed("the sites shall not all seed the same torrents")
        return lists[0]

    def _all_seeding(self) -> bool:
        wanted = {(site, seed.infohash) for site in self.tree.sites for seed in self.seeds}
        return wanted <= seeds.seeding(self.store)

    def _download(self) -> Download:
        from workers.seeder.fetch import fetch

        wanted = {file.path: file for file in self.sample}
        peers_bytes = web_bytes = 0
        folder = self.home / "download"
        for seed in self.seeds:
            url = f"{self.tree.page_url}api/v1/torrents/{seed.infohash}.torrent"
            torrent = httpx.get(url, trust_env=False).raise_for_status().content
            with self.store.read() as session:
                _meta, _web, peers = torrents.torrent_of(session, seed.infohash)
            report = fetch(torrent, folder / seed.folder, peers, timeout=_STEP_SECONDS)
            if not report.ok:
                raise Failed(f"the download of {seed.name} through BitTorrent: {report.reason}")
            peers_bytes += report.bytes_from_peers
            web_bytes += report.bytes_from_web_seeds
        root = folder / DATASET / self.version.label
        for path, file in wanted.items():
            if _sha256(root / path) != file.sha256:
                raise Failed(f"BitTorrent brought other bytes as {path}")
        return Download(len(self.seeds), peers_bytes, web_bytes)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.times[name] = time.monotonic() - started
        self.console.print(f"{self.times[name]:6.1f} s  {name}")

    def _await(self, stop: threading.Event, what: str, ready: Any) -> None:
        deadline = time.monotonic() + _STEP_SECONDS
        while not ready():
            if stop.wait(0.1):
                raise Failed(f"stopped while it waited for {what}")
            if time.monotonic() > deadline:
                raise Failed(f"{what} did not come up in {_STEP_SECONDS:g} s")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
