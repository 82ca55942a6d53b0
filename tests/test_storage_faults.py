"""Uploads to a bucket whose service fails, refuses or forgets: what is told, and what is there."""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import R2
from tests.storage_kills import s3_upload
from tests.storage_support import AGENT, BUCKET, KEYS
from workers.lease import Lease, Stopped
from workers.storage.contract import Content, Denied, StorageError, Unfit
from workers.storage.s3 import Bucket, Keys, Place

MIB = 1024 * 1024
DATA = random.Random(1).randbytes(40 * MIB + 5)
SMALL = DATA[:5000]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    home = tmp_path / "server"
    home.mkdir()
    with S3Server(home, [BUCKET], {KEYS.key_id: Key(KEYS.secret)}, R2) as running:
        yield running


@pytest.fixture
def place(server: S3Server) -> Place:
    return Place(server.url, BUCKET, "data", "us-east-1")


@pytest.fixture
def bucket(place: Place) -> Bucket:
    return Bucket(place, lambda: KEYS, AGENT)


def content(tmp_path: Path, data: bytes) -> Content:
    file = tmp_path / "staged"
    file.write_bytes(data)
    return Content(file, len(data), hashlib.sha256(data).hexdigest())


ONCE = [
    "PUT * refuse 503 <Error><Code>SlowDown</Code></Error>",
    "PUT * refuse 500 <Error><Code>InternalError</Code></Error>",
    "PUT * drop",
    "PUT * drop 1000",
    "PUT * lose",
    "PUT * damage",
    "HEAD * refuse 500",
    "HEAD * lose",
    "POST *?uploads* refuse 500",
    "POST *?uploads* lose",
    "POST *?uploadId=* refuse 503 <Error><Code>SlowDown</Code></Error>",
    "POST *?uploadId=* drop",
    "POST *?uploadId=* lose",
    "POST *?uploadId=* mask 200 <Error><Code>InternalError</Code></Error>",
    "POST *?uploadId=* mask 200 <CompleteMultipartUploadResult></CompleteMultipartUploadResult>",
    "GET *?uploads* refuse 500",
]


@pytest.mark.parametrize("fault", ONCE)
@pytest.mark.parametrize("data", [SMALL, DATA], ids=["small", "large"])
def test_a_fault_that_passes_leaves_one_whole_object(
    fault: str, data: bytes, server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    server.script.add(fault)
    given = content(tmp_path, data)
    with contextlib.suppress(StorageError):
        bucket.write("a.bin", given, Lease())
    bucket.write("a.bin", given, Lease())  # which completes it, if the fault ended the first
    objects = server.buckets[BUCKET].objects
    assert objects["data/a.bin"].read() == data
    assert len(objects) == 1
    assert len(server.buckets[BUCKET].uploads) == 0


def test_what_was_sent_of_it_is_not_sent_again(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    given = content(tmp_path, DATA)
    server.script.add("PUT *?*partNumber=3* times 9 refuse 500")
    with pytest.raises(StorageError, match=r"part 3 of a\.bin cannot be sent"):
        bucket.write("a.bin", given, Lease())
    server.script = type(server.script)()
    sent = len([one for one in server.log if one.method == "PUT"])

    bucket.write("a.bin", given, Lease())

    again = [one for one in server.log if one.method == "PUT"][sent:]
    assert [dict(one.query)["partNumber"] for one in again] == ["3"]
    assert server.buckets[BUCKET].objects["data/a.bin"].read() == DATA


def test_a_part_with_other_bytes_that_is_there_is_sent_anew(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    server.script.add("PUT *?*partNumber=3* times 9 refuse 500")
    other = content(tmp_path, DATA[::-1])
    with pytest.raises(StorageError):
        bucket.write("a.bin", other, Lease())
    server.script = type(server.script)()
    bucket.write("a.bin", content(tmp_path, DATA), Lease())
    assert server.buckets[BUCKET].objects["data/a.bin"].read() == DATA


def test_a_part_that_arrived_with_another_md5_is_never_made_visible(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    other = hashlib.md5(b"other bytes").hexdigest()
    server.script.add(f"PUT *?*partNumber=2* mask 200 ETag={other}")
    given = content(tmp_path, DATA)
    with pytest.raises(StorageError, match=rf"part 2 of a\.bin has md5 {other} there"):
        bucket.write("a.bin", given, Lease())
    assert server.buckets[BUCKET].objects == {}
    bucket.write("a.bin", given, Lease())
    assert server.buckets[BUCKET].objects["data/a.bin"].read() == DATA


def test_nothing_is_asked_for_that_the_service_has_said(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    """A HEAD has ``rclone serve s3`` read the whole object again."""
    bucket.write("a.bin", content(tmp_path, DATA), Lease())
    assert [one.method for one in server.log].count("HEAD") == 1  # before it


def test_a_wrong_secret_is_told_and_is_final(
    server: S3Server, place: Place, tmp_path: Path
) -> None:
    bucket = Bucket(place, lambda: Keys(KEYS.key_id, "wrong-secret"), AGENT)
    with pytest.raises(Denied, match=r"a\.bin cannot be asked for") as told:
        bucket.write("a.bin", content(tmp_path, SMALL), Lease())
    assert "wrong-secret" not in str(told.value)
    assert server.buckets[BUCKET].objects == {}


def test_keys_that_expire_in_the_middle_are_asked_for_anew(
    server: S3Server, place: Place, tmp_path: Path
) -> None:
    """botocore asks for new ones some minutes before; the service refuses the old ones."""
    asked: list[Keys] = []

    def keys() -> Keys:
        number = len(asked)
        now = datetime.now(UTC)
        lasts = timedelta(seconds=1) if not number else timedelta(hours=1)
        made = Keys(f"AKID{number}AKIDAKIDAKID", KEYS.secret, f"token{number}", now + lasts)
        server.keys = {
            made.key_id: Key(made.secret, token=made.token, expires=(now + lasts).timestamp())
        }
        asked.append(made)
        return made

    bucket = Bucket(place, keys, AGENT)
    bucket.write("a.bin", content(tmp_path, DATA), Lease())
    assert server.buckets[BUCKET].objects["data/a.bin"].read() == DATA
    assert len(asked) == 2


def test_what_is_too_large_is_refused_before_anything_is_asked(
    server: S3Server, place: Place, tmp_path: Path
) -> None:
    bucket = Bucket(place, lambda: KEYS, AGENT)
    huge = Content(tmp_path / "none", 60 * 1024 * 1024 * MIB, "0" * 64)
    with pytest.raises(Unfit, match="takes at most"):
        bucket.write("a.bin", huge, Lease())
    assert server.log == []


def test_an_attempt_that_is_to_end_sends_nothing_more(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    class Ending(Lease):
        def check(self) -> None:
            if any(one.method == "PUT" for one in server.log):
                raise Stopped("the centre said stop")

    with pytest.raises(Stopped):
        bucket.write("a.bin", content(tmp_path, DATA), Ending())
    assert server.buckets[BUCKET].objects == {}


@pytest.mark.slow
def test_an_upload_killed_at_any_boundary_is_completed_by_the_next(tmp_path: Path) -> None:
    figures = s3_upload(tmp_path, 20 * MIB)
    assert figures.kills >= 15
    assert (figures.incomplete, figures.corrupt, figures.double, figures.left) == (0, 0, 0, 0)
