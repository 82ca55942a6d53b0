"""The switch of a dataset's latest set, on a bucket that other attempts write to as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.planning.latest import bare, encode, place
from fleet.rehearsal.s3.server import S3Server
from tests.latest_support import (
    RULES,
    bares,
    client,
    current,
    files,
    objects,
    order,
    roads,
    serving,
)
from tests.storage_support import BUCKET
from workers.lease import Lease, Stopped
from workers.storage import latest
from workers.storage.contract import Absent, Corrupt, StorageError, Taken, Unfit
from workers.storage.s3 import Bucket

MANIFEST = f"/{BUCKET}/{place('census')}"


@pytest.fixture(params=RULES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Server]:
    with serving(tmp_path, RULES[request.param]) as running:
        yield running


@pytest.fixture
def bucket(server: S3Server) -> Bucket:
    return client(server)


def _written(server: S3Server) -> list[str]:
    """The keys that were written or removed, in order."""
    return [
        one.path.removeprefix(f"/{BUCKET}/")
        for one in server.log
        if one.method in {"PUT", "DELETE"} and one.status < 300
    ]


def test_the_first_set_is_served_by_manifest_and_by_bare_names(
    server: S3Server, bucket: Bucket
) -> None:
    assert latest.switch(bucket, order(1), Lease()) == order(1)
    assert current(server) == order(1)
    assert bares(server) == files(1)


def test_the_manifest_is_written_first_and_what_the_set_lacks_is_removed_last(
    server: S3Server, bucket: Bucket
) -> None:
    latest.switch(bucket, order(1), Lease())
    own = {key: one for key, one in objects(server).items() if key.startswith("census/")}
    server.log.clear()

    latest.switch(bucket, order(2), Lease())

    assert _written(server) == [
        place("census"),
        *(bare(name) for name in ("boundaries.json", "census_v2.csv", "notes.txt")),
        *(bare(name) for name in ("census_v1.csv", "lookup.bin")),
    ]
    assert bares(server) == files(2)
    assert {key: objects(server)[key] for key in own} == own


def test_bytes_that_stay_are_not_written_again(server: S3Server, bucket: Bucket) -> None:
    latest.switch(bucket, order(2), Lease())
    server.log.clear()
    latest.switch(bucket, order(3), Lease())
    assert bare("notes.txt") not in _written(server)
    assert bares(server) == files(3)


def test_the_same_switch_again_writes_nothing(server: S3Server, bucket: Bucket) -> None:
    latest.switch(bucket, order(2), Lease())
    server.log.clear()
    latest.switch(bucket, order(2), Lease())
    assert _written(server) == []


def test_an_older_version_never_replaces_a_newer_one(server: S3Server, bucket: Bucket) -> None:
    latest.switch(bucket, order(3), Lease())
    server.log.clear()
    with pytest.raises(Unfit, match=r"census v2 \(sequence 2\) cannot be the latest set"):
        latest.switch(bucket, order(2), Lease())
    assert _written(server) == []
    assert bares(server) == files(3)


def test_a_name_of_another_dataset_is_refused_before_anything_is_written(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    latest.switch(bucket, roads(tmp_path, server, 1, "notes.txt"), Lease())
    server.log.clear()
    with pytest.raises(Taken, match=r"notes\.txt of census v1 belongs to roads v1"):
        latest.switch(bucket, order(1), Lease())
    assert _written(server) == []


def test_a_name_that_another_dataset_left_goes_over_and_is_not_removed_by_it(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    latest.switch(bucket, roads(tmp_path, server, 1, "notes.txt", "roads.txt"), Lease())
    later = roads(tmp_path, server, 2, "roads.txt")
    latest.switch(bucket, later, Lease())
    latest.switch(bucket, order(1), Lease())
    latest.switch(bucket, later, Lease())
    assert bares(server) == files(1) | {"roads.txt": b"roads 2 roads.txt"}


def test_what_belongs_to_nobody_is_left_unless_it_is_the_very_file(
    server: S3Server, bucket: Bucket
) -> None:
    bucket.swap(bare("notes.txt"), b"a person's", None)
    server.log.clear()
    with pytest.raises(Taken, match=r"processed/notes\.txt has other bytes.*move it away"):
        latest.switch(bucket, order(1), Lease())
    assert _written(server) == []
    bucket.remove(bare("notes.txt"))
    bucket.swap(bare("notes.txt"), files(1)["notes.txt"], None)
    latest.switch(bucket, order(1), Lease())
    assert bares(server) == files(1)


def test_a_set_of_which_a_file_is_missing_or_another_is_not_switched_to(
    server: S3Server, bucket: Bucket
) -> None:
    latest.switch(bucket, order(1), Lease())
    path = order(2).files["notes.txt"].path
    other = objects(server)[order(2).files["boundaries.json"].path]
    server.log.clear()
    del objects(server)[path]
    with pytest.raises(Absent, match=f"{path} is not there"):
        latest.switch(bucket, order(2), Lease())
    objects(server)[path] = other
    with pytest.raises(Corrupt, match=f"{path} is not what the set has"):
        latest.switch(bucket, order(2), Lease())
    assert _written(server) == []
    assert bares(server) == files(1)


def test_what_is_no_manifest_is_not_replaced(server: S3Server, bucket: Bucket) -> None:
    bucket.swap(place("census"), b"{}", None)
    with pytest.raises(Taken, match=r"latest/census\.json: it is no manifest"):
        latest.switch(bucket, order(1), Lease())
    assert objects(server)[place("census")].read() == b"{}"


FAULTS = [
    f"PUT {MANIFEST} skip 1 lose",
    f"PUT {MANIFEST} skip 1 times 4 refuse 503 <Error><Code>SlowDown</Code></Error>",
    f"PUT {MANIFEST} skip 1 refuse 409 <Error><Code>ConditionalRequestConflict</Code></Error>",
    f"PUT {MANIFEST} skip 1 drop",
    f"PUT {MANIFEST} times 4 drop",
    f"PUT /{BUCKET}/processed/notes.txt lose",
    f"PUT /{BUCKET}/processed/notes.txt times 4 refuse 500",
    f"PUT /{BUCKET}/processed/notes.txt mask 200 <Error><Code>InternalError</Code></Error>",
    f"DELETE /{BUCKET}/processed/* lose",
    f"DELETE /{BUCKET}/processed/* times 4 refuse 503",
    f"GET {MANIFEST} skip 1 times 4 refuse 500",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_passes_leaves_the_new_set(
    server: S3Server, bucket: Bucket, fault: str
) -> None:
    latest.switch(bucket, order(1), Lease())
    server.script.add(fault)
    try:
        latest.switch(bucket, order(2), Lease())
    except StorageError:
        latest.switch(bucket, order(2), Lease())
    assert server.script.used
    assert current(server).files == order(2).files
    assert bares(server) == files(2)


def test_a_service_that_knows_no_conditions_is_not_switched(
    server: S3Server, bucket: Bucket
) -> None:
    server.script.add(f"PUT {MANIFEST} refuse 501 <Error><Code>NotImplemented</Code></Error>")
    with pytest.raises(Unfit, match="cannot be replaced: the service has no way to do that"):
        latest.switch(bucket, order(1), Lease())
    assert bares(server) == {}


def test_an_attempt_that_may_have_been_given_away_writes_nothing(
    server: S3Server, bucket: Bucket
) -> None:
    class Lost(Lease):
        def check_live(self) -> None:
            raise Stopped("it may be another's")

    server.log.clear()
    with pytest.raises(Stopped):
        latest.switch(bucket, order(1), Lost())
    assert _written(server) == []


def test_a_manifest_says_where_each_file_lies_for_good(server: S3Server, bucket: Bucket) -> None:
    latest.switch(bucket, order(1), Lease())
    assert objects(server)[place("census")].read() == encode(order(1))
    assert b'"path": "census/v1/data/notes.txt"' in encode(order(1))
