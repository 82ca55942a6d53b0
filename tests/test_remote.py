"""Reading and emptying a bucket for a site that has no worker."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.messages import Order
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS
from tests.pull_support import item, order
from tests.storage_support import AGENT, BUCKET, KEYS
from workers import remote
from workers.lease import Lease
from workers.storage.contract import Content
from workers.storage.s3 import Bucket, Place

BODIES = {"a.bin": b"a" * 5000, "b.bin": b"b" * 5000}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    home = tmp_path / "server"
    home.mkdir()
    with S3Server(home, [BUCKET], {KEYS.key_id: Key(KEYS.secret)}, AWS) as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path) -> Bucket:
    made = Bucket(Place(server.url, BUCKET, "", "us-east-1"), lambda: KEYS, AGENT)
    for name, body in BODIES.items():
        write(made, tmp_path, name, body)
    return made


def write(bucket: Bucket, tmp_path: Path, name: str, body: bytes) -> None:
    file = tmp_path / "staged"
    file.write_bytes(body)
    content = Content(file, len(body), hashlib.sha256(body).hexdigest())
    bucket.write(f"census/v1/{name}", content, Lease())


def given() -> Order:
    return order(*(item(name, body=body) for name, body in BODIES.items()))


def rot(server: S3Server, name: str, **changed: object) -> None:
    """Let an object's bytes turn without a word of its service."""
    objects = server.buckets[BUCKET].objects
    key, other = f"census/v1/{name}", objects["census/v1/b.bin"]
    objects[key] = replace(objects[key], pieces=other.pieces, **changed)


def test_what_turned_bad_in_a_bucket_is_removed_and_can_be_written_anew(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    rot(server, "a.bin")
    write(bucket, tmp_path, "a.bin", BODIES["a.bin"])  # the service says that all is well
    bad, good = remote.verify(given(), bucket, Lease()).items
    assert good.ok
    assert bad.fault == "corrupt"
    assert bad.reason.endswith("it was removed, to be written anew")
    write(bucket, tmp_path, "a.bin", BODIES["a.bin"])
    assert all(one.ok for one in remote.verify(given(), bucket, Lease()).items)


def test_what_another_put_there_stays(server: S3Server, bucket: Bucket) -> None:
    rot(server, "a.bin", headers={}, etag="0" * 32)
    bad, _ = remote.verify(given(), bucket, Lease()).items
    assert "not written by us" in bad.reason
    assert bucket.stat("census/v1/a.bin") is not None


def test_a_drop_removes_its_own_and_what_was_sent_of_it(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    write(bucket, tmp_path, "other.bin", b"other")
    assert all(one.ok for one in remote.drop(given(), bucket, Lease()).items)
    assert list(server.buckets[BUCKET].objects) == ["census/v1/other.bin"]
    missing, _ = remote.verify(given(), bucket, Lease()).items
    assert missing.fault == "missing"
