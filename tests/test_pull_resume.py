import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fault_server import FaultServer
from tests.pull_support import FOLDER, Site, item, noise, order, until, v1_pieces
from workers.digests import Digests
from workers.lease import Lease, Stopped
from workers.pull import course
from workers.pull.answers import Validator
from workers.pull.partial import CHECKPOINT, Partial

NAME = "census.zip"
MIB = 1024 * 1024

PULLER = """
import asyncio, sys
from fleet.messages import Order
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull import pull
from workers.storage.posix import PosixStorage
settings = SiteSettings.model_validate_json(sys.argv[1])
order = Order.model_validate_json(sys.argv[2])
asyncio.run(pull(order, PosixStorage(settings.store_root), Lease(), settings=settings))
"""


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "FIRST_WAIT", 0.01)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class StopAt(Lease):
    """A lease that ends once so many bytes have passed."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def check(self) -> None:
        if self.bytes_done >= self.count:
            raise Stopped("superseded")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("lost", "most"), [("process", 4 * MIB), ("power", CHECKPOINT)])
def test_after_kill_9_a_few_blocks_and_after_a_power_cut_a_checkpoint_is_fetched_twice(
    server: FaultServer, site: Site, known: bool, lost: str, most: int
) -> None:
    body = noise(3 * CHECKPOINT + 12345)
    held_at = 2 * CHECKPOINT + 5 * MIB
    url = server.serve(NAME, body, "stalling", after=held_at)
    one = order(item(NAME, url, body=body if known else None), digests=("sha256", "pieces"))
    arguments = [site.settings(site_token="").model_dump_json(), one.model_dump_json()]
    part = site.root / ".staging" / f"{NAME}.part"

    with subprocess.Popen([sys.executable, "-c", PULLER, *arguments]) as worker:
        until(lambda: part.exists() and part.stat().st_size > held_at - 2 * MIB)
        os.kill(worker.pid, signal.SIGKILL)
    assert site.visible() == []
    if lost == "power":
        start_anew(part.with_suffix(".note"))
    server.serve(NAME, body)

    work = site.pull(one)

    (found,) = work.items
    assert found.ok, found.reason
    assert found.sha256 == hashlib.sha256(body).hexdigest()
    assert found.piece_length is not None
    assert work.all_blobs == {
        hashlib.sha256(pieces).hexdigest(): pieces
        for pieces in [v1_pieces(body, found.piece_length)]
    }
    assert site.file(NAME).read_bytes() == body
    again = held_at - server.asked(NAME)[1].start
    assert 0 < again <= most
    assert server.sent[NAME] - len(body) == again
    assert work.bytes_fetched == len(body) - held_at + again
    assert site.staged() == []


def start_anew(note: Path) -> None:
    """Have a note be of an earlier start of the machine."""
    written = json.loads(note.read_text())
    note.write_text(json.dumps(written | {"boot": "an earlier one"}))


def test_a_stopped_pull_leaves_its_part_and_the_next_goes_on_there(
    server: FaultServer, site: Site
) -> None:
    body = noise(4 * MIB)
    url = server.serve(NAME, body)

    with pytest.raises(Stopped, match="superseded"):
        site.pull(order(item(NAME, url)), StopAt(2 * MIB))
    assert site.visible() == []
    assert site.staged() == [f".staging/{NAME}.json", f".staging/{NAME}.part"]

    work = site.pull(order(item(NAME, url)))

    assert work.items[0].ok
    assert 0 < work.bytes_fetched <= 2 * MIB
    assert server.asked(NAME)[1].headers["if-range"] == server.files[NAME].etag
    assert site.file(NAME).read_bytes() == body


def test_the_part_of_a_later_source_survives_that_the_first_is_down(
    server: FaultServer, site: Site
) -> None:
    body = noise(4 * MIB)
    down = server.serve("down", body, "status", code=503)
    one = item(NAME, down, server.serve(NAME, body))

    with pytest.raises(Stopped):
        site.pull(order(one), StopAt(2 * MIB))
    work = site.pull(order(one))

    assert work.items[0].ok
    assert 0 < work.bytes_fetched <= 2 * MIB


@pytest.mark.parametrize(
    ("fault", "validators", "resumes"),
    [
        ("truncated", {"etag": '"strong"'}, True),
        ("truncated", {"etag": '"strong"', "modified": ""}, True),
        ("truncated", {"etag": 'W/"weak"', "modified": ""}, False),
        ("truncated", {"etag": 'W/"weak"'}, True),
        ("dated", {}, True),
        ("no_validators", {}, False),
    ],
)
def test_an_unproven_part_is_continued_only_if_the_source_vouches_for_it(
    server: FaultServer, site: Site, fault: str, validators: dict[str, str], resumes: bool
) -> None:
    body = noise(300_000)
    url = server.serve(NAME, body, fault, cuts=(100_000, None), **validators)

    work = site.pull(order(item(NAME, url)))

    assert work.items[0].ok
    assert site.file(NAME).read_bytes() == body
    assert server.asked(NAME)[1].range == ("bytes=100000-" if resumes else None)
    assert work.bytes_fetched == len(body) + (0 if resumes else 100_000)


def test_a_proven_part_is_continued_whatever_the_source_says(
    server: FaultServer, site: Site
) -> None:
    body = noise(300_000)
    url = server.serve(NAME, body, "no_validators", cuts=(100_000, None))

    work = site.pull(order(item(NAME, url, body=body)))

    assert work.items[0].ok
    assert work.bytes_fetched == len(body)


@pytest.mark.parametrize("fault", ["changing", "splicing"])
def test_a_file_that_changes_once_is_begun_again(
    server: FaultServer, site: Site, fault: str
) -> None:
    body = noise(300_000)
    url = server.serve(NAME, body, fault, settles=1 if fault == "changing" else 2)

    found = site.pull_one(item(NAME, url))

    assert found.ok, found.reason
    assert site.file(NAME).read_bytes() == body


def test_a_source_that_cuts_every_range_is_followed_to_the_end(
    server: FaultServer, site: Site
) -> None:
    body = noise(2 * MIB)
    url = server.serve(NAME, body, "short_ranges", cuts=(100_000,), most=100_000)

    work = site.pull(order(item(NAME, url)))

    assert work.items[0].ok, work.items[0].reason
    assert work.bytes_fetched == len(body)
    assert len(server.asked(NAME)) == 21


def test_what_is_in_place_is_read_and_not_fetched(server: FaultServer, site: Site) -> None:
    body = noise(200_000)
    site.put(NAME, body)

    for known in (body, None):
        work = site.pull(order(item(NAME, server.url(NAME), body=known)))

        (found,) = work.items
        assert found.ok
        assert found.sha256 == hashlib.sha256(body).hexdigest()
        assert (work.bytes_fetched, work.sources) == (0, ())
    assert server.requests == []
    assert site.staged() == []


@pytest.mark.parametrize("rotten", [b"short", noise(200_000, seed=9)])
def test_what_is_in_place_and_wrong_goes_to_quarantine_and_is_pulled_anew(
    server: FaultServer, site: Site, rotten: bytes
) -> None:
    body = noise(200_000)
    site.put(NAME, rotten)
    url = server.serve(NAME, body)

    work = site.pull(order(item(NAME, url, body=body)))

    assert work.items[0].ok
    assert site.file(NAME).read_bytes() == body
    data, why = (site.root / name for name in site.quarantined())
    assert data.read_bytes() == rotten
    assert why.read_text().startswith(f"{FOLDER}/{NAME}\n")
    assert "expected" in why.read_text()


def test_a_part_that_another_process_writes_is_left_alone(server: FaultServer, site: Site) -> None:
    url = server.serve(NAME, noise(1000))
    holder = (
        "import fcntl, os, sys; from pathlib import Path; p = Path(sys.argv[1]);"
        "p.parent.mkdir(parents=True); f = p.open('w'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('held', flush=True); sys.stdin.read()"
    )
    part = str(site.root / ".staging" / f"{NAME}.part")
    with subprocess.Popen(
        [sys.executable, "-c", holder, part], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"

        found = site.pull_one(item(NAME, url))

        assert found.reason == "another attempt on this host is still writing it"
        assert (found.fault, found.final) == ("local", False)
        assert server.requests == []
        other.communicate()

    assert site.pull_one(item(NAME, url)).ok


def journal(site: Site, **fields: Any) -> None:
    """Write what an earlier attempt might have left."""
    staging = site.root / ".staging"
    staging.mkdir(parents=True, exist_ok=True)
    (staging / f"{NAME}.json").write_text(json.dumps(fields))


def staged(site: Site, body: bytes) -> None:
    staging = site.root / ".staging"
    staging.mkdir(parents=True, exist_ok=True)
    (staging / f"{NAME}.part").write_bytes(body)


@pytest.mark.parametrize("left", ["nothing", "torn", "boasting", "foreign"])
def test_a_part_that_nothing_vouches_for_is_begun_again(
    server: FaultServer, site: Site, left: str
) -> None:
    body = noise(200_000)
    url = server.serve(NAME, body)
    staged(site, b"x" * 1000)
    if left == "torn":
        (site.root / ".staging" / f"{NAME}.json").write_text('{"url": "http://')
    elif left == "boasting":
        journal(site, url=url, etag=server.files[NAME].etag, size=200_000, good=5000, answers=1)
    elif left == "foreign":
        journal(site, url="http://elsewhere/", etag='"e"', size=200_000, good=1000, answers=1)

    assert site.pull_one(item(NAME, url)).ok

    assert server.asked(NAME)[0].range is None
    assert site.file(NAME).read_bytes() == body


def test_a_whole_part_is_published_without_asking_again(server: FaultServer, site: Site) -> None:
    body = noise(200_000)
    url = server.serve(NAME, body)
    staged(site, body)
    journal(site, url=url, etag='"e"', size=len(body), good=len(body), answers=1)

    work = site.pull(order(item(NAME, url)))

    assert work.items[0].ok
    assert work.bytes_fetched == 0
    assert server.requests == []


@pytest.mark.parametrize(
    ("good", "whole", "asked"),
    [(1000, 200_000, ["bytes=1000-", None]), (200_000, 200_000, [None]), (1000, 1000, [None])],
)
def test_a_rotten_part_does_not_condemn_the_source(
    server: FaultServer, site: Site, good: int, whole: int, asked: list[str | None]
) -> None:
    body = noise(200_000)
    url = server.serve(NAME, body)
    staged(site, b"x" * good)
    journal(site, url=url, etag=server.files[NAME].etag, size=whole, good=good, answers=1)

    work = site.pull(order(item(NAME, url, body=body)))

    assert work.items[0].ok
    assert [one.range for one in server.asked(NAME)] == asked
    assert site.file(NAME).read_bytes() == body


def test_a_source_is_measured_by_its_own_progress(server: FaultServer, site: Site) -> None:
    body = noise(600_000)
    first = server.serve("first", body, "truncated", cuts=(100_000,))
    second = server.serve("second", body)
    staged(site, body[:550_000])
    journal(site, url=second, etag='"e"', size=len(body), good=550_000, answers=1)

    found = site.pull_one(item(NAME, first, second))

    assert found.source == first
    assert [asked.start for asked in server.requests] == [at * 100_000 for at in range(6)]


@pytest.mark.parametrize("taken_again", [False, True])
def test_a_lock_counts_only_while_the_file_bears_its_name(
    site: Site, monkeypatch: pytest.MonkeyPatch, taken_again: bool
) -> None:
    path, take_lock = site.storage.staging(NAME), fcntl.flock
    first = Partial(path, lambda _: Digests(()))
    first.begin("http://example.org/", 3, Validator())
    first.write([b"abc"])

    def published_meanwhile(descriptor: int, how: int) -> None:
        """The second has opened the file by its name; now the first publishes it."""
        monkeypatch.setattr(fcntl, "flock", take_lock)
        with first:
            first.publish(site.storage, site.file(NAME))
        if taken_again:
            path.touch()
        take_lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", published_meanwhile)
    with Partial(path, lambda _: Digests(())) as second:
        second.begin("http://example.org/", 3, Validator())
        second.write([b"xyz"])

    assert site.file(NAME).read_bytes() == b"abc"
    assert path.read_bytes() == b"xyz"


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(0, 600_000),
    cuts=st.lists(st.integers(70_000, 250_000), max_size=3),
    stops=st.lists(st.integers(1, 400_000), max_size=2),
    fault=st.sampled_from(["truncated", "dated", "no_validators", "no_ranges"]),
    known=st.booleans(),
)
def test_however_a_pull_is_cut_and_resumed_the_digests_are_those_of_the_file(
    size: int, cuts: list[int], stops: list[int], fault: str, known: bool
) -> None:
    body = noise(size)
    with TemporaryDirectory() as folder, FaultServer() as server:
        site = Site(Path(folder))
        url = server.serve(NAME, body, fault, cuts=(*sorted(cuts), None))
        one = order(
            item(NAME, url, body=body if known else None),
            digests=("sha256", "md5", "pieces"),
            alone_from=1,
        )
        for stop in stops:
            try:
                site.pull(one, StopAt(stop))
            except Stopped:
                continue

        work = site.pull(one)

        (found,) = work.items
        assert found.ok, found.reason
        assert found.size == size
        assert found.sha256 == hashlib.sha256(body).hexdigest()
        assert found.md5 == hashlib.md5(body).hexdigest()
        assert site.file(NAME).read_bytes() == body
        if size:
            assert found.pieces is not None
            assert work.blobs[found.pieces.sha256] == v1_pieces(body, found.piece_length or 0)
        assert site.staged() == []
