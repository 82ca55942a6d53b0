import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from fleet.messages import Budget, Item
from fleet.torrent.pieces import piece_length
from tests.fault_server import FaultServer
from tests.pull_support import FOLDER, Site, item, noise, order, until, v1_pieces
from workers.lease import Lease, Stopped
from workers.pull.extents import GRANULE

MIB = 1024 * 1024


def test_many_small_files_arrive_and_a_bad_one_stops_nobody(
    server: FaultServer, site: Site
) -> None:
    bodies = {f"tables/{at % 7}/{at}.csv": noise(at, seed=at) for at in range(200)}
    items = [item(path, server.serve(path, body), body=body) for path, body in bodies.items()]
    items.insert(50, item("missing.csv", server.url("missing.csv")))
    items.insert(150, item("page.csv", server.serve("page.csv", fault="html")))

    work = site.pull(order(*items))

    assert [result.artifact for result in work.items] == [one.artifact for one in items]
    assert [one.path for one, found in zip(items, work.items, strict=True) if not found.ok] == [
        "missing.csv",
        "page.csv",
    ]
    for path, body in bodies.items():
        assert site.file(path).read_bytes() == body
    assert len(site.visible()) == 200
    assert site.staged() == []
    assert {site.file(path).stat().st_mode & 0o777 for path in bodies} == {0o644}
    (report,) = work.sources
    assert (report.requests, report.errors) == (202, 2)
    assert work.bytes_fetched == report.bytes == sum(map(len, bodies.values()))


@pytest.mark.parametrize("streams", [1, 3])
def test_as_many_items_side_by_side_as_there_are_streams(
    server: FaultServer, site: Site, streams: int
) -> None:
    items = [
        item(f"{at}.csv", server.serve(f"{at}.csv", b"x", "meeting", many=streams))
        for at in range(12)
    ]

    work = site.pull(order(*items, budget=Budget(streams=streams)))

    assert all(found.ok for found in work.items)
    assert server.peak == streams


def test_connections_are_kept_alive(server: FaultServer, site: Site) -> None:
    items = [item(f"{at}.csv", server.serve(f"{at}.csv", b"x")) for at in range(50)]

    site.pull(order(*items, budget=Budget(streams=2)))

    assert len(server.requests) == 50
    assert server.connections == 2


def test_an_ingest_cuts_large_items_and_names_their_pieces(server: FaultServer, site: Site) -> None:
    large, small = noise(700_000), noise(1000, seed=2)
    items = [
        item("large.zip", server.serve("large.zip", large)),
        item("chunked.zip", server.serve("chunked.zip", large, "chunked")),
        item("small.zip", server.serve("small.zip", small)),
    ]

    work = site.pull(order(*items, digests=("sha256", "pieces"), alone_from=500_000))

    length = piece_length(len(large))
    pieces = v1_pieces(large, length)
    name = hashlib.sha256(pieces).hexdigest()
    assert work.blobs == {name: pieces}
    assert work.pieces is None
    for found in work.items[:2]:
        assert found.piece_length == length
        assert found.pieces is not None
        assert (found.pieces.sha256, found.pieces.size) == (name, len(pieces))
    assert work.items[2].pieces is None
    assert work.items[2].piece_length is None


def test_a_shard_is_cut_over_its_items_in_the_order_of_their_offsets(
    server: FaultServer, site: Site
) -> None:
    bodies = [noise(size, seed=size) for size in (100_000, 0, 70_001, 33_000)]
    offsets = [0, 100_000, 100_000, 170_001]
    items = [
        item(f"{at}.csv", server.serve(f"{at}.csv", body), body=body, offset=offset)
        for at, (body, offset) in enumerate(zip(bodies, offsets, strict=True))
    ]
    shard = order(*reversed(items), shard="s1", digests=("sha256", "pieces"), piece_length=16_384)

    work = site.pull(shard)

    assert work.pieces == v1_pieces(b"".join(bodies), 16_384)
    assert work.all_blobs == {hashlib.sha256(work.pieces).hexdigest(): work.pieces}
    assert all(found.pieces is None for found in work.items)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_shard_of_one_item_is_cut_in_passing(
    server: FaultServer, site: Site, in_place: bool
) -> None:
    body = noise(100_000)
    if in_place:
        site.put("census.zip", body)
    one = item("census.zip", server.serve("census.zip", body), body=body, offset=0)

    work = site.pull(order(one, shard="s1", digests=("sha256", "pieces"), piece_length=16_384))

    assert work.pieces == v1_pieces(body, 16_384)
    assert work.blobs == {}
    assert work.items[0].piece_length is None


def test_a_shard_that_lacks_an_item_is_not_cut(server: FaultServer, site: Site) -> None:
    items = [item("a", server.serve("a", b"a")), item("b", server.url("b"))]

    work = site.pull(order(*items, shard="s1", digests=("sha256", "pieces"), piece_length=16_384))

    assert work.pieces is None
    assert [found.ok for found in work.items] == [True, False]


@pytest.mark.parametrize(
    ("length", "reason"),
    [(16_384, "b begins at 7, not at 1"), (None, "gives no piece length")],
)
def test_a_shard_that_cannot_be_cut_says_why(
    server: FaultServer, site: Site, length: int | None, reason: str
) -> None:
    items = [
        item("a", server.serve("a", b"a"), offset=0),
        item("b", server.serve("b", b"b"), offset=7),
    ]

    work = site.pull(order(*items, shard="s1", digests=("sha256", "pieces"), piece_length=length))

    assert work.pieces is None
    assert reason in work.reason
    assert all(found.ok for found in work.items)


def test_the_bep52_root_is_reported_when_it_is_ordered(server: FaultServer, site: Site) -> None:
    body = noise(10_000)

    found = site.pull(order(item("a", server.serve("a", body)), digests=("sha256", "bep52"))).items[
        0
    ]

    assert found.bep52_root == hashlib.sha256(body).hexdigest()
    assert found.md5 is None


def test_the_budget_sets_the_pace_of_all_streams_together(server: FaultServer, site: Site) -> None:
    items = [item(f"{at}", server.serve(f"{at}", noise(MIB, seed=at))) for at in range(3)]
    rate = 4 * MIB
    given = order(*items, budget=Budget(streams=3, bytes_per_second=rate))

    started = time.monotonic()
    work = site.pull(given)
    seconds = time.monotonic() - started

    assert all(found.ok for found in work.items)
    # A quarter second's worth may come at once, and the last chunks may leave a debt.
    assert seconds > (3 * MIB - 3 * 64 * 1024) / rate - 0.25


def test_our_own_waiting_is_not_held_against_the_source(server: FaultServer, site: Site) -> None:
    one = item("a", server.serve("a", noise(MIB)))

    started = time.monotonic()
    work = site.pull(order(one, budget=Budget(bytes_per_second=2 * MIB)))
    seconds = time.monotonic() - started

    assert 0 < work.sources[0].seconds < seconds - 0.15


class Remote(Lease):
    """A lease that another thread pauses and ends, as heartbeats do."""

    def __init__(self, budget: Budget | None = None) -> None:
        super().__init__(budget)
        self.go_on = threading.Event()
        self.stopped = threading.Event()
        self.checks = 0
        self.pause_at = 1 << 62

    @property
    def paused(self) -> bool:
        return not self.go_on.is_set() or self.bytes_done >= self.pause_at

    def check(self) -> None:
        self.checks += 1
        if self.stopped.is_set():
            raise Stopped("the centre said stop")


def in_background(site: Site, lease: Lease, *items: Item) -> tuple[threading.Thread, list[object]]:
    """Pull in a thread; give what came of it."""
    came: list[object] = []

    def work() -> None:
        try:
            came.append(site.pull(order(*items), lease))
        except Stopped as stopped:
            came.append(stopped)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, came


def test_a_paused_pull_waits_and_then_goes_on(server: FaultServer, site: Site) -> None:
    body = noise(8 * MIB)
    lease = Remote()
    thread, came = in_background(site, lease, item("a", server.serve("a", body)))
    until(lambda: lease.checks > 3)
    assert (came, server.sent) == ([], {})

    lease.pause_at = 2 * MIB
    lease.go_on.set()
    until(lambda: lease.paused)
    checks = lease.checks
    until(lambda: lease.checks > checks + 3)
    assert lease.bytes_done <= lease.pause_at + 2 * GRANULE, "one was being written, one read"

    lease.pause_at = len(body)
    thread.join(10)

    assert lease.bytes_done == len(body)
    assert site.file("a").read_bytes() == body


@pytest.mark.parametrize("waits_for", ["a silent source", "a stalled one", "a pause", "a budget"])
def test_a_stop_is_heard_whatever_the_pull_waits_for(
    server: FaultServer, site: Site, waits_for: str
) -> None:
    fault = {"a silent source": "silent", "a stalled one": "stalling"}.get(waits_for, "none")
    budget = Budget(bytes_per_second=1) if waits_for == "a budget" else None
    lease = Remote(budget)
    if waits_for != "a pause":
        lease.go_on.set()
    url = server.serve("a", noise(2 * MIB), fault)
    thread, came = in_background(site, lease, item("a", url))
    waits = {"a pause": lambda: lease.checks > 3, "a budget": lambda: lease.bytes_done}
    until(waits.get(waits_for, server.held.is_set))

    lease.stopped.set()
    thread.join(3)

    assert not thread.is_alive()
    assert [str(one) for one in came] == ["the centre said stop"]
    assert site.visible() == []


def test_a_file_and_its_folders_are_synced_before_the_pull_returns(
    server: FaultServer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    site.pull(order(item("deep/census.zip", server.serve("a", b"abc"))))

    part = str(site.root / ".staging" / "deep-census.zip.part")
    folders = [site.root / FOLDER / "deep", site.root / FOLDER, site.root / "census", site.root]
    assert synced == [part, *map(str, folders)]


def test_names_that_could_not_be_made_durable_are_not_reported(
    server: FaultServer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def broken(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    found = site.pull_one(item("a", server.serve("a", b"abc")))

    assert found.reason == "this host cannot store a: Input/output error"
    assert (found.ok, found.fault) == (False, "local")


def test_an_empty_order_is_done_at_once(site: Site) -> None:
    assert site.pull(order()).items == ()
