import contextlib
import errno
import hashlib
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.messages import Budget, Item, ItemResult, Source
from tests.fault_server import FaultServer
from tests.pull_support import FOLDER, Site, item, noise, order
from workers.lease import Lease, Stopped
from workers.pull.landing import Landing
from workers.pull.pace import Pace
from workers.pull.quick import quick
from workers.pull.quick.hosts import MOST_FAILURES, MOST_SHORT, SMALL, Ask, _split
from workers.pull.quick.pipeline import READ, Pipeline
from workers.pull.run import Run
from workers.pull.watch import Watch
from workers.pull.web import Web
from workers.pull.web.line import Line

MANY = 40
Behaviour = Callable[["Talk"], None]


class Talk:
    """A connection of a server that is asked for several things ahead."""

    def __init__(self, server: "Piped", connection: socket.socket, number: int) -> None:
        self.number = number
        self.asked: list[str] = []
        self._server = server
        self._connection = connection
        self._received = b""

    def next(self) -> str:
        """Wait for the next request; give its path."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        request, _, self._received = self._received.partition(b"\r\n\r\n")
        path = request.split()[1].decode().lstrip("/")
        self.asked.append(path)
        self._server.asked.append(path)
        return path

    @property
    def ahead(self) -> bool:
        """Whether another request is here already."""
        with contextlib.suppress(BlockingIOError):
            self._connection.setblocking(False)
            self._receive()
        self._connection.setblocking(True)
        return bool(self._received)

    def answer(self, path: str, *fields: str, length: int | None = None) -> None:
        body = self._server.files[path]
        lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body) if length is None else length}"]
        self.send("\r\n".join([*lines, *fields, "", ""]).encode() + body)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def _receive(self) -> None:
        more = self._connection.recv(65536)
        if not more:
            raise ConnectionError("the client went away")
        self._received += more


class Piped:
    """A server whose connections behave as a test says."""

    def __init__(self, behaviour: Behaviour, bodies: dict[str, bytes]) -> None:
        self.files = bodies
        self.asked: list[str] = []
        self.talks: list[Talk] = []
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/{path}"

    def items(self, *, proven: bool = True) -> list[Item]:
        return items_of(self.files, self.url, proven=proven)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._sockets.append(connection)
                talk = Talk(self, connection, len(self.talks))
                self.talks.append(talk)
                thread = threading.Thread(target=self._talk, args=(connection, talk))
                self._threads.append(thread)
                thread.start()

    def _talk(self, connection: socket.socket, talk: Talk) -> None:
        with contextlib.suppress(OSError), connection:
            self._behaviour(talk)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


class Rush:
    """One quick pull: what it delivered and what it left."""

    def __init__(
        self, site: Site, items: list[Item], lease: Lease | None = None, **fields: Any
    ) -> None:
        settings = site.settings(stall_seconds=fields.pop("stall_seconds", 5.0))
        rest = fields.pop("rest_seconds", 0.0)
        client = Web(settings, context=fields.pop("tls", None), resolve=lambda *_: ["127.0.0.1"])
        given = order(*fields.pop("all_items", items), **fields)
        self.site = site
        self.items = items
        self.results: dict[str, ItemResult] = {}
        self.stopped = False
        lease = lease or Lease(given.budget)
        with client as web, Landing(site.storage) as landing:
            self.run = Run(
                given, site.storage, lease, settings, b"", Watch(), web, landing, Pace(lease)
            )
            if rest:
                self.run.tallies.of(items[0].sources[0]).ready_at = time.monotonic() + rest
            try:
                left = quick(self.run, items, self._delivered)
            except Stopped:
                self.stopped, left = True, []
        self.left = {one.path for one in left}

    def _delivered(self, one: Item, result: ItemResult) -> None:
        assert one.path not in self.results
        self.results[one.path] = result

    def check(self) -> None:
        """What was delivered is right and in its place, and nothing else is anywhere."""
        for one in self.items:
            if one.path in self.results and one.sha256:
                body = self.site.file(one.path).read_bytes()
                assert hashlib.sha256(body).hexdigest() == one.sha256
        assert self.site.visible() == sorted(f"{FOLDER}/{path}" for path in self.results)
        assert self.site.staged() == []
        assert self.stopped or self.left == {one.path for one in self.items} - set(self.results)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for mirror.example, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
    command += "-subj /CN=mirror.example -addext subjectAltName=DNS:mirror.example "
    command += f"-keyout {folder}/key -out {folder}/certificate"
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    both = folder / "both.pem"
    both.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return both


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def bodies(many: int = MANY, size: int = 1000) -> dict[str, bytes]:
    return {f"d{at % 3}/{at:04}.csv": noise(size, at) for at in range(many)}


def items_of(
    files: dict[str, bytes], url: Callable[[str], str], *, proven: bool = True
) -> list[Item]:
    return [
        item(path, url(path), body=body) if proven else item(path, url(path), size=len(body))
        for path, body in files.items()
    ]


def serve(server: FaultServer, files: dict[str, bytes], *, proven: bool = True) -> list[Item]:
    for path, body in files.items():
        server.serve(path, body)
    return items_of(files, server.url, proven=proven)


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


# Faults of a host


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("wrong_bytes", {}),
        ("html", {}),
        ("html_unlabelled", {}),
        ("compressed", {}),
        ("chunked", {}),
        ("no_length", {}),
        ("truncated", {"cuts": (300,)}),
        ("huge_length", {}),
        ("huge_length", {"length": 1001}),
        ("huge_length", {"length": 10**30}),
        ("status", {"code": 404}),
        ("status", {"code": 500}),
        ("status", {"code": 204}),
        ("redirect", {}),
        ("garbage", {}),
        ("endless_chunked", {}),
        ("unasked_range", {}),
    ],
)
@pytest.mark.parametrize("at", [0, 25])
def test_one_bad_answer_leaves_one_item_without_blame(
    site: Site, server: FaultServer, fault: str, options: dict[str, Any], at: int
) -> None:
    items = serve(server, bodies())
    bad = items[at]
    server.serve(bad.path, noise(1000, at), fault, **options)

    rush = Rush(site, items, budget=Budget(streams=1))

    rush.check()
    (report,) = rush.run.tallies.reports()
    assert at == 0 or rush.left == {bad.path}  # who begins badly may not be asked on
    assert report.errors == 0


@pytest.mark.parametrize("fault", ["silent", "stalling", "trickling"])
def test_a_host_that_falls_silent_is_left(site: Site, server: FaultServer, fault: str) -> None:
    items = serve(server, bodies(200))
    server.serve(items[150].path, noise(1000, 150), fault)

    rush = Rush(site, items, stall_seconds=0.3, budget=Budget(streams=1))

    rush.check()
    assert items[150].path in rush.left
    assert len(rush.results) >= 100


def test_a_host_that_fails_again_and_again_is_left(site: Site, server: FaultServer) -> None:
    items = serve(server, bodies(400))
    for at, one in enumerate(items[10:]):
        server.serve(one.path, noise(1000, at), "status", code=404)

    rush = Rush(site, items, budget=Budget(streams=1))

    rush.check()
    assert set(rush.results) == {one.path for one in items[:10]}
    assert len(server.requests) < 10 + MOST_FAILURES + 64


@pytest.mark.parametrize("good", [0, 3])
@pytest.mark.parametrize(
    ("answer", "out", "rests"),
    [
        (b"429 Too Many Requests\r\nRetry-After: 60", True, False),
        (b"500 Oops\r\nRetry-After: 5", False, True),
        (b"429 Too Many Requests", False, False),
        (b"503 Service Unavailable", False, False),
    ],
)
def test_a_host_that_it_is_too_much_for_is_left_at_once(
    site: Site, good: int, answer: bytes, out: bool, rests: bool
) -> None:
    def behave(talk: Talk) -> None:
        while True:
            path = talk.next()
            if len(server.asked) <= good:
                talk.answer(path)
            else:
                talk.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % answer)

    with Piped(behave, bodies(200)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()
        assert len(rush.results) == good
        assert len(server.asked) <= 2 * good + 1  # so many were sent ahead before it said so
        (tally,) = rush.run.tallies.hosts.values()
        assert (tally.out is not None, tally.errors) == (out, int(out))
        assert (tally.ready_at > time.monotonic()) == rests


def test_a_host_that_rests_is_not_asked(site: Site, server: FaultServer) -> None:
    rush = Rush(site, serve(server, bodies()), rest_seconds=60)

    assert len(rush.left) == MANY
    assert not server.requests


def test_more_is_sent_ahead_only_as_answers_come(site: Site) -> None:
    ahead: list[int] = []

    def behave(talk: Talk) -> None:
        while True:
            paths = [talk.next()]
            while talk.ahead:
                paths.append(talk.next())
            ahead.append(len(paths))
            for path in paths:
                talk.answer(path)

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        assert not rush.left
        assert all(many <= sum(ahead[:at]) + 1 for at, many in enumerate(ahead))


def test_a_host_that_nobody_reaches_is_left(site: Site) -> None:
    with FaultServer() as gone:
        items = serve(gone, bodies())

    rush = Rush(site, items)

    rush.check()
    assert len(rush.left) == MANY


@pytest.mark.parametrize("announced", [True, False])
def test_a_host_that_closes_after_so_many_answers_is_asked_on(site: Site, announced: bool) -> None:
    def behave(talk: Talk) -> None:
        for at in range(50):
            last = announced and at == 49
            talk.answer(talk.next(), *(["Connection: close"] if last else []))

    with Piped(behave, bodies(300)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()
        assert not rush.left
        assert len(server.talks) == 6
        # Once it is known how many answers there are, nothing is asked in vain.
        assert all(len(talk.asked) == 50 for talk in server.talks[1:])


def test_a_host_that_closes_at_once_is_left(site: Site) -> None:
    with Piped(lambda talk: talk.answer(talk.next()), bodies(300)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()
        assert len(server.talks) == len(rush.results) == MOST_SHORT


def test_answers_out_of_turn_are_not_taken_for_others(site: Site) -> None:
    def behave(talk: Talk) -> None:
        talk.answer(talk.next())
        while True:
            first, second = talk.next(), talk.next()
            talk.answer(second)
            talk.answer(first)

    with Piped(behave, bodies(61)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1), stall_seconds=0.5)

        rush.check()
        assert len(rush.results) == 1


@pytest.mark.parametrize("extra", [b"x", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 70_000])
def test_bytes_between_answers_end_the_connection(site: Site, extra: bytes) -> None:
    def behave(talk: Talk) -> None:
        for _ in range(40):
            talk.answer(talk.next())
        talk.send(extra)
        while True:
            talk.answer(talk.next())

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()
        assert len(rush.results) > 90


@pytest.mark.parametrize("length", [999, 1001, 0])
def test_a_length_that_lies_puts_nothing_in_the_wrong_place(site: Site, length: int) -> None:
    def behave(talk: Talk) -> None:
        for at in range(1000):
            talk.answer(talk.next(), length=length if at % 20 == 19 else None)

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1), stall_seconds=0.5)

        rush.check()
        assert len(rush.results) >= 19


def test_an_answer_that_nobody_asked_for_is_not_taken(site: Site) -> None:
    def behave(talk: Talk) -> None:
        while True:
            path = talk.next()
            talk.answer(path)
            if len(talk.asked) % 30 == 0:
                talk.answer(path)

    with Piped(behave, bodies(100)) as server:
        rush = Rush(site, server.items(), budget=Budget(streams=1))

        rush.check()


def test_what_only_says_to_wait_is_no_answer(site: Site) -> None:
    def behave(talk: Talk) -> None:
        while True:
            path = talk.next()
            talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
            talk.answer(path)

    with Piped(behave, bodies()) as server:
        rush = Rush(site, server.items())

        rush.check()
        assert not rush.left


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


@given(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=20), step=st.integers(1, 4000))
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
