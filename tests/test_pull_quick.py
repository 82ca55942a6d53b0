"""Thousands of small files: what comes the quick way, and what is left."""

import errno
import hashlib
import os
import socket
import ssl
import threading
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.messages import Budget, Item, Source
from tests.fault_server import FaultServer
from tests.pull_support import Site, item, noise
from tests.quick_support import MANY, Piped, Rush, Talk, bodies, items_of, serve
from workers.lease import Lease, Stopped
from workers.pull.quick.hosts import SMALL, Ask, _split
from workers.pull.quick.pipeline import READ, Pipeline
from workers.pull.web import Web
from workers.pull.web.line import Line

# What is delivered


def test_many_small_files_come_over_few_connections(site: Site, server: FaultServer) -> None:
    files = bodies(300)
    items = serve(server, files)

    rush = Rush(site, items)

    rush.check()
    assert set(rush.results) == set(files)
    assert server.connections <= 4
    assert sorted(asked.path for asked in server.requests) == sorted(files)
    first = rush.results["d0/0000.csv"]
    assert (first.size, first.sha256) == (1000, items[0].sha256)
    assert first.source == items[0].sources[0].url
    (report,) = rush.run.tallies.reports()
    assert (report.bytes, report.requests, report.errors) == (300_000, 300, 0)
    assert rush.run.lease.bytes_done == 300_000


def test_files_of_all_small_sizes_come(site: Site, server: FaultServer) -> None:
    sizes = [1, 2, READ - 1, READ, READ + 1, SMALL - 1, SMALL, *range(3, 20)]
    items = serve(server, {f"{size}.bin": noise(size, size) for size in sizes})

    rush = Rush(site, items)

    rush.check()
    assert not rush.left


def test_all_digests_that_are_wanted_are_made(site: Site, server: FaultServer) -> None:
    files = bodies()
    digests = ("sha256", "md5", "pieces", "bep52")

    rush = Rush(site, serve(server, files), digests=digests)

    for path, result in rush.results.items():
        assert result.md5 == hashlib.md5(files[path]).hexdigest()
        assert result.bep52_root == hashlib.sha256(files[path]).hexdigest()
        assert result.pieces
        assert rush.run.blobs[result.pieces.sha256] == hashlib.sha1(files[path]).digest()


def test_an_md5_proves_a_file_too(site: Site, server: FaultServer) -> None:
    files = bodies()
    items = [
        item(path, server.serve(path, body), size=len(body), md5=hashlib.md5(body).hexdigest())
        for path, body in files.items()
    ]
    wrong = item("wrong", server.serve("wrong", b"abc"), size=3, md5="0" * 32)

    rush = Rush(site, [*items, wrong])

    assert rush.left == {"wrong"}
    assert all(rush.results[one.path].md5 == one.md5 for one in items)


def test_each_kind_of_host_is_asked_by_itself(site: Site, server: FaultServer) -> None:
    files = bodies()
    with FaultServer() as other:
        paths = list(files)
        items = serve(server, {path: files[path] for path in paths[:20]})
        items += serve(other, {path: files[path] for path in paths[20:]})

        rush = Rush(site, items)

        rush.check()
        assert not rush.left
        assert len(server.requests) == len(other.requests) == 20


def test_files_come_over_tls_too(site: Site, certificate: Path) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    with FaultServer(certificate=certificate) as server:
        files = bodies(100, size=20_000)
        for path, body in files.items():
            server.serve(path, body)
        netloc = server.netloc.replace("127.0.0.1", "mirror.example")

        rush = Rush(site, items_of(files, lambda path: f"https://{netloc}/{path}"), tls=context)

        rush.check()
        assert not rush.left
        assert server.connections <= 4


def test_connections_are_added_while_a_host_is_slow(site: Site) -> None:
    met = threading.Barrier(4)

    def behave(talk: Talk) -> None:
        talk.answer(talk.next())
        met.wait(10)
        while True:
            talk.answer(talk.next())

    with Piped(behave, bodies(400)) as server:
        rush = Rush(site, server.items())

        assert not rush.left
        assert len(server.talks) == 4


def test_one_stream_is_one_connection(site: Site, server: FaultServer) -> None:
    rush = Rush(site, serve(server, bodies(200)), budget=Budget(streams=1))

    assert not rush.left
    assert server.connections == 1


def test_budgets_are_kept_and_end_nothing(site: Site, server: FaultServer) -> None:
    budget = Budget(bytes_per_second=1 << 20, source_requests_per_second=500)

    rush = Rush(site, serve(server, bodies(100)), budget=budget)

    rush.check()
    assert not rush.left


# What is not for the quick way


def test_what_is_not_fit_is_left_and_not_asked_for(site: Site, server: FaultServer) -> None:
    files = bodies()
    good = serve(server, files)
    url, body = server.serve("odd", noise(10)), noise(10)
    site.put("there", body)
    site.put("file", body)
    site.storage.staging("partial").write_bytes(b"half")
    odd = [
        item("there", url, body=body),
        item("file/below", url, body=body),
        item("partial", url, body=body),
        item("../outside", url, body=body),
        item("unknown-size", url),
        item("large", url, size=SMALL + 1, sha256="0" * 64),
        item("empty", url, body=b""),
        item("no-source", body=body),
        item("no-http", "ftp://a.example/x", body=body),
        Item(artifact="t", path="t", size=10, sources=(Source(url=url, kind="torrent"),)),
        Item(artifact="c", path="c", size=10, sources=(Source(url=url, centre=True),)),
    ]

    rush = Rush(site, [*good, *odd])

    assert rush.left == {one.path for one in odd}
    assert not server.asked("odd")


def test_an_item_whose_place_an_earlier_one_claims_is_left(site: Site, server: FaultServer) -> None:
    items = serve(server, bodies())
    rival = item(items[0].path, size=SMALL * 10, artifact="rival")

    rush = Rush(site, items, all_items=[rival, *items])

    assert rush.left == {items[0].path}


def test_nothing_larger_than_allowed_is_asked_for(site: Site, server: FaultServer) -> None:
    rush = Rush(site, serve(server, bodies()), max_bytes=999)

    assert len(rush.left) == MANY
    assert not server.requests


def test_a_few_files_of_a_host_are_left(site: Site, server: FaultServer) -> None:
    rush = Rush(site, serve(server, bodies(7)))

    assert len(rush.left) == 7
    assert not server.requests


def test_nothing_is_nothing(site: Site) -> None:
    assert not Rush(site, []).left


# Without a digest


def test_what_has_no_digest_is_asked_for_one_by_one(site: Site) -> None:
    ahead = []

    def behave(talk: Talk) -> None:
        while True:
            path = talk.next()
            ahead.append(talk.ahead)
            talk.answer(path)

    with Piped(behave, bodies()) as server:
        rush = Rush(site, server.items(proven=False))

        rush.check()
        assert not rush.left
        assert not any(ahead)
        for path, body in server.files.items():
            assert rush.results[path].sha256 == hashlib.sha256(body).hexdigest()


def test_what_has_a_digest_is_asked_for_ahead(site: Site) -> None:
    met = threading.Event()

    def behave(talk: Talk) -> None:
        for _ in range(30):
            talk.answer(talk.next())
        paths = [talk.next() for _ in range(10)]
        met.set()
        for path in paths:
            talk.answer(path)
        while True:
            talk.answer(talk.next())

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        assert met.is_set()
        assert not rush.left


@pytest.mark.parametrize("fault", ["html", "html_unlabelled"])
def test_a_page_is_no_file_even_without_a_digest(
    site: Site, server: FaultServer, fault: str
) -> None:
    page = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
    items = serve(server, bodies(size=len(page)), proven=False)
    server.serve(items[20].path, page, fault)

    rush = Rush(site, items)

    rush.check()
    assert rush.left == {items[20].path}


def test_a_body_without_a_length_has_to_end_where_it_should(
    site: Site, server: FaultServer
) -> None:
    items = serve(server, bodies(), proven=False)
    server.serve(items[0].path, noise(1001), "chunked")

    rush = Rush(site, items)

    rush.check()
    assert rush.left == {items[0].path}


def test_a_page_may_be_what_is_wanted(site: Site, server: FaultServer) -> None:
    page = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
    files = {f"{at}.html": page for at in range(20)}
    items = serve(server, files, proven=False)
    for path in files:
        server.serve(path, page, "html")

    assert not Rush(site, items).left


# This host


def test_a_stop_ends_it_and_what_was_proved_is_in_its_place(site: Site) -> None:
    class Ending(Lease):
        def check(self) -> None:
            if self.bytes_done >= 50_000:
                raise Stopped("enough")

    given = threading.Event()

    def behave(talk: Talk) -> None:
        for _ in range(100):
            talk.answer(talk.next())
        given.wait(10)

    with Piped(behave, bodies(300)) as server:
        rush = Rush(site, server.items(), Ending(Budget()), stall_seconds=60)
        given.set()

        assert rush.stopped
        assert len(rush.results) >= 50
        rush.check()


def test_a_full_disk_leaves_everything(
    site: Site, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    items = serve(server, bodies())
    monkeypatch.setattr(os, "write", full)

    rush = Rush(site, items)

    monkeypatch.undo()
    rush.check()
    assert len(rush.left) == MANY


def test_short_writes_are_completed(
    site: Site, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    items = serve(server, bodies())
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:300]))

    rush = Rush(site, items)

    rush.check()
    assert not rush.left


def test_what_cannot_be_landed_is_left(
    site: Site, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, replace = serve(server, bodies()), os.replace

    def guarded(part: str, final: str) -> None:
        if final.endswith(items[3].path):
            raise OSError(errno.EACCES, "Permission denied")
        replace(part, final)

    monkeypatch.setattr(os, "replace", guarded)

    rush = Rush(site, items)

    rush.check()
    assert rush.left == {items[3].path}


# The parts


@given(
    path=st.text("abcXYZ012-._~!$&()*+,;=:@/%\"'éü ?#[]|\\", max_size=20),
    host=st.sampled_from(["a.example", "A.example", "a.example:80", "a.example:81", "[::1]:8080"]),
)
def test_a_url_is_split_as_httpx_reads_it(path: str, host: str) -> None:
    url = f"http://{host}/{path}"
    web = Web(Site(Path("/nowhere")).settings())

    found = _split(web, Source(url=url))

    if found is not None:
        assert found[1] == httpx.URL(url).raw_path
        assert httpx.URL(f"{found[0]}/").netloc in {host.encode(), httpx.URL(url).netloc}


@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=10), step=st.integers(1, 500))
def test_answers_are_told_apart_however_they_arrive(sizes: list[int], step: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pipeline = Pipeline(Line(ours, 5.0), b"Host: a\r\n\r\n")
        source = Source(url="http://a.example/")
        asks = [
            Ask(item(f"{at}", size=size), source, b"/%d" % at, size, f"/{at}")
            for at, size in enumerate(sizes)
        ]
        pipeline.send(asks)
        sent = [noise(size, at) for at, size in enumerate(sizes)]
        for body in sent:
            theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

        came = []
        while pipeline.waiting:
            pipeline.receive(step)
            came += [(ask, bytes(body)) for ask, _, body in pipeline.whole()]

        assert came == list(zip(asks, sent, strict=True))
        assert pipeline.usable
