"""Two versions of a dataset at a bucket, by real processes: bare names serve the latest alone."""

import hashlib
from pathlib import Path
from random import Random

import pytest

from fleet.control import mirror
from fleet.control.rules import RuleSpec
from fleet.planning.latest import Manifest, decode, place
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import R2
from tests.databases import on_postgres
from tests.running_fleet import RunningFleet
from tests.test_away_story import KEY, SECRET, AwayBucket, running, serving

V1 = {"boundaries.bin": 300_000, "census_2021.csv": 4000, "raw/large.bin": 3_000_000}
V2 = {"boundaries.bin": 300_000, "census_2026.csv": 5000, "raw/large.bin": 3_000_000}


class Reader:
    """Whoever goes by the manifest."""

    def __init__(self, server: S3Server) -> None:
        self._objects = server.buckets["open-data"].objects
        self.seen: list[str] = []

    def latest(self) -> Manifest | None:
        """Read the manifest, and all of the set that it names."""
        found = self._objects.get(f"mirror/{place('data')}")
        if found is None:
            return None
        manifest = decode(found.read())
        for file in manifest.files.values():
            assert _sha256(self._objects[f"mirror/{file.path}"].read()) == file.sha256
        if manifest.version not in self.seen:
            self.seen.append(manifest.version)
        return manifest

    def bare(self) -> dict[str, str]:
        """The digests of what lies under bare names."""
        return {
            key.removeprefix("mirror/processed/"): _sha256(one.read())
            for key, one in self._objects.items()
            if key.startswith("mirror/processed/") and "/latest/" not in key
        }

    def own(self, label: str) -> dict[str, str]:
        """The digests of what lies at a version's own paths, but for its manifest."""
        below = f"mirror/data/{label}/"
        return {
            key.removeprefix(below): _sha256(one.read())
            for key, one in self._objects.items()
            if key.startswith(below) and not key.endswith("/manifest.json")
        }


@on_postgres
@pytest.mark.timeout(240)
def test_a_reader_of_the_manifest_sees_one_version_and_then_the_next_and_old_paths_stay(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, database_url: str
) -> None:
    home, bucket = tmp_path_factory.mktemp("fleet"), tmp_path / "away"
    bucket.mkdir()
    with S3Server(bucket, ["open-data"], {KEY: Key(SECRET)}, R2) as server:
        away, reader = AwayBucket(server), Reader(server)
        away.store |= {"processed": True}
        digests = {label: _make(tmp_path, label, files) for label, files in _VERSIONS.items()}
        with serving(tmp_path / "origin") as origin, running(home, database_url, away) as fleet:
            for label, found in digests.items():
                _mirror(fleet, tmp_path, origin.url, label, list(found))
                wanted = {name: one for name, one in found.items() if "/" not in name}
                fleet.until(f"{label} is served", lambda w=wanted: _serves(reader, w), 100)
                assert reader.seen[-1] == label
            assert reader.seen == ["v1", "v2"]
            assert {label: reader.own(label) for label in digests} == digests


_VERSIONS = {"v1": V1, "v2": V2}


def _serves(reader: Reader, wanted: dict[str, str]) -> bool:
    manifest = reader.latest()
    return (
        manifest is not None
        and {name: file.sha256 for name, file in manifest.files.items()} == wanted
        and reader.bare() == wanted
    )


def _make(folder: Path, label: str, files: dict[str, int]) -> dict[str, str]:
    """Have a version's files at the origin; return their digests."""
    digests = {}
    for name, size in files.items():
        data = Random(label + name).randbytes(size)
        path = folder / "origin" / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        digests[name] = _sha256(data)
    return digests


def _mirror(fleet: RunningFleet, folder: Path, url: str, label: str, names: list[str]) -> None:
    listing = folder / f"{label}.txt"
    listing.write_text("".join(f"{url}/{label}/{name}\n  out={name}\n" for name in names))
    rule = RuleSpec(copies=2, selector="id=toronto | id=away")
    mirror.mirror_dataset(fleet.store, str(listing), rule, dataset="data", label=label)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
