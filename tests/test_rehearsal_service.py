import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fleet.rehearsal.connection import Drop
from fleet.rehearsal.exchange import Answer, Asked, Piece, ranged, window
from fleet.rehearsal.faults import parse
from fleet.rehearsal.service import Moment, Service

BODY = bytes(range(256)) * 1000


class Shelf(Service):
    """Keeps what is put, by path."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.kept: dict[str, tuple[Piece, ...]] = {}
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.method == "PUT":
            self.kept[asked.path] = asked.body.keep()
            return Answer(201)
        if asked.path not in self.kept:
            return Answer(404, {}, b"nothing here")
        headers = {"X-Shelf": "1", "Date": None, "ETag": '"1"'}
        return ranged(asked, self.kept[asked.path], headers)


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with Shelf(tmp_path / "bytes") as shelf:
        yield shelf


@pytest.fixture
def client(shelf: Shelf) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shelf.url) as client:
        yield client


def chunks() -> Iterator[bytes]:
    for at in range(0, len(BODY), 70_001):
        yield BODY[at : at + 70_001]


def test_what_is_put_is_read_again_whole_in_ranges_and_by_its_head(
    shelf: Shelf, client: httpx.Client
) -> None:
    assert client.put("/a", content=BODY).status_code == 201
    whole = client.get("/a")
    assert (whole.status_code, whole.content, whole.headers["x-shelf"]) == (200, BODY, "1")
    assert "date" not in whole.headers
    head = client.head("/a")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(BODY)))
    for asked, start, end in (("5-9", 5, 10), ("255990-", 255_990, 256_000), ("-7", -7, None)):
        part = client.get("/a", headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, BODY[start:end])
    assert part.headers["content-range"] == "bytes 255993-255999/256000"
    beyond = client.get("/a", headers={"Range": "bytes=256000-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */256000")
    assert client.get("/a", headers={"Range": "bytes=9-5"}).content == BODY
    for etag, length in (('"1"', 5), ('"2"', len(BODY))):
        same = client.get("/a", headers={"Range": "bytes=5-9", "If-Range": etag})
        assert len(same.content) == length
    assert client.get("/b").status_code == 404
    assert client.put("/empty", content=b"").status_code == 201
    assert client.get("/empty").content == b""


def test_a_chunked_body_is_received_and_one_that_waits_to_be_asked_for(
    shelf: Shelf, client: httpx.Client
) -> None:
    client.put("/chunked", content=chunks())
    assert client.get("/chunked").content == BODY
    client.put("/expected", content=BODY, headers={"Expect": "100-continue"})
    assert client.get("/expected").content == BODY
    assert [entry.received for entry in shelf.log] == [len(BODY), 0, len(BODY), 0]


def test_a_path_is_split_before_it_is_decoded(shelf: Shelf, client: httpx.Client) -> None:
    client.get("/a%2Fb/..%2Fc/%C3%A9t%C3%A9?q=1%262&q=3&empty=")
    (asked,) = shelf.asked
    assert asked.segments == ("a/b", "../c", "été")
    assert asked.query == (("q", "1&2"), ("q", "3"), ("empty", ""))
    assert asked.param("q") == "1&2"


def test_bodies_that_nobody_keeps_leave_nothing_on_the_disk(
    shelf: Shelf, client: httpx.Client
) -> None:
    client.post("/a", content=BODY)
    shelf.script.add("PUT * drop", "PUT * drop 1000")
    for _ in range(2):
        with pytest.raises(httpx.TransportError):
            client.put("/a", content=BODY)
    client.get("/settle")
    assert list(shelf.folder.iterdir()) == []


def test_a_refusal_comes_without_the_effect_and_a_mask_after_it(
    shelf: Shelf, client: httpx.Client
) -> None:
    shelf.script.add("PUT /b/* skip 1 times 2 refuse 503 Retry-After=1 'busy, come back'")
    shelf.script.add("PUT /b/* mask 504")
    assert client.put("/a", content=b"1").status_code == 201
    statuses = [client.put(f"/b/{n}", content=b"1").status_code for n in range(5)]
    # The first was let pass by the refusal, and so met the mask.
    assert statuses == [504, 503, 503, 201, 201]
    assert set(shelf.kept) == {"/a", "/b/0", "/b/3", "/b/4"}
    assert [entry.status for entry in shelf.log] == [201, *statuses]
    assert len(shelf.script.used) == 3
    shelf.script.add("GET /b/0 refuse 429 Retry-After=7 slower")
    slower = client.get("/b/0")
    assert (slower.status_code, slower.headers["retry-after"], slower.text) == (429, "7", "slower")


def test_an_answer_is_lost_before_or_after_the_effect(shelf: Shelf, client: httpx.Client) -> None:
    shelf.script.add("PUT /before drop", "PUT /half drop 1000", "PUT /after lose")
    for path in ("/before", "/half", "/after"):
        with pytest.raises(httpx.TransportError):
            client.put(path, content=BODY)
    assert client.get("/after").content == BODY
    assert set(shelf.kept) == {"/after"}
    noted = {entry.path: entry for entry in shelf.log if entry.fault}
    assert {path: entry.status for path, entry in noted.items()} == {
        "/before": 0,
        "/half": 0,
        "/after": 0,
    }
    assert 1000 <= noted["/half"].received <= len(BODY)


def test_an_answer_is_cut_a_body_damaged_and_a_client_left_waiting(
    shelf: Shelf, client: httpx.Client
) -> None:
    shelf.script.add("PUT * damage", "GET * cut 1000", "GET * stall")
    client.put("/a", content=BODY)
    with pytest.raises(httpx.RemoteProtocolError, match="1000"):
        client.get("/a")
    with pytest.raises(httpx.ReadTimeout):
        client.get("/a", timeout=0.2)
    damaged = client.get("/a").content
    assert (damaged[0], damaged[1:]) == (BODY[0] ^ 0xFF, BODY[1:])


def test_a_pattern_with_a_question_mark_is_about_the_query_too(
    shelf: Shelf, client: httpx.Client
) -> None:
    shelf.script.add("* /a?*uploadId=7* refuse 500")
    assert client.get("/a").status_code == 404
    assert client.get("/a?partNumber=1&uploadId=7").status_code == 500


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("PUT /a", "METHOD PATH"),
        ("PUT /a skip 1", "nothing is no act"),
        ("PUT /a explode", "explode is no act"),
        ("PUT /a times many lose", "many stands where a number should"),
        ("PUT /a refuse busy", "busy stands where a number should"),
        ("PUT /a lose 3", "lose takes no 3"),
        ("PUT /a cut", "cut needs a number of bytes"),
    ],
)
def test_a_line_that_is_no_fault_says_why(line: str, trouble: str) -> None:
    with pytest.raises(ValueError, match=trouble):
        parse(line)


def test_each_boundary_is_watched_and_can_end_the_connection(
    shelf: Shelf, client: httpx.Client
) -> None:
    moments: list[tuple[int, str, bool]] = []
    over = threading.Event()

    def watch(moment: Moment) -> None:
        moments.append((moment.number, moment.phase, moment.asked.path in shelf.kept))
        if moment.number == 2 and moment.phase == "received":
            raise Drop
        if moment.phase == "answered":
            over.set()

    shelf.watch = watch
    client.put("/a", content=BODY)
    assert over.wait(10)
    with pytest.raises(httpx.TransportError):
        client.put("/b", content=BODY)
    assert moments == [
        (1, "received", False),
        (1, "done", True),
        (1, "answered", True),
        (2, "received", False),
    ]
    assert "/b" not in shelf.kept


@pytest.mark.parametrize(
    ("number", "phase", "drop", "kept"),
    [
        (1, "received", False, {"/a"}),  # it came whole, so that it has its effect all the same
        (2, "received", True, {"/a"}),
        (2, "received", False, {"/a", "/b"}),
        (2, "done", False, {"/a", "/b"}),
    ],
)
def test_a_client_is_killed_at_a_boundary(
    shelf: Shelf, number: int, phase: str, drop: bool, kept: set[str]
) -> None:
    program = """
import sys, urllib.request
for path in "abc":
    request = urllib.request.Request(sys.argv[1] + "/" + path, data=b"x" * 300_000, method="PUT")
    urllib.request.urlopen(request).close()
"""
    started, had = threading.Event(), threading.Event()
    client: subprocess.Popen[bytes]

    def watch(moment: Moment) -> None:
        started.wait(10)
        if (moment.number, moment.phase) == (number, phase):
            client.kill()
            client.wait()
            if drop:
                had.set()
                raise Drop
        if (moment.number, moment.phase) == (number, "done"):
            had.set()

    shelf.watch = watch
    client = subprocess.Popen([sys.executable, "-c", program, shelf.url])
    started.set()
    assert client.wait(30) == -signal.SIGKILL
    assert had.wait(10)
    assert set(shelf.kept) == kept


def test_a_body_that_breaks_off_has_no_effect(shelf: Shelf, client: httpx.Client) -> None:
    port = int(shelf.url.rpartition(":")[2])
    for head in (b"Content-Length: 10", b"Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", port)) as broken:
            broken.sendall(b"PUT /a HTTP/1.1\r\n" + head + b"\r\n\r\n5\r\nhe")
            broken.shutdown(socket.SHUT_WR)
            assert broken.recv(100) == b""
    assert client.get("/a").status_code == 404
    assert [entry.status for entry in shelf.log] == [0, 0, 404]
    assert list(shelf.folder.iterdir()) == []


def test_the_log_holds_no_secret(shelf: Shelf, client: httpx.Client) -> None:
    client.get(
        "/a?access_token=hidden&page=1",
        headers={"Authorization": "hidden", "X-Amz-Security-Token": "hidden", "X-Plain": "shown"},
    )
    (entry,) = shelf.log
    assert (entry.query, dict(entry.headers)["x-plain"]) == ((("page", "1"),), "shown")
    assert "hidden" not in repr(entry)


def test_runs_are_cut_out_of_pieces_across_their_borders(tmp_path: Path) -> None:
    pieces = [Piece(tmp_path, 10, 5), Piece(tmp_path, 0, 5), Piece(tmp_path, 3, 5)]
    assert list(window(pieces, 4, 7)) == [
        Piece(tmp_path, 14, 1),
        Piece(tmp_path, 0, 5),
        Piece(tmp_path, 3, 1),
    ]
    assert list(window(pieces, 5, 0)) == []
    assert list(window(pieces, 12, 99)) == [Piece(tmp_path, 5, 3)]


def test_a_large_body_costs_little_memory(tmp_path: Path) -> None:
    program = """
import sys, pathlib
from fleet.rehearsal.exchange import Answer
from fleet.rehearsal.service import Service
class Shelf(Service):
    def answer(self, asked):
        return Answer(200, {}, asked.body.keep())
shelf = Shelf(pathlib.Path(sys.argv[1]))
print(shelf.url, flush=True)
shelf.run()
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(int(peak.split()[1]) // 1024)
"""
    command = [sys.executable, "-c", program, str(tmp_path / "bytes")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        size, step = 256 << 20, os.urandom(1 << 20)
        sent = (step for _ in range(size >> 20))
        back = 0
        with httpx.stream("PUT", url, content=sent, headers={"Content-Length": str(size)}) as got:
            for part in got.iter_raw():
                back += len(part)
        server.send_signal(signal.SIGTERM)
        peak = int(server.stdout.read())
    assert (back, server.returncode) == (size, 0)
    assert peak < 50, f"{peak} MiB"
