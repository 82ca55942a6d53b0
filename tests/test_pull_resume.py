"""Pulls that are cut and gone on with: what is kept, what is asked for, what comes of it."""

import errno
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fault_server import FaultServer
from tests.pull_support import FOLDER, Site, item, noise, order, v1_pieces
from workers.lease import Lease, Stopped
from workers.pull.extents import GRANULE
from workers.pull.journal import boot_id
from workers.pull.partial import Partial

pytestmark = pytest.mark.usefixtures("impatience")
NAME = "census.zip"
MIB = 1024 * 1024


class StopAt(Lease):
    """A lease that ends once so many bytes have passed."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def check(self) -> None:
        if self.bytes_done >= self.count:
            raise Stopped("superseded")


def leave(site: Site, body: bytes, marks: bytes, *urls: str, etag: str, **head: object) -> None:
    """Leave behind what an earlier attempt might have left."""
    data = site.storage.staging(NAME)
    data.write_bytes(body)
    data.with_suffix(".map").write_bytes(marks)
    authors = [{"url": url, "etag": etag} for url in urls]
    found = {"boot": boot_id(), "granule": GRANULE, "size": len(body), "authors": authors}
    data.with_suffix(".json").write_text(json.dumps(found | head))


def test_a_stopped_pull_leaves_its_part_and_the_next_goes_on_there(
    server: FaultServer, site: Site
) -> None:
    body = noise(5 * MIB)
    url = server.serve(NAME, body)

    with pytest.raises(Stopped, match="superseded"):
        site.pull(order(item(NAME, url)), StopAt(2 * MIB))
    assert site.visible() == []
    assert site.staged() == [f".staging/{NAME}.{kind}" for kind in ("json", "map", "part")]

    work = site.pull(order(item(NAME, url)))

    assert work.items[0].ok
    assert work.bytes_fetched <= 3 * MIB
    assert server.asked(NAME)[1].headers["if-range"] == server.files[NAME].etag
    assert site.file(NAME).read_bytes() == body
    assert site.staged() == []


def test_a_stopped_pull_of_a_small_file_leaves_nothing(server: FaultServer, site: Site) -> None:
    url = server.serve(NAME, noise(3 * MIB))

    with pytest.raises(Stopped):
        site.pull(order(item(NAME, url)), StopAt(2 * MIB))

    assert site.staged() == []


def test_the_part_of_a_later_source_survives_that_the_first_is_down(
    server: FaultServer, site: Site
) -> None:
    body = noise(5 * MIB)
    down = server.serve("down", body, "status", code=503)
    one = item(NAME, down, server.serve(NAME, body))

    with pytest.raises(Stopped):
        site.pull(order(one), StopAt(2 * MIB))
    work = site.pull(order(one))

    assert work.items[0].ok
    assert 0 < work.bytes_fetched <= 3 * MIB


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


BODY = noise(3 * GRANULE + 5000)


@pytest.mark.parametrize("left", ["nothing", "torn", "boasting", "stale", "foreign", "resized"])
def test_a_part_that_nothing_vouches_for_is_begun_again(
    server: FaultServer, site: Site, left: str
) -> None:
    url = server.serve(NAME, BODY)
    etag = server.files[NAME].etag
    marks = b"\1\0\1\1"
    part = site.storage.staging(NAME)
    if left == "foreign":
        leave(site, b"x" * len(BODY), marks, "http://elsewhere/", etag='"e"')
    elif left == "stale":
        leave(site, b"x" * len(BODY), marks, url, etag=etag, boot="another")
    elif left == "boasting":
        leave(site, b"x" * 1000, marks, url, etag=etag, size=len(BODY))
    elif left == "resized":
        leave(site, b"x" * (4 * GRANULE), marks, url, etag=etag)
    else:
        leave(site, b"x" * len(BODY), marks, url, etag=etag)
        path = part.with_suffix(".json")
        path.write_text('{"url": "http://') if left == "torn" else path.unlink()

    size = len(BODY) if left == "resized" else None
    assert site.pull_one(item(NAME, url, size=size)).ok

    assert [one.range for one in server.asked(NAME)] == [None]
    assert site.file(NAME).read_bytes() == BODY
    assert site.staged() == []


def test_the_holes_of_a_part_are_filled_and_nothing_else_is_fetched(
    server: FaultServer, site: Site
) -> None:
    body = noise(7 * GRANULE)
    first, second = server.serve("first", body), server.serve("second", body)
    left = bytearray(body)
    for at in (1, 4, 5):
        left[at * GRANULE : (at + 1) * GRANULE] = bytes(GRANULE)
    leave(site, bytes(left), b"\2\0\1\2\0\0\1", first, second, etag=server.files["first"].etag)

    work = site.pull(order(item(NAME, second, first, body=body)))

    assert work.items[0].ok, work.items[0].reason
    assert work.bytes_fetched == 3 * GRANULE
    assert site.file(NAME).read_bytes() == body


def test_a_whole_part_is_published_without_asking_again(server: FaultServer, site: Site) -> None:
    url = server.serve(NAME, BODY)
    leave(site, BODY, b"\1" * 4, url, etag='"e"')

    work = site.pull(order(item(NAME, url)))

    assert work.items[0].ok
    assert work.bytes_fetched == 0
    assert server.requests == []


@pytest.mark.parametrize(
    ("marks", "asked"),
    [
        (b"\1\0\0\0", [f"bytes={GRANULE}-", None]),
        (b"\1\1\1\0", [f"bytes={3 * GRANULE}-", None]),
        (b"\1\1\1\1", [None]),
    ],
)
def test_a_rotten_part_does_not_condemn_the_source(
    server: FaultServer, site: Site, marks: bytes, asked: list[str | None]
) -> None:
    url = server.serve(NAME, BODY)
    leave(site, b"x" * len(BODY), marks, url, etag=server.files[NAME].etag)

    work = site.pull(order(item(NAME, url, body=BODY)))

    assert work.items[0].ok, work.items[0].reason
    assert [one.range for one in server.asked(NAME)] == asked
    assert site.file(NAME).read_bytes() == BODY


def test_a_source_is_measured_by_its_own_progress(server: FaultServer, site: Site) -> None:
    first = server.serve("first", BODY, "truncated", cuts=(GRANULE - 1000,))
    second = server.serve("second", BODY)
    leave(site, BODY, b"\1\1\1\0", second, etag='"e"')

    found = site.pull_one(item(NAME, first, second))

    assert found.source == first
    assert [asked.start for asked in server.requests] == [at * (GRANULE - 1000) for at in range(4)]
    assert site.file(NAME).read_bytes() == BODY


@pytest.mark.parametrize("taken_again", [False, True])
def test_a_lock_counts_only_while_the_file_bears_its_name(
    site: Site, monkeypatch: pytest.MonkeyPatch, taken_again: bool
) -> None:
    path, take_lock = site.storage.staging(NAME), fcntl.flock
    first = Partial(path)
    first.begin(3, ())
    first.write(memoryview(b"abc"), 0)

    def published_meanwhile(descriptor: int, how: int) -> None:
        """The second has opened the file by its name; now the first publishes it."""
        monkeypatch.setattr(fcntl, "flock", take_lock)
        with first:
            site.storage.publish(path, site.file(NAME))
            first.published()
        if taken_again:
            path.touch()
        take_lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", published_meanwhile)
    with Partial(path) as second:
        second.begin(3, ())
        second.write(memoryview(b"xyz"), 0)

    assert site.file(NAME).read_bytes() == b"abc"
    assert path.read_bytes() == b"xyz"


def test_a_partial_may_be_closed_twice(site: Site) -> None:
    path = site.storage.staging(NAME)
    first = Partial(path)
    first.close()

    with Partial(path) as second:
        first.close()
        second.write(memoryview(b"abc"), 0)
        assert second.read(0, 3) == b"abc"


@pytest.mark.parametrize("how", ["fsync", "fdatasync"])
def test_what_could_not_be_synced_is_not_believed_by_the_next_attempt(
    site: Site, server: FaultServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    body = noise(20 * MIB)
    given, sync = item(NAME, server.serve(NAME, body), body=body), getattr(os, how)

    def broken(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".part":
            raise OSError(errno.EIO, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, how, broken)
    found = site.pull_one(given)

    assert (found.ok, found.fault) == (False, "local")
    assert "Input/output error" in found.reason
    assert site.staged() == []
    monkeypatch.undo()
    assert site.pull_one(given).ok
    assert server.sent[NAME] >= 20 * MIB + (20 * MIB if how == "fsync" else 0)


@pytest.mark.parametrize("how", ["ftruncate", "fchmod"])
def test_what_cannot_be_made_ready_has_its_result_and_is_kept(
    site: Site, server: FaultServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    body = noise(5 * MIB)
    given, call = item(NAME, server.serve(NAME, body), body=body), getattr(os, how)

    def broken(descriptor: int, value: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".part":
            raise OSError(errno.EPERM, "Operation not permitted")
        call(descriptor, value)

    monkeypatch.setattr(os, how, broken)
    found = site.pull_one(given)

    assert (found.ok, found.fault) == (False, "local")
    monkeypatch.undo()
    assert site.pull_one(given).ok
    assert server.sent[NAME] < 5 * MIB + GRANULE + MIB


def test_a_file_found_in_its_place_has_a_durable_name_before_it_is_reported(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, sync, synced = site.put(NAME, BODY), os.fsync, []

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)

    assert site.pull_one(item(NAME, body=BODY)).ok
    assert {place.parent, site.root} <= set(synced)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(0, 600_000) | st.integers(4 * MIB, 5 * MIB),
    cuts=st.lists(st.integers(70_000, 250_000), max_size=3),
    stops=st.lists(st.integers(1, 400_000) | st.integers(MIB, 4 * MIB), max_size=2),
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


def test_a_journal_full_of_other_urls_does_not_stop_the_item(tmp_path: Path) -> None:
    with FaultServer() as server:
        site = Site(tmp_path)
        url = server.serve(NAME, BODY)
        leave(
            site,
            BODY,
            b"\1\0\1\1",
            *[f"{url}?token={n}" for n in range(126)],
            etag=server.files[NAME].etag,
        )
        found = site.pull_one(item(NAME, url, body=BODY))
        assert found.ok, found.reason


def test_a_mirror_whose_etag_differs_by_node_loses_nothing_of_a_proven_file(tmp_path: Path) -> None:
    with FaultServer() as server:
        site = Site(tmp_path)
        url = server.serve(NAME, BODY)
        leave(site, BODY, b"\1\0\1\1", url, etag='"other-node"')
        work = site.pull(order(item(NAME, url, body=BODY)))
        assert work.bytes_fetched == GRANULE
