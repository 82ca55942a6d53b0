"""One contract for every storage: what holds of each, whatever stands behind it."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.storage_support import READ_ONLY, SERVERS, Scene, Server
from workers.lease import Lease
from workers.storage.contract import Absent, Taken, Unfit

MIB = 1024 * 1024
SIZES = [0, 1, 4096, 5 * MIB, 40 * MIB + 1]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    with ExitStack() as stack:

        @cache
        def start(name: str) -> Server:
            return stack.enter_context(SERVERS[name](tmp_path_factory.mktemp(name)))

        yield start


@pytest.fixture(params=SERVERS)
def readable(
    request: pytest.FixtureRequest, servers: Callable[[str], Server], tmp_path: Path
) -> Scene:
    server = servers(request.param)
    return Scene(server, server.storage(tmp_path), tmp_path)


@pytest.fixture(params=[name for name in SERVERS if name not in READ_ONLY])
def scene(
    request: pytest.FixtureRequest, servers: Callable[[str], Server], tmp_path: Path
) -> Scene:
    server = servers(request.param)
    return Scene(server, server.storage(tmp_path), tmp_path)


@pytest.mark.parametrize("size", SIZES[:-1])  # the last is for what is written in parts
def test_what_is_there_is_read_whole_and_in_parts(readable: Scene, size: int) -> None:
    data = random.Random(size).randbytes(size)
    readable.put("census/v1/a file.bin", data)
    found = readable.readable.stat("census/v1/a file.bin")
    assert found is not None
    assert found.size == size
    assert b"".join(readable.readable.read("census/v1/a file.bin")) == data
    for start, length in ((0, 10), (size // 2, 7), (max(0, size - 3), 100), (size, 5), (0, 0)):
        part = b"".join(readable.readable.read("census/v1/a file.bin", start, length))
        assert part == data[start : start + length]
    assert b"".join(readable.readable.read("census/v1/a file.bin", size // 3)) == data[size // 3 :]


@pytest.mark.parametrize("size", SIZES)
def test_a_write_tells_how_far_it_is_and_what_it_wrote(scene: Scene, size: int) -> None:
    lease, content = Lease(), scene.content(random.Random(size).randbytes(size))
    stored = scene.storage.write("a.bin", content, lease)
    assert (stored.path, stored.size, stored.sha256) == ("a.bin", size, content.sha256)
    assert lease.bytes_done == size


@pytest.mark.parametrize("size", [4096, 20 * MIB])
def test_the_same_write_again_sends_nothing_and_changes_nothing(scene: Scene, size: int) -> None:
    content = scene.content(random.Random(size).randbytes(size))
    scene.storage.write("a.bin", content, Lease())
    before = scene.readable.stat("a.bin")
    lease = Lease()

    scene.storage.write("a.bin", content, lease)

    assert scene.readable.stat("a.bin") == before
    assert lease.bytes_done == 0


@pytest.mark.parametrize("size", [4096, 20 * MIB])
def test_other_bytes_are_never_written_over(scene: Scene, size: int) -> None:
    data = random.Random(size).randbytes(size)
    scene.storage.write("a.bin", scene.content(data), Lease())
    for other in (data[:-1] + b"?", data[:-1], data + b"?"):
        with pytest.raises(Taken, match="is taken"):
            scene.storage.write("a.bin", scene.content(other), Lease())
    assert b"".join(scene.readable.read("a.bin")) == data


def test_what_is_not_there_is_absent(readable: Scene) -> None:
    assert readable.readable.stat("no/such.bin") is None
    with pytest.raises(Absent, match="no/such"):
        list(readable.readable.read("no/such.bin"))


def test_to_remove_what_is_not_there_is_fine(scene: Scene) -> None:
    scene.storage.remove("no/such.bin")


def test_everything_below_a_folder_is_listed_in_order(scene: Scene) -> None:
    paths = ["b/two.bin", "b/é ü.txt", "a.bin", "b-not/three.bin", "b/c/four.bin"]
    for path in paths:
        scene.put(path, path.encode())
    assert [one.path for one in scene.storage.list()] == sorted(paths)
    found = {one.path: one.size for one in scene.storage.list("b")}
    assert found == {path: len(path.encode()) for path in paths if path.startswith("b/")}
    assert list(scene.storage.list("none")) == []


def test_what_is_removed_is_gone_and_may_be_written_anew(scene: Scene) -> None:
    scene.storage.write("a/b.bin", scene.content(b"one"), Lease())
    scene.storage.remove("a/b.bin")
    assert scene.readable.stat("a/b.bin") is None
    assert list(scene.storage.list()) == []
    scene.storage.write("a/b.bin", scene.content(b"two"), Lease())
    assert b"".join(scene.readable.read("a/b.bin")) == b"two"


BAD_PATHS = ["", "../a", "/a", "a//b", "a/./b", ".hidden", "a\\b", "a\nb"]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_no_path_that_leads_elsewhere_is_asked_for(readable: Scene, path: str) -> None:
    with pytest.raises(Unfit, match="unsafe path"):
        readable.readable.stat(path)
    with pytest.raises(Unfit, match="unsafe path"):
        list(readable.readable.read(path))


@pytest.mark.parametrize("path", BAD_PATHS)
def test_no_path_that_leads_elsewhere_is_written_to(scene: Scene, path: str) -> None:
    with pytest.raises(Unfit, match="unsafe path"):
        scene.storage.write(path, scene.content(b"x"), Lease())
    with pytest.raises(Unfit, match="unsafe path"):
        scene.storage.remove(path)
