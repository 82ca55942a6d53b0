"""What a pull reads of a fetch that ended early is what stays: the seeder has let go of it."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.messages import Source
from fleet.settings import SiteSettings
from tests.seeder_support import PIECE, TOKEN, Shard
from tests.swarm_support import ordered
from workers.lease import Lease
from workers.pull import pull
from workers.pull.torrent import ABANDONED_SECONDS, sweep
from workers.seeder import effort
from workers.seeder.control import bind, socket_path
from workers.storage.posix import PosixStorage
from workers.work import Work

TAIL = b"a liar's block"
STALLS = json.dumps({"ok": True, "state": "fetching", "done": 5, "payload": 5}).encode() + b"\n"


@pytest.fixture
def settings(tmp_path: Path) -> SiteSettings:
    made = SiteSettings(home=tmp_path, site="here", site_token=TOKEN, stall_seconds=0.5)
    made.state.mkdir(parents=True)
    return made


@pytest.fixture
def shard() -> Shard:
    """Two files that share a piece."""
    return Shard("census", {"a.bin": 3 * PIECE - 100, "b.bin": PIECE})


@contextmanager
def stalling(
    settings: SiteSettings, shard: Shard, at_the_end: Callable[[socket.socket, Path], None]
) -> Iterator[None]:
    """A seeder that has brought ``a.bin`` and stalls; what it does once the client goes."""
    folder = settings.store_root / ".staging" / f"btih-{shard.infohash}"
    folder.mkdir(parents=True)
    staged = folder / "0"
    staged.write_bytes(shard.files["a.bin"])
    with bind(socket_path(settings)) as listener:

        def serve() -> None:
            link, _ = listener.accept()
            with link:
                link.recv(1 << 16)
                link.settimeout(0.05)
                while True:
                    try:
                        link.sendall(STALLS)
                        if not link.recv(1 << 16):
                            break
                    except TimeoutError:
                        continue
                at_the_end(link, staged)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def pulled(settings: SiteSettings, shard: Shard) -> Work:
    given = ordered(shard)
    return pull(given, PosixStorage(settings.store_root), Lease(given.budget), settings=settings)


def test_what_nobody_takes_up_again_is_thrown_away_after_a_week(tmp_path: Path) -> None:
    old, new = tmp_path / "btih-old", tmp_path / "btih-new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "0").write_bytes(b"begun")
    sweep(tmp_path, time.time() + ABANDONED_SECONDS - 60)
    assert old.exists()
    for place in (old / "0", old):
        os.utime(place, (0, 0))
    sweep(tmp_path, time.time())
    assert (old.exists(), new.exists()) == (False, True)


def test_what_a_fetch_left_makes_room_for_what_http_shall_bring(
    settings: SiteSettings, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = settings.store_root / ".staging" / f"btih-{shard.infohash}"
    given = ordered(shard)
    source = Source(url="http://127.0.0.1:9/nobody-is-there")
    items = [item.model_copy(update={"sources": (source, *item.sources)}) for item in given.items]
    given = given.model_copy(update={"items": tuple(items)})
    left.mkdir(parents=True)
    (left / "0").write_bytes(b"begun")

    def free(_: PosixStorage) -> int:
        return 0 if left.exists() else 1 << 40

    monkeypatch.setattr(PosixStorage, "free", free)
    storage, lease = PosixStorage(settings.store_root), Lease(given.budget)
    work = pull(given, storage, lease, settings=settings)
    assert not left.exists()
    assert not any("disk has" in item.reason for item in work.items)


def test_what_is_whole_lands_though_the_fetch_stalled(settings: SiteSettings, shard: Shard) -> None:
    with stalling(settings, shard, lambda _, __: None):
        work = pulled(settings, shard)
    assert [item.ok for item in work.items] == [True, False]
    landed = shard.place(settings.store_root, "a.bin")
    assert landed.read_bytes() == shard.files["a.bin"]


def test_what_is_written_while_the_seeder_ends_is_seen(
    settings: SiteSettings, shard: Shard
) -> None:
    def lies(_: socket.socket, staged: Path) -> None:
        with staged.open("r+b") as file:
            file.seek(-len(TAIL), 2)
            file.write(TAIL)

    with stalling(settings, shard, lies):
        work = pulled(settings, shard)
    assert [item.ok for item in work.items] == [False, False]
    assert not shard.place(settings.store_root, "a.bin").exists()


def test_a_seeder_that_never_lets_go_lands_nothing(
    settings: SiteSettings, shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effort, "END_SECONDS", 0.5)
    left = threading.Event()

    def talks_on(link: socket.socket, _: Path) -> None:
        while not left.wait(0.05):
            try:
                link.sendall(STALLS)
            except OSError:
                return

    with stalling(settings, shard, talks_on):
        work = pulled(settings, shard)
        left.set()
    assert [item.ok for item in work.items] == [False, False]
    assert "did not let go of what it fetched" in work.items[0].reason
    assert not shard.place(settings.store_root, "a.bin").exists()
