"""A dataset on its way to a site without a worker, by real processes: written, read, mended."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlmodel import select

from fleet.blueprint import manifest
from fleet.cli.demo.origin import Origin
from fleet.control import mirror, replicas, sites
from fleet.control.rules import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.planning.states import ReplicaState
from fleet.rehearsal.archive.server import Archive
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS
from fleet.store.tables import Replica
from tests.running_fleet import RunningFleet, running_fleet

KEY, SECRET = "AKIDAKIDAKIDAKIDAKID", "secretsecretsecretsecretsecretsecret"
MIB = 1024 * 1024
FILES = {"raw/large.bin": 20 * MIB, "raw/small.csv": 3000, "raw/medium.bin": 2 * MIB, "empty": 0}


class Away:
    """A site without a worker, called ``away``, and what lies there."""

    kind: str
    driver: str
    store: dict[str, Any]
    read_url = ""

    def files(self) -> dict[str, bytes]:
        """What lies there of data v1, by path; its manifest as well."""
        raise NotImplementedError

    def lose(self, path: str) -> None:
        """Lose a file."""
        raise NotImplementedError


class AwayBucket(Away):
    kind, driver = "object_store", "s3"
    read_url = "http://127.0.0.1:9"  # nobody probes it in time, and nobody has to

    def __init__(self, server: S3Server) -> None:
        self._objects = server.buckets["open-data"].objects
        self.store = {"endpoint": server.url, "bucket": "open-data", "prefix": "mirror"}

    def files(self) -> dict[str, bytes]:
        return {
            key.removeprefix("mirror/data/v1/"): one.read() for key, one in self._objects.items()
        }

    def lose(self, path: str) -> None:
        del self._objects[f"mirror/data/v1/{path}"]


class AwayItems(Away):
    kind, driver = "archive", "internet-archive"

    def __init__(self, server: Archive) -> None:
        self._items = server.items
        self.store = {"endpoint": server.url, "read": server.url, "prefix": "dfc"}

    def files(self) -> dict[str, bytes]:
        assert list(self._items) == ["dfc_data_v1"]
        return {
            name: b"".join(piece.read() for piece in one.pieces)
            for name, one in self._items["dfc_data_v1"].files.items()
        }

    def lose(self, path: str) -> None:
        del self._items["dfc_data_v1"].files[path]


@pytest.fixture
def away(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Away]:
    home = tmp_path / "away"
    home.mkdir()
    if request.param == "bucket":
        with S3Server(home, ["open-data"], {KEY: Key(SECRET)}, AWS) as bucket:
            yield AwayBucket(bucket)
    else:
        with Archive(home, {KEY: SECRET}) as archive:
            yield AwayItems(archive)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("databases", "away"), [("sqlite", "archive"), ("postgresql", "bucket")], indirect=True
)
@pytest.mark.timeout(240)
def test_a_site_without_a_worker_is_written_to_read_again_and_mended(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    database_url: str,
    away: Away,
) -> None:
    home = tmp_path_factory.mktemp("fleet")  # short enough for the sockets below it
    digests, source = {}, tmp_path / "origin"
    for name, size in FILES.items():
        data = Random(name).randbytes(size)
        digests[name] = hashlib.sha256(data).hexdigest()
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    with serving(source) as origin, running(home, database_url, away) as fleet:
        listing = tmp_path / "list.txt"
        lines = (f"{origin.url}/{name}\n  out={name}\n" for name in digests)
        listing.write_text("".join(lines))
        rule = RuleSpec(copies=2, selector="id=toronto | id=away")
        mirror.mirror_dataset(fleet.store, str(listing), rule, dataset="data", label="v1")
        fleet.until("it lies there", lambda: _whole(fleet), 100)
        assert _digests(away) == digests
        assert not list((fleet.home / "sites").glob("*/state/staged/*"))

        away.lose("raw/medium.bin")
        _read_again(fleet)
        fleet.until("it is missed", lambda: not _whole(fleet), 60)
        fleet.until("it is there again", lambda: _whole(fleet), 60)
        assert _digests(away) == digests


def _digests(away: Away) -> dict[str, str]:
    """What lies there, but for the manifest, which lists just that."""
    files = away.files()
    read = manifest.parse(files.pop("manifest.json"))
    found = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert {one.path: one.sha256 for one in read.files} == found
    return found


@contextmanager
def serving(folder: Path) -> Iterator[Origin]:
    with Origin(folder) as origin:
        serving = threading.Thread(target=origin.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield origin
        finally:
            origin.shutdown()
            serving.join()


@contextmanager
def running(home: Path, database_url: str, away: Away) -> Iterator[RunningFleet]:
    keys = home / "keys.yaml"
    keys.write_text(f"away: {{key_id: {KEY}, secret: {SECRET}}}\n")
    keys.chmod(0o600)
    with running_fleet(
        home,
        database_url,
        only=("toronto",),
        lease_seconds=10,
        tick_seconds=0.2,
        retry_seconds=0.5,
        keys_file=keys,
    ) as fleet:
        spec = {"id": "away", "kind": away.kind, "driver": away.driver, "store": away.store}
        spec["read_url"] = away.read_url
        sites.apply(fleet.store, (SiteSpec.model_validate(spec),))
        fleet.until("all programs ready", fleet.all_ready)
        yield fleet


def _whole(fleet: RunningFleet) -> bool:
    """Whether all of it is there: the files, and the manifest."""
    with fleet.store.read() as session:
        rows = session.exec(select(Replica).where(Replica.site_id == "away")).all()
    return [row.state for row in rows] == [ReplicaState.AVAILABLE] * 2


def _read_again(fleet: RunningFleet) -> None:
    with fleet.store.write() as session:
        now = fleet.store.now(session)
        for row in session.exec(select(Replica).where(Replica.site_id == "away")).all():
            replicas.want_verify(session, row.shard_id, "away", "as the test wants it", now)
