"""A dataset on its way into a bucket, by real processes: written, read again, mended, dropped."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from sqlmodel import select

from fleet.cli.demo.origin import Origin
from fleet.control import mirror, replicas, sites
from fleet.control.mirror import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.planning.states import ReplicaState
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS
from fleet.store.tables import Replica
from tests.running_fleet import RunningFleet, running_fleet

KEY, SECRET = "AKIDAKIDAKIDAKIDAKID", "secretsecretsecretsecretsecretsecret"
MIB = 1024 * 1024
FILES = {"raw/large.bin": 20 * MIB, "raw/small.csv": 3000, "raw/medium.bin": 2 * MIB, "empty": 0}


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[S3Server]:
    home = tmp_path / "bucket"
    home.mkdir()
    with S3Server(home, ["open-data"], {KEY: Key(SECRET)}, AWS) as server:
        yield server


@pytest.mark.timeout(240)
def test_a_bucket_is_written_to_read_again_and_mended(
    tmp_path: Path, database_url: str, bucket: S3Server
) -> None:
    digests, source = {}, tmp_path / "origin"
    for name, size in FILES.items():
        data = Random(name).randbytes(size)
        digests[name] = hashlib.sha256(data).hexdigest()
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    with _origin(source) as origin, _fleet(tmp_path, database_url, bucket) as fleet:
        listing = tmp_path / "list.txt"
        lines = (f"{origin.url}/{name}\n  out={name}\n" for name in digests)
        listing.write_text("".join(lines))
        rule = RuleSpec(copies=2, selector="id=toronto | id=r2")
        mirror.mirror_dataset(fleet.store, str(listing), rule, dataset="data", label="v1")
        fleet.until("it lies in the bucket", lambda: _state(fleet) == ["available"], 100)
        objects = bucket.buckets["open-data"].objects
        prefix = "mirror/data/v1"
        assert {name: hashlib.sha256(one.read()).hexdigest() for name, one in objects.items()} == {
            f"{prefix}/{name}": digest for name, digest in digests.items()
        }
        assert not list((fleet.home / "sites").glob("*/state/staged/*"))

        del objects[f"{prefix}/raw/medium.bin"]
        _read_again(fleet)
        fleet.until("it is missed", lambda: _state(fleet) != ["available"], 60)
        fleet.until("it is there again", lambda: _state(fleet) == ["available"], 60)
        again = objects[f"{prefix}/raw/medium.bin"].read()
        assert hashlib.sha256(again).hexdigest() == digests["raw/medium.bin"]


@contextmanager
def _origin(folder: Path) -> Iterator[Origin]:
    with Origin(folder) as origin:
        serving = threading.Thread(target=origin.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield origin
        finally:
            origin.shutdown()
            serving.join()


@contextmanager
def _fleet(tmp_path: Path, database_url: str, bucket: S3Server) -> Iterator[RunningFleet]:
    keys = tmp_path / "keys.yaml"
    keys.write_text(f"r2: {{key_id: {KEY}, secret: {SECRET}}}\n")
    keys.chmod(0o600)
    home = tmp_path / "fleet"
    with running_fleet(
        home, database_url, lease_seconds=10, tick_seconds=0.2, retry_seconds=0.5, keys_file=keys
    ) as fleet:
        spec = {
            "id": "r2",
            "kind": "object_store",
            "driver": "s3",
            "store": {"endpoint": bucket.url, "bucket": "open-data", "prefix": "mirror"},
        }
        sites.apply(fleet.store, (SiteSpec.model_validate(spec),))
        fleet.until("all programs ready", fleet.all_ready)
        yield fleet


def _state(fleet: RunningFleet) -> list[ReplicaState]:
    with fleet.store.read() as session:
        rows = session.exec(select(Replica).where(Replica.site_id == "r2")).all()
    return [ReplicaState(row.state) for row in rows]


def _read_again(fleet: RunningFleet) -> None:
    with fleet.store.write() as session:
        now = fleet.store.now(session)
        for row in session.exec(select(Replica).where(Replica.site_id == "r2")).all():
            replicas.want_verify(session, row.shard_id, "r2", "as the test wants it", now)
