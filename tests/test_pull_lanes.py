"""The digests of a file that arrives: those of hashlib, whatever happens meanwhile."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.messages import Digest
from tests.pull_support import noise, until, v1_pieces
from tests.test_digests import merkle_layer, merkle_root
from workers.digests import BLOCK, Block, Found
from workers.lease import Stopped
from workers.pull import lanes as module
from workers.pull.lanes import INLINE, Lanes

BODY = noise(INLINE + 3 * BLOCK + 12_345)
ALL: tuple[Digest, ...] = ("sha256", "md5", "bep52", "pieces", "parts")
PIECE, PART = 256 * 1024, 5 * BLOCK


def plain(body: bytes) -> Found:
    """All digests, each the plain way."""
    parts = [body[at : at + PART] for at in range(0, len(body), PART)]
    return Found(
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        md5=hashlib.md5(body).hexdigest(),
        bep52_root=merkle_root(body),
        bep52_layer=merkle_layer(body, PIECE),
        piece_length=PIECE,
        pieces=v1_pieces(body, PIECE),
        part_length=PART,
        parts=b"".join(hashlib.md5(part).digest() for part in parts),
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lanes") / "census.zip"
    made.write_bytes(BODY)
    return made


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not threads()


def threads() -> list[str]:
    """The names of the threads that hash."""
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name in ("digests", "digest")]


@contextmanager
def lanes(
    path: Path, kinds: tuple[Digest, ...] = ALL, check: Callable[[], None] = lambda: None
) -> Iterator[Lanes]:
    """Lanes over a file; those of all digests cut it as well."""
    lengths = {"pieces": PIECE, "parts": PART} if kinds == ALL else {}
    with path.open("rb") as file:
        made = Lanes(file.fileno(), kinds, check=check, **lengths)
        try:
            yield made
        finally:
            made.stop()


@settings(deadline=None, max_examples=12)
@given(
    size=st.integers(0, len(BODY)) | st.integers(INLINE - 1, INLINE + BLOCK + 1),
    ends=st.lists(st.integers(0, len(BODY)), max_size=12),
)
def test_any_reaches_give_the_digests_of_hashlib(size: int, ends: list[int], path: Path) -> None:
    with lanes(path) as made:
        for end in ends:
            made.reach(min(end, size))

        assert made.finish(size) == plain(BODY[:size])
        assert made.position == size


@pytest.mark.parametrize("size", [0, 1, BLOCK, INLINE - 1, INLINE, INLINE + 1, len(BODY)])
def test_a_single_digest_is_right_at_every_edge(size: int, path: Path) -> None:
    with lanes(path, ("sha256",)) as made:
        found = made.finish(size)

    assert found == Found(size=size, sha256=hashlib.sha256(BODY[:size]).hexdigest())


def test_lanes_that_share_the_leaves_give_the_same_root(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MANY_CORES", 1)
    for size in (INLINE, INLINE + BLOCK, INLINE + BLOCK + 1, len(BODY)):
        with lanes(path) as made:
            assert made.finish(size) == plain(BODY[:size])


def test_a_file_is_hashed_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    with path.open("wb") as file, lanes(path) as made:
        for at in range(0, len(BODY), BLOCK):
            file.write(BODY[at : at + BLOCK])
            file.flush()
            made.reach(min(at + BLOCK, len(BODY)))

        assert made.finish(len(BODY)) == plain(BODY)


def test_many_threads_may_say_what_is_reached(path: Path) -> None:
    with lanes(path) as made, ThreadPoolExecutor(4) as pool:
        list(pool.map(made.reach, range(0, len(BODY), 64 * 1024)))

        assert made.finish(len(BODY)) == plain(BODY)


def test_nothing_is_hashed_that_was_not_reached(path: Path) -> None:
    with lanes(path) as made:
        made.reach(INLINE + BLOCK // 2)
        assert threads()
        until(lambda: made.position == INLINE)
        made.reach(1)
        assert made.position == INLINE
        made.reach(INLINE + BLOCK)
        until(lambda: made.position == INLINE + BLOCK)

        assert made.finish(len(BODY)) == plain(BODY)


def test_a_small_file_starts_no_thread(path: Path) -> None:
    with lanes(path) as made:
        made.reach(INLINE - 1)
        assert not threads()
        assert made.position == 0

        assert made.finish(INLINE - 1) == plain(BODY[: INLINE - 1])


@pytest.mark.parametrize("kinds", [ALL, ("sha256",)])
@pytest.mark.parametrize("size", [100, len(BODY) + 1])
def test_a_file_that_is_too_short_is_an_error(
    kinds: tuple[Digest, ...], size: int, tmp_path: Path
) -> None:
    path = tmp_path / "short"
    path.write_bytes(BODY if size > len(BODY) else b"abc")
    with lanes(path, kinds) as made, pytest.raises(OSError, match="it ends at byte") as raised:
        made.finish(size)

    assert str(path.stat().st_size) in str(raised.value.strerror)


@pytest.mark.parametrize("size", [100, len(BODY)])
def test_what_the_disk_says_is_raised(size: int, path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        made = Lanes(descriptor, ALL, pieces=PIECE, parts=PART)
        with pytest.raises(OSError, match="Bad file descriptor"):
            made.finish(size)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("kinds", [ALL, ("sha256",)])
@pytest.mark.parametrize("size", [BLOCK * 3, len(BODY)])
def test_a_lost_lease_ends_the_hashing(kinds: tuple[Digest, ...], size: int, path: Path) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise Stopped("superseded")

    with lanes(path, kinds, check) as made:
        with pytest.raises(Stopped, match="superseded"):
            made.finish(size)
        assert asked == 3


def test_nobody_waits_for_lanes_that_have_ended(path: Path) -> None:
    def check() -> None:
        raise Stopped("superseded")

    with lanes(path, check=check) as made:
        made.reach(INLINE)
        until(lambda: made.position == INLINE)
        made.reach(INLINE + BLOCK)
        assert made.position == INLINE + BLOCK


class Broken:
    """A hasher that fails at its second block."""

    def __init__(self) -> None:
        self.blocks = 0

    def update(self, _data: Block, /) -> None:
        self.blocks += 1
        if self.blocks > 1:
            raise MemoryError("no room for a hash")


@pytest.mark.parametrize("finished", [True, False])
def test_a_lane_that_fails_ends_the_others(finished: bool, path: Path) -> None:
    with lanes(path) as made:
        made._digests.hashers = (*made._digests.hashers, Broken())
        made.reach(len(BODY) if finished else INLINE)
        until(lambda: made._ring.over)
        with pytest.raises(MemoryError, match="no room"):
            made.finish(len(BODY))


@pytest.mark.parametrize("reached", [0, 5, INLINE, len(BODY)])
@pytest.mark.parametrize("kinds", [ALL, ("sha256",)])
def test_hashing_can_be_stopped_at_any_time(
    reached: int, kinds: tuple[Digest, ...], path: Path
) -> None:
    with lanes(path, kinds) as made:
        made.reach(reached)
        made.stop()
        assert not threads()
        made.stop()
        made.reach(len(BODY))
        assert not threads()
        with pytest.raises(OSError, match="stopped"):
            made.finish(len(BODY))


def test_whoever_waits_for_the_end_hears_of_a_stop(path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def check() -> None:
        begun.set()
        go_on.wait(10)

    with lanes(path, check=check) as made, ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(made.finish, len(BODY))
        begun.wait(10)
        stopping = pool.submit(made.stop)
        until(lambda: made._ring.over)
        go_on.set()

        assert isinstance(waiting.exception(10), OSError)
        assert stopping.exception(10) is None


def test_more_than_the_size_is_a_mistake(path: Path) -> None:
    with lanes(path) as made:
        made.reach(INLINE)
        with pytest.raises(ValueError, match="8388608 bytes were reached of a file of 5"):
            made.finish(5)
