"""Copies for a site that has no worker: staged in bounded scratch, written, and let go of."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from threading import Barrier, Lock
from typing import ClassVar

import pytest

from fleet.messages import Budget, Grant, Item, Order, Source
from fleet.places import RecordsPlace
from fleet.settings import SiteSettings
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, order
from workers.lease import Lease, Stopped
from workers.stage import room, stage
from workers.storage.contract import Capabilities, Content, Stored
from workers.storage.folder import Folder
from workers.work import Work

SIZE = 100_000
FILES = {f"raw/{number}.bin": os.urandom(SIZE + number) for number in range(12)}


class Measured(Folder):
    """A folder that measures, at each write, what lies in scratch."""

    def __init__(self, root: Path, scratch: Path) -> None:
        super().__init__(root)
        self._scratch, self._counting = scratch, Lock()
        self.most = 0
        self.written: list[str] = []
        self.stop_after = 1000

    def stat(self, path: str) -> Stored | None:
        """As a bucket does, which keeps the sha256 beside what was written by it."""
        found = super().stat(path)
        if found is None or path not in self.written:
            return found
        return replace(found, sha256=hashlib.sha256(b"".join(self.read(path))).hexdigest())

    def write(self, path: str, content: Content, lease: Lease) -> Stored:
        self.most = max(self.most, sum(map(_size, self._scratch.rglob("*"))))
        assert lease.budget.streams
        with self._counting:
            if len(self.written) >= self.stop_after:
                raise Stopped("the centre said stop")
            self.written.append(path)
        return super().write(path, content, lease)


def _size(path: Path) -> int:
    """Say how much of the disk a file has."""
    try:
        found = path.lstat()
        return found.st_blocks * 512 if S_ISREG(found.st_mode) else 0
    except FileNotFoundError:  # another has written it just now, and let go of it
        return 0


@pytest.fixture
def settings(site: Site) -> SiteSettings:
    return site.settings(scratch_bytes=1_200_000, bulk_slots=1)


@pytest.fixture
def bucket(tmp_path: Path, settings: SiteSettings) -> Measured:
    return Measured(tmp_path / "bucket", settings.state / "staged")


@pytest.fixture
def given(server: FaultServer) -> Order:
    items = [item(path, server.serve(path, body), body=body) for path, body in FILES.items()]
    return order(*items).model_copy(update={"folder": "census/v1", "shard": "sh-1"})


def staged(settings: SiteSettings) -> list[Path]:
    return [one for one in (settings.state / "staged").rglob("*") if one.is_file()]


def run(given: Order, bucket: Measured, settings: SiteSettings) -> Work:
    return stage(given, bucket, Lease(given.budget), settings)


def test_everything_comes_through_a_scratch_that_holds_a_part_of_it(
    given: Order, bucket: Measured, settings: SiteSettings
) -> None:
    work = run(given, bucket, settings)

    assert [one.reason for one in work.items] == [""] * len(FILES)
    for path, body in FILES.items():
        assert b"".join(bucket.read(f"census/v1/{path}")) == body
    assert bucket.most <= settings.scratch_bytes
    assert sum(map(len, FILES.values())) >= settings.scratch_bytes
    assert staged(settings) == []
    assert work.bytes_fetched == sum(map(len, FILES.values()))


RECORD = Grant(site="zenodo", place=RecordsPlace(record="1"), key_id="", secret="")


@pytest.mark.parametrize("changes", [{}, {"shard": None, "grant": RECORD}], ids=["shard", "record"])
def test_an_order_that_broke_off_goes_on_where_it_was(
    changes: dict[str, object],
    given: Order,
    bucket: Measured,
    settings: SiteSettings,
    server: FaultServer,
) -> None:
    given = given.model_copy(update=changes)
    bucket.stop_after = 4
    with pytest.raises(Stopped):
        run(given, bucket, settings)
    done = set(bucket.written)
    before = {path: len(server.asked(path)) for path in FILES}
    bucket.stop_after = 1000

    work = run(given.model_copy(update={"attempt": "a2", "fence": 2}), bucket, settings)

    assert all(one.ok for one in work.items)
    assert sorted(bucket.written) == sorted(f"census/v1/{path}" for path in FILES)
    assert len(done) == 4
    asked = sum(len(server.asked(path)) - before[path] for path in FILES)
    assert asked < len(FILES) - len(done)  # what was staged is not asked for again
    assert staged(settings) == []


def test_what_a_service_knows_by_its_md5_is_not_pulled_again(
    given: Order, bucket: Measured, settings: SiteSettings, server: FaultServer, tmp_path: Path
) -> None:
    class Deposit(Folder):
        def stat(self, path: str) -> Stored | None:
            found = super().stat(path)
            data = b"" if found is None else b"".join(self.read(path))
            return found and replace(found, md5=md5(data))

    def md5(data: bytes) -> str:
        return hashlib.md5(data).hexdigest()

    run(given, bucket, settings)
    bodies = list(FILES.values())
    known = [md5(bodies[0]), md5(bodies[1])[::-1], None]
    items = [
        one.model_copy(update={"md5": digest})
        for one, digest in zip(given.items[:3], known, strict=True)
    ]
    before = {path: len(server.asked(path)) for path in FILES}
    order = given.model_copy(update={"items": tuple(items)})

    work = stage(order, Deposit(tmp_path / "bucket"), Lease(), settings)

    asked = [len(server.asked(path)) > before[path] for path in list(FILES)[:3]]
    assert asked == [False, True, True]
    assert work.items[0].sha256 == items[0].sha256


def test_a_service_that_goes_by_md5_is_given_it_without_another_reading(
    given: Order, settings: SiteSettings, tmp_path: Path
) -> None:
    class ByMd5(Folder):
        capabilities = Capabilities(check="md5")
        told: ClassVar[list[str | None]] = []

        def write(self, path: str, content: Content, lease: Lease) -> Stored:
            self.told.append(content.md5)
            return super().write(path, content, lease)

    work = stage(given, ByMd5(tmp_path / "deposit"), Lease(), settings)
    wanted = sorted(hashlib.md5(body).hexdigest() for body in FILES.values())
    assert sorted(filter(None, ByMd5.told)) == wanted
    assert sorted(one.md5 or "" for one in work.items) == wanted


def test_where_a_service_takes_its_time_more_is_written_at_once(
    given: Order, settings: SiteSettings, tmp_path: Path
) -> None:
    together = Barrier(6)

    class Slow(Folder):
        capabilities = Capabilities(at_once=6)

        def write(self, path: str, content: Content, lease: Lease) -> Stored:
            together.wait(30)
            return super().write(path, content, lease)

    items = given.items[:6]
    order = given.model_copy(update={"items": items, "budget": Budget(streams=2)})
    settings = settings.model_copy(update={"scratch_bytes": 10**7})
    work = stage(order, Slow(tmp_path / "slow"), Lease(order.budget), settings)
    assert [one.ok for one in work.items] == [True] * 6


def test_what_needs_more_than_is_lent_says_so_and_the_others_come(
    given: Order, bucket: Measured, site: Site, server: FaultServer
) -> None:
    large = item(
        "raw/large.bin", server.serve("raw/large.bin", bytes(200_000)), body=bytes(200_000)
    )
    settings = site.settings(scratch_bytes=room(150_000), bulk_slots=1)
    work = run(given.model_copy(update={"items": (large, *given.items)}), bucket, settings)
    [failed] = [one for one in work.items if not one.ok]
    assert failed.artifact == large.artifact
    assert (
        "raw/large.bin needs 212,992 bytes of scratch, and toronto lends 163,840" in failed.reason
    )
    assert not failed.final
    assert server.asked("raw/large.bin") == []


def test_a_path_that_is_taken_is_told_for_good_and_the_others_come(
    given: Order, bucket: Measured, settings: SiteSettings, tmp_path: Path
) -> None:
    place = tmp_path / "bucket/census/v1/raw/3.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"another's")
    work = run(given, bucket, settings)
    assert [one.artifact for one in work.items if not one.ok] == [given.items[3].artifact]
    assert work.items[3].final
    assert "is taken: 9 bytes are there already" in work.items[3].reason
    assert place.read_bytes() == b"another's"


def test_a_source_that_fails_fails_its_file_alone(
    given: Order, bucket: Measured, settings: SiteSettings, server: FaultServer
) -> None:
    server.serve("raw/2.bin", FILES["raw/2.bin"], "status", code=404)
    work = run(given, bucket, settings)
    assert [one.fault for one in work.items if not one.ok] == ["source"]
    assert len(bucket.written) == len(FILES) - 1


def test_two_attempts_do_not_stage_one_shard_at_once(
    given: Order, bucket: Measured, settings: SiteSettings
) -> None:
    class Rival(Measured):
        def write(self, path: str, content: Content, lease: Lease) -> Stored:
            with pytest.raises(OSError, match="another attempt is staging sh-1-toronto"):
                run(given, bucket, settings)
            return super().write(path, content, lease)

    one: tuple[Item, ...] = given.items[:1]
    rival = Rival(settings.home / "bucket2", settings.state / "staged")
    assert run(given.model_copy(update={"items": one}), rival, settings).items[0].ok


def test_one_file_may_have_all_that_is_lent_by_itself(
    given: Order, bucket: Measured, site: Site
) -> None:
    settings = site.settings(scratch_bytes=room(SIZE + 11), bulk_slots=1)
    assert all(one.ok for one in run(given, bucket, settings).items)
    assert bucket.most <= settings.scratch_bytes


def test_what_is_left_of_a_file_that_broke_off_takes_no_room(
    given: Order, bucket: Measured, settings: SiteSettings, server: FaultServer
) -> None:
    seen: list[int] = []

    class Looking(Measured):
        def write(self, path: str, content: Content, lease: Lease) -> Stored:
            seen.append(sum(one.name.startswith("raw-2.bin") for one in staged(settings)))
            return super().write(path, content, lease)

    server.serve("raw/2.bin", FILES["raw/2.bin"], "truncated", cuts=(5000,) * 50)
    looking = Looking(settings.home / "bucket3", settings.state / "staged")
    work = run(given, looking, settings)
    assert [one.artifact for one in work.items if not one.ok] == [given.items[2].artifact]
    assert max(seen) == 0


def test_torrents_are_left_out_since_a_seeder_fetches_to_another_place(
    given: Order, bucket: Measured, settings: SiteSettings
) -> None:
    torrent = Source(kind="torrent", url=f"magnet:?xt=urn:btih:{'0' * 40}")
    items = tuple(
        one.model_copy(update={"sources": (torrent, *one.sources)}) for one in given.items
    )
    work = run(given.model_copy(update={"items": items}), bucket, settings)
    assert all(one.ok for one in work.items)
