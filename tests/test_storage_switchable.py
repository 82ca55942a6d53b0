"""What a storage has to do so that a set can be switched on it, held against each that does."""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest

from fleet.planning.latest import encode, place
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS, R2
from tests.latest_support import files, order
from tests.storage_support import AGENT, BUCKET, KEYS, Scene, Server, aws, moto, rclone, strict
from workers.lease import Lease
from workers.storage import latest
from workers.storage.contract import Absent, Changed, Corrupt, Stored, Switchable, Unfit
from workers.storage.s3 import Bucket, Place
from workers.storage.s3.bucket import CAPABILITIES

MIB = 1024 * 1024
# rclone is not among them: it takes no notice of conditions; and of moto those of copies are left
# out, since it takes none of theirs
SERVERS = {"r2": partial(strict, strictness=replace(R2, seconds_a_write=0.0)), "aws": aws}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    with ExitStack() as stack:

        @cache
        def start(name: str) -> Server:
            made = {**SERVERS, "moto": moto}[name]
            return stack.enter_context(made(tmp_path_factory.mktemp(name)))

        yield start


@pytest.fixture(params=[*SERVERS, "moto"])
def scene(
    request: pytest.FixtureRequest, servers: Callable[[str], Server], tmp_path: Path
) -> Scene:
    server = servers(request.param)
    return Scene(server, server.storage(tmp_path), tmp_path)


@pytest.fixture
def storage(scene: Scene) -> Switchable:
    return scene.storage  # type: ignore[return-value]


def test_a_small_object_is_made_once_and_replaced_by_whoever_saw_it(storage: Switchable) -> None:
    assert storage.fetch("a.json") is None
    storage.swap("a.json", b"1", None)
    with pytest.raises(Changed, match=r"a\.json cannot be replaced"):
        storage.swap("a.json", b"2", None)
    data, tag = storage.fetch("a.json") or (b"", "")
    assert data == b"1"
    storage.swap("a.json", b"2", tag)
    with pytest.raises(Changed):
        storage.swap("a.json", b"3", tag)
    assert (storage.fetch("a.json") or (b"", ""))[0] == b"2"
    found = storage.stat("a.json")
    assert found is not None
    assert found.tag != tag


def test_what_was_removed_is_not_replaced(storage: Switchable) -> None:
    storage.swap("a.json", b"1", None)
    _, tag = storage.fetch("a.json") or (b"", "")
    storage.remove("a.json")
    with pytest.raises(Changed):
        storage.swap("a.json", b"2", tag)
    assert storage.fetch("a.json") is None


def test_a_copy_takes_the_place_of_what_was_there_with_its_digest(
    scene: Scene, storage: Switchable
) -> None:
    one, two = _put(scene, "v1/a.bin", b"one"), _put(scene, "v2/a.bin", b"twenty")
    storage.copy(one, "a.bin", None, Lease())
    there = storage.stat("a.bin")
    assert there is not None
    storage.copy(two, "a.bin", there.tag, Lease())
    assert b"".join(storage.read("a.bin")) == b"twenty"
    found = storage.stat("a.bin")
    assert found is not None
    assert found.sha256 == two.sha256
    assert b"".join(storage.read("v1/a.bin")) == b"one"


def test_what_is_not_there_or_not_what_it_should_be_is_not_copied(
    scene: Scene, storage: Switchable
) -> None:
    one = _put(scene, "v1/a.bin", b"one")
    with pytest.raises(Absent, match=r"v1/b\.bin cannot be copied"):
        storage.copy(replace(one, path="v1/b.bin"), "a.bin", None, Lease())
    with pytest.raises(Corrupt, match=r"v1/a\.bin cannot be copied"):
        storage.copy(replace(one, sha256="0" * 64), "a.bin", None, Lease())
    assert storage.stat("a.bin") is None


def test_no_path_that_leads_elsewhere_is_replaced(scene: Scene, storage: Switchable) -> None:
    one = _put(scene, "v1/a.bin", b"one")
    with pytest.raises(Unfit, match="unsafe path"):
        storage.fetch("../a.json")
    with pytest.raises(Unfit, match="unsafe path"):
        storage.swap("../a.json", b"1", None)
    with pytest.raises(Unfit, match="unsafe path"):
        storage.copy(one, "../a.bin", None, Lease())


@pytest.mark.parametrize("name", SERVERS)
def test_a_copy_replaces_nothing_but_what_was_seen(
    servers: Callable[[str], Server], name: str, tmp_path: Path
) -> None:
    scene = Scene(servers(name), servers(name).storage(tmp_path), tmp_path)
    storage: Switchable = scene.storage  # type: ignore[assignment]
    one, two = _put(scene, "v1/a.bin", b"one"), _put(scene, "v2/a.bin", b"twenty")
    storage.copy(one, "a.bin", None, Lease())
    for tag in (None, "0" * 32):
        with pytest.raises(Changed, match=r"a\.bin cannot be made a copy of v2/a\.bin"):
            storage.copy(two, "a.bin", tag, Lease())
    with pytest.raises(Changed):
        storage.copy(two, "b.bin", "0" * 32, Lease())
    assert b"".join(storage.read("a.bin")) == b"one"
    assert storage.stat("b.bin") is None


LARGE = random.Random(7).randbytes(20 * MIB + 5)


@pytest.mark.parametrize("copies", ["whole", "in parts", "through us", "small through us"])
def test_a_large_object_is_copied_in_whatever_way_the_service_knows(
    tmp_path: Path, copies: str
) -> None:
    (tmp_path / "bytes").mkdir()
    rules, keys = replace(R2, seconds_a_write=0.0), {KEYS.key_id: Key(KEYS.secret)}
    with S3Server(tmp_path / "bytes", [BUCKET], keys, rules) as server:
        data = LARGE[:1000] if copies.startswith("small") else LARGE
        where = Place(server.url, BUCKET, "data", "us-east-1")
        scene = Scene(Server(), Bucket(where, lambda: KEYS, AGENT), tmp_path)
        source = _put(scene, "v1/a.bin", data)
        able = CAPABILITIES
        if copies == "in parts":
            able = replace(able, part_most=5 * MIB)
            server.strictness = replace(rules, most_part=5 * MIB)
        if copies.endswith("through us"):
            server.script.add(
                f"PUT /{BUCKET}/data/a.bin refuse 501 <Error><Code>NotImplemented</Code></Error>"
            )
        bucket = Bucket(where, lambda: KEYS, AGENT, capabilities=able)
        bucket.copy(source, "a.bin", None, Lease())
        assert b"".join(bucket.read("a.bin")) == data
        found = bucket.stat("a.bin")
        assert found is not None
        assert found.sha256 == source.sha256
        assert not server.buckets[BUCKET].uploads
        with pytest.raises(Changed):
            bucket.copy(source, "a.bin", None, Lease())


def test_what_a_killed_copy_began_is_given_up_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "bytes").mkdir()
    with S3Server(tmp_path / "bytes", [BUCKET], {KEYS.key_id: Key(KEYS.secret)}, AWS) as server:
        bucket = Bucket(Place(server.url, BUCKET, "", "us-east-1"), lambda: KEYS, AGENT)
        source = _put(Scene(Server(), bucket, tmp_path), "v1/a.bin", LARGE)
        bucket._client.create_multipart_upload(Bucket=BUCKET, Key="a.bin")
        bucket.copy(source, "a.bin", None, Lease())
        assert not server.buckets[BUCKET].uploads


def test_a_service_that_takes_no_notice_of_conditions_is_not_switched(tmp_path: Path) -> None:
    with rclone(tmp_path) as server:
        scene = Scene(server, server.storage(tmp_path), tmp_path)
        storage: Switchable = scene.storage  # type: ignore[assignment]
        for name, data in files(1).items():
            scene.put(f"census/v1/data/{name}", data)
        with pytest.raises(Unfit, match=r"census\.json cannot be switched: .* no notice"):
            latest.switch(storage, order(1), Lease())
        assert storage.fetch(place("census")) is None
        storage.swap(place("census"), encode(order(1)), None)
        for name, data in files(2).items():
            scene.put(f"census/v2/data/{name}", data)
        with pytest.raises(Unfit, match="no notice"):
            latest.switch(storage, order(2), Lease())
        assert (storage.fetch(place("census")) or (b"", ""))[0] == encode(order(1))


def _put(scene: Scene, path: str, data: bytes) -> Stored:
    scene.put(path, data)
    return Stored(path, len(data), hashlib.sha256(data).hexdigest())
