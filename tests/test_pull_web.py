import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpcore
import pytest

from fleet.messages import Source
from tests.fault_server import FaultServer
from tests.pull_support import Site, noise, until
from tests.web_support import Script, get, plain, read
from workers.pull.faults import Bad, Passing, Refused, Unreachable
from workers.pull.web import Web
from workers.pull.web import line as lines
from workers.pull.web.line import MAX_KEPT, Line
from workers.pull.web.wire import Wire

BODY = noise(300_000)
SMALL = b"population,42\n"
PLAIN = plain(SMALL)


@pytest.fixture
def web(site: Site) -> Iterator[Web]:
    with Web(site.settings()) as running:
        yield running


@pytest.fixture
def hasty(site: Site) -> Iterator[Web]:
    """A client that gives up soon."""
    with Web(site.settings(stall_seconds=0.2)) as running:
        yield running


@pytest.fixture
def secure(certificate: Path) -> Iterator[FaultServer]:
    with FaultServer(certificate=certificate) as server:
        yield server


@pytest.fixture
def trusting(site: Site, certificate: Path) -> Iterator[Web]:
    """A client that believes the test's certificate and finds every host at 127.0.0.1."""
    context = ssl.create_default_context(cafile=str(certificate))
    with Web(site.settings(), context=context, resolve=lambda *_: ["127.0.0.1"]) as running:
        yield running


def https(server: FaultServer, path: str, host: str = "mirror.example") -> str:
    return server.url(path).replace("http://127.0.0.1", f"https://{host}")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as running:
        yield running


# Connections that are kept


def test_a_plain_answer_leaves_its_connection_for_the_next_request(web: Web) -> None:
    with FaultServer() as server:
        url = server.serve("census.zip", BODY)

        assert [get(web, url) for _ in range(5)] == [BODY] * 5

        assert server.connections == 1
        first, *others = [asked.headers for asked in server.requests]
        assert others == [first] * 4


def test_so_it_does_over_tls(trusting: Web, secure: FaultServer) -> None:
    secure.serve("census.zip", BODY)
    url = https(secure, "census.zip")

    assert [get(trusting, url, Range="bytes=5-") for _ in range(5)] == [BODY[5:]] * 5

    assert secure.connections == 1


def test_answers_that_nobody_reads_leave_it_too_if_they_are_all_there(web: Web) -> None:
    with FaultServer() as server:
        url = server.serve("census.zip", BODY)
        gone = server.serve("gone", fault="status", code=404)
        hop = server.serve("hop", fault="redirect", location=url)

        web.get(Source(url=gone), {}).close()
        web.get(Source(url=gone), {}).close()
        assert get(web, hop) == BODY

        assert server.connections == 1


def test_a_body_that_is_given_up_half_way_ends_its_connection(web: Web) -> None:
    with FaultServer() as server:
        url = server.serve("census.zip", noise(20_000_000))

        answer = web.get(Source(url=url), {})
        assert answer.readinto(memoryview(bytearray(10))) == 10
        answer.close()
        answer.close()
        until(lambda: server.open == 0)

        assert len(get(web, url)) == 20_000_000
        assert server.connections == 2


def test_only_so_many_idle_connections_are_kept_for_a_host(web: Web) -> None:
    with FaultServer() as server:
        source = Source(url=server.serve("census.zip", SMALL))

        answers = [web.get(source, {}) for _ in range(2 * MAX_KEPT)]
        assert [read(answer) for answer in answers] == [SMALL] * 2 * MAX_KEPT
        for answer in answers:
            answer.close()

        until(lambda: server.open <= MAX_KEPT)
        assert server.open == MAX_KEPT


def test_a_connection_that_was_idle_for_long_is_not_used(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FaultServer() as server:
        url = server.serve("census.zip", SMALL)
        get(web, url)
        monkeypatch.setattr(lines, "IDLE_SECONDS", -1.0)

        get(web, url)

        assert server.connections == 2


def test_a_client_that_is_left_closes_its_connections(site: Site) -> None:
    with FaultServer() as server:
        with Web(site.settings()) as web:
            get(web, server.serve("census.zip", SMALL))
            assert server.open == 1
        until(lambda: server.open == 0)


def test_the_centres_connection_serves_nobody_who_is_not_sent_there(site: Site) -> None:
    with FaultServer() as centre:
        base, url = centre.url("").rstrip("/"), centre.serve("origins/1", SMALL)
        with Web(site.settings(centre_url=base, allow_networks="")) as web:
            answer = web.get(Source(url=url, centre=True), {})
            assert read(answer) == SMALL
            answer.close()

            with pytest.raises(Refused, match="is not public"):
                web.get(Source(url=url), {})
        assert len(centre.requests) == 1


def test_a_borrowed_connection_takes_requests_as_they_are(web: Web) -> None:
    with Script([PLAIN, PLAIN, PLAIN]) as server:
        source = Source(url=server.url)
        call = web.call(source, {})
        assert web.borrow(call.place) is None
        get(web, server.url)

        line = web.borrow(call.place)
        assert line is not None
        line.socket.settimeout(5.0)
        line.socket.sendall(2 * call.message)
        found = bytearray()
        while len(found) < 2 * len(PLAIN):
            found += line.socket.recv(1 << 16)
        web.give_back(call.place, line)

        assert web.borrow(call.place) is line
        assert server.requests == [call.message] * 3
        line.close()


# Answers that are not plain

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\npopul\r\n9\r\nation,42\n\r\n0\r\nT: x\r\n\r\n"
)
OTHERS = {
    "chunked": CHUNKED,
    "chunked with a length": CHUNKED.replace(b"Tr", b"Content-Length: 3\r\nTr", 1),
    "encoded": plain(SMALL, "Content-Encoding: gzip"),
    "without a length": b"HTTP/1.1 200 OK\r\n\r\n" + SMALL,
    "closing": plain(SMALL, "Connection: close"),
    "HTTP/2.0": PLAIN.replace(b"1.1", b"2.0"),
    "HTTP/1.0": PLAIN.replace(b"1.1", b"1.0"),
    "HTTP/1.0 without a length": b"HTTP/1.0 200 OK\r\n\r\n" + SMALL,
    "lengths that agree": plain(SMALL, f"Content-Length: {len(SMALL)}"),
    "folded": plain(SMALL, "X-Note: one\r\n two"),
    "bare line feeds": PLAIN.replace(b"\r\n", b"\n"),
    "waiting": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3 + PLAIN,
}
HANGING_UP = {"without a length", "HTTP/1.0 without a length"}


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_any_other_answer_gives_the_same_bytes(web: Web, kind: str, step: int) -> None:
    end = [Script.HANG_UP] if kind in HANGING_UP else []
    with Script([OTHERS[kind], *end]) as server:
        answer = web.get(Source(url=server.url), {})

        assert answer.status == 200
        assert answer.host == server.netloc
        assert read(answer, step) == SMALL
        answer.close()


@pytest.mark.parametrize("kind", OTHERS)
def test_so_it_does_on_a_connection_that_was_plain_before(web: Web, kind: str) -> None:
    end = [Script.HANG_UP] if kind in HANGING_UP else []
    other = OTHERS[kind]
    with Script([PLAIN, other, *end], [other, *end]) as server:
        assert get(web, server.url) == SMALL
        assert get(web, server.url) == SMALL

        used_again = {"closing", "waiting"}
        assert server.connections == (1 if kind in used_again else 2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 ftp.example ready\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"\r\n" + PLAIN,
        PLAIN.replace(b"Length: 14", b"Length: -14"),
        PLAIN.replace(b"Length: 14", b"Length: 14x"),
        PLAIN.replace(b"Length: 14", b"Length: 14, 15"),
        PLAIN.replace(b"Length: 14", b"Length: " + b"9" * 30),
        plain(SMALL, "Content-Length: 15"),
        plain(SMALL, "No colon"),
        plain(b"", status="101 Switching Protocols"),
        plain(b"", f"X-Note: {'x' * 110_000}"),
    ],
)
def test_nonsense_on_a_used_connection_is_asked_again_on_a_new_one(web: Web, answer: bytes) -> None:
    with Script([PLAIN, answer, Script.HANG_UP], [PLAIN]) as server:
        assert get(web, server.url) == SMALL
        assert get(web, server.url) == SMALL
        assert server.connections == 2

    with (
        Script([answer, Script.HANG_UP]) as server,
        pytest.raises(Passing, match=f"^{server.netloc}: broke off before it answered"),
    ):
        web.get(Source(url=server.url), {})


def test_a_connection_that_the_server_closed_is_not_used(web: Web) -> None:
    with Script([PLAIN, Script.HANG_UP], [PLAIN]) as server:
        assert get(web, server.url) == SMALL
        assert get(web, server.url) == SMALL

        assert server.connections == 2


@pytest.mark.parametrize("times", [1, 2])
def test_what_follows_the_end_of_a_body_is_nobodys(web: Web, times: int) -> None:
    stale = plain(b"not yours, not ours")
    with Script([*[PLAIN] * (times - 1), PLAIN + stale, stale], [PLAIN]) as server:
        assert [get(web, server.url) for _ in range(times + 1)] == [SMALL] * (times + 1)

        assert server.connections == 2


def test_what_comes_unasked_on_an_idle_connection_spoils_it() -> None:
    near, far = socket.socketpair()
    with near, far:
        line = Line(near, 5.0)
        assert line.fresh()

        far.sendall(PLAIN)

        assert not line.fresh()


def test_httpcore_is_given_the_head_and_not_a_byte_of_the_body() -> None:
    near, far = socket.socketpair()
    with near, far:
        line = Line(near, 5.0)
        wire = Wire(line)
        far.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n" + PLAIN[:-4])
        url = httpcore.URL("http://mirror.example/census.zip")
        connection = httpcore.HTTP11Connection(url.origin, wire)

        response = connection.handle_request(
            httpcore.Request("GET", url, headers={"Host": "mirror.example"})
        )

        assert response.status == 200
        assert line.received == SMALL[:-4]
        far.sendall(PLAIN[-4:])
        line = wire.take()
        line.left = len(SMALL)
        view = memoryview(bytearray(100))
        assert [line.readinto(view), line.readinto(view[10:])] == [10, 4]
        assert line.readinto(view) == 0
        assert view[:14] == SMALL
        connection.close()
        assert line.fresh()


# Answers that do not come, or not to their end


@pytest.mark.parametrize("before", [[], [PLAIN]])
def test_a_server_that_gives_no_answer_is_not_waited_for(hasty: Web, before: list[bytes]) -> None:
    with Script([*before, Script.SILENCE]) as server:
        for _ in before:
            get(hasty, server.url)

        with pytest.raises(Passing, match=f"^{server.netloc}: gave no answer within 0.2 s"):
            get(hasty, server.url)
        assert len(server.requests) == len(before) + 1


@pytest.mark.parametrize(
    ("first", "again"),
    [(b"HTTP/1.1 200 OK\r\nX-Note: ", b"x"), (b"", b"HTTP/1.1 102 Processing\r\n\r\n")],
)
def test_a_header_that_trickles_is_no_answer(hasty: Web, first: bytes, again: bytes) -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(first)
                while not done.wait(0.02):
                    connection.sendall(again)

        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/census.zip"
        with pytest.raises(Passing, match=r"gave no answer within 0\.2 s"):
            hasty.get(Source(url=url), {})
        done.set()
        thread.join()


@pytest.mark.parametrize("answer", [PLAIN[:-4], CHUNKED[:-20], OTHERS["HTTP/1.0"][:-4]])
def test_a_body_that_ends_too_soon_broke_off(web: Web, answer: bytes) -> None:
    with Script([answer, Script.HANG_UP]) as server, pytest.raises(ConnectionError):
        get(web, server.url)


@pytest.mark.parametrize("answer", [PLAIN[:-4], CHUNKED[:-20], OTHERS["HTTP/1.0"][:-4]])
def test_a_body_that_falls_silent_is_late(hasty: Web, answer: bytes) -> None:
    with Script([answer, Script.SILENCE]) as server, pytest.raises(TimeoutError):
        get(hasty, server.url)


def test_a_body_that_is_reset_broke_off(web: Web) -> None:
    with FaultServer() as server, pytest.raises(ConnectionError):
        get(web, server.serve("census.zip", BODY, "resetting"))


def test_a_body_over_tls_that_falls_silent_or_breaks_off_says_so(
    site: Site, certificate: Path, secure: FaultServer
) -> None:
    secure.serve("stalling", BODY, "stalling")
    secure.serve("truncated", BODY, "truncated", cuts=(1000,))
    context = ssl.create_default_context(cafile=str(certificate))
    settings = site.settings(stall_seconds=0.3)
    with Web(settings, context=context, resolve=lambda *_: ["127.0.0.1"]) as web:
        with pytest.raises(TimeoutError):
            get(web, https(secure, "stalling"))
        with pytest.raises(ConnectionError):
            get(web, https(secure, "truncated"))


@pytest.mark.parametrize("name", ["mirror.example", "liar.example"])
def test_a_certificate_is_checked_against_the_name_not_the_address(
    trusting: Web, secure: FaultServer, name: str
) -> None:
    secure.serve("census.zip", BODY)
    url = https(secure, "census.zip", name)

    if name == "mirror.example":
        assert get(trusting, url) == BODY
        return
    with pytest.raises(Unreachable, match=r"liar\.example.*cannot be reached.*certificate"):
        get(trusting, url)
    assert secure.requests == []


def test_a_server_that_does_not_speak_tls_is_unreachable(trusting: Web) -> None:
    with FaultServer() as server, pytest.raises(Unreachable, match="cannot be reached"):
        get(trusting, https(server, "census.zip"))


def test_redirects_come_to_an_end(web: Web) -> None:
    with FaultServer() as server, pytest.raises(Bad, match="redirects more than 5 times"):
        get(web, server.serve("census.zip", fault="redirect"))


# Cuts


def test_a_reader_is_cut_off_by_another_thread(web: Web, threads: ThreadPoolExecutor) -> None:
    with FaultServer() as server:
        answer = web.get(Source(url=server.serve("census.zip", BODY, "stalling")), {})
        reading = threads.submit(read, answer)
        assert server.held.wait(10)

        answer.cut()
        assert isinstance(reading.exception(4), ConnectionError)
        answer.close()


def test_a_reader_over_tls_is_cut_off_as_well(
    trusting: Web, secure: FaultServer, threads: ThreadPoolExecutor
) -> None:
    secure.serve("census.zip", BODY, "stalling")
    answer = trusting.get(Source(url=https(secure, "census.zip")), {})
    reading = threads.submit(read, answer)
    assert secure.held.wait(10)

    answer.cut()
    assert isinstance(reading.exception(4), ConnectionError)
    answer.close()


def test_an_answer_that_was_closed_cuts_nobody_off(web: Web) -> None:
    with FaultServer() as server:
        source = Source(url=server.serve("census.zip", BODY))
        first = web.get(source, {})
        read(first)
        first.close()
        second = web.get(source, {})

        first.cut()

        assert read(second) == BODY
        assert server.connections == 1
        second.close()


def test_a_cut_client_ends_all_that_wait_and_asks_nobody_any_more(
    web: Web, threads: ThreadPoolExecutor
) -> None:
    with FaultServer() as server:
        stalling = Source(url=server.serve("stalling", BODY, "stalling"))
        silent = Source(url=server.serve("silent", BODY, "silent"))
        get(web, server.serve("census.zip", SMALL))
        reading = threads.submit(read, web.get(stalling, {}))
        asking = threads.submit(web.get, silent, {})
        until(lambda: server.active == 2)

        web.cut()

        assert isinstance(reading.exception(4), ConnectionError)
        assert isinstance(asking.exception(4), Passing)
        until(lambda: server.open == 0)
        with pytest.raises(Unreachable, match="we ended all connections"):
            get(web, server.url("census.zip"))
