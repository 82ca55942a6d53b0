import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import client
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.cli.demo.origin import Origin, Throttle, byte_range, fault
from fleet.cli.demo.origins import write_list
from fleet.cli.demo.paths import PROFILE
from fleet.cli.demo.sample import make_sample


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Origin]:
    with Origin(folder, **options) as origin:
        thread = threading.Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield origin
        finally:
            origin.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("origin")
    (folder / "sub dir").mkdir()
    (folder / "sub dir" / "Québec #1.csv").write_bytes(bytes(range(256)) * 4000)
    (folder / "small.txt").write_bytes(b"0123456789")
    (folder.parent / "secret.txt").write_bytes(b"secret")
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def steady(folder: Path) -> Iterator[Origin]:
    with serving(folder) as origin:
        yield origin


def test_a_file_is_served_whole_with_a_strong_etag(steady: Origin, folder: Path) -> None:
    answer = httpx.get(f"{steady.url}/sub%20dir/Qu%C3%A9bec%20%231.csv?download=1")
    assert answer.status_code == 200
    assert answer.content == (folder / "sub dir" / "Québec #1.csv").read_bytes()
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"].startswith('"')
    head = httpx.head(f"{steady.url}/small.txt")
    assert (head.content, head.headers["content-length"]) == (b"", "10")


@pytest.mark.parametrize(
    ("asked", "status", "content", "content_range"),
    [
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-30", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=4-2", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
def test_ranges(
    steady: Origin, asked: str, status: int, content: bytes, content_range: str | None
) -> None:
    answer = httpx.get(f"{steady.url}/small.txt", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("content-range") == content_range


def test_a_range_of_an_older_file_is_answered_with_the_whole(steady: Origin) -> None:
    url = f"{steady.url}/small.txt"
    etag = httpx.head(url).headers["etag"]
    same = httpx.get(url, headers={"Range": "bytes=5-", "If-Range": etag})
    other = httpx.get(url, headers={"Range": "bytes=5-", "If-Range": '"older"'})
    assert (same.status_code, same.content) == (206, b"56789")
    assert (other.status_code, other.content) == (200, b"0123456789")


@given(st.text("bytes=-0123456789, ", max_size=20), st.integers(1, 100))
def test_a_range_never_leaves_the_file(header: str, size: int) -> None:
    span = byte_range(header, size)
    if span:
        assert 0 <= span.start < span.stop <= size


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/link.txt", "//etc/passwd"]
)
def test_nothing_outside_the_folder_is_served(steady: Origin, path: str) -> None:
    connection = client.HTTPConnection("127.0.0.1", int(steady.url.rpartition(":")[2]))
    for prefix in ("", "/old"):
        connection.request("GET", prefix + path)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (404, b"")
    connection.close()


def test_an_old_address_is_redirected(steady: Origin) -> None:
    answer = httpx.get(f"{steady.url}/old/sub%20dir/Qu%C3%A9bec%20%231.csv")
    assert (answer.status_code, answer.headers["location"]) == (
        302,
        "/sub%20dir/Qu%C3%A9bec%20%231.csv",
    )


def counters(origin: Origin) -> dict[str, int]:
    told: dict[str, int] = httpx.get(f"{origin.url}/_counters").json()
    return told


def test_body_bytes_are_counted_and_the_question_is_not(folder: Path) -> None:
    with serving(folder) as origin:
        with httpx.Client(base_url=origin.url) as web:
            web.get("/small.txt")
            web.get("/small.txt", headers={"Range": "bytes=1-3"})
            web.head("/small.txt")
            web.get("/none")
        assert counters(origin) == {"bytes": 13, "requests": 4, "faults": 0}
        assert counters(origin)["requests"] == 4


def test_one_connection_is_kept_for_many_small_files(folder: Path) -> None:
    with serving(folder) as origin:
        connection = client.HTTPConnection("127.0.0.1", int(origin.url.rpartition(":")[2]))
        connection.connect()
        before = connection.sock
        begun = time.monotonic()
        for _ in range(300):
            connection.request("GET", "/small.txt")
            assert connection.getresponse().read() == b"0123456789"
        assert connection.sock is before
        assert time.monotonic() - begun < 3
        connection.close()


def test_faults_repeat_are_about_one_in_ten_and_can_be_resumed(folder: Path) -> None:
    path = "/sub dir/Québec #1.csv"
    expected = (folder / path[1:]).read_bytes()
    plan = [fault(5, path, turn) for turn in range(1, 61)]
    assert {"busy", "cut"} < set(plan)
    with serving(folder, seed=5) as origin, httpx.Client(base_url=origin.url) as web:
        seen = []
        for _ in plan:
            received = b""
            etag = ""
            try:
                with web.stream("GET", path.replace("#", "%23")) as answer:
                    etag = answer.headers.get("etag", "")
                    for chunk in answer.iter_raw():
                        received += chunk
                if answer.status_code == 503:
                    assert answer.headers["retry-after"] == "1"
                    seen.append("busy")
                else:
                    assert received == expected
                    seen.append("none")
            except httpx.RemoteProtocolError:
                seen.append("cut")
                assert etag
                assert received == expected[: len(expected) // 2]
        assert seen == plan
        assert counters(origin)["faults"] == sum(kind != "none" for kind in plan)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_about_one_request_in_ten_fails(seed: int) -> None:
    kinds = [fault(seed, f"/{name}", turn) for name in range(500) for turn in (1, 2)]
    for kind in ("busy", "cut"):
        assert 20 <= kinds.count(kind) <= 90


def test_the_rate_is_shared_by_all_connections() -> None:
    throttle = Throttle(1_000_000)
    begun = time.monotonic()

    def take() -> None:
        for _ in range(4):
            throttle.take(25_000)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.25 <= time.monotonic() - begun < 1.0


def test_the_process_tells_its_ports_serves_and_ends_on_sigterm(
    folder: Path, tmp_path: Path
) -> None:
    port_file = tmp_path / "ports.json"
    port_file.write_text("stale")
    argv = ["--folder", str(folder), "--port-file", str(port_file), "--rate", "10"]
    process = subprocess.Popen([sys.executable, "-m", "fleet.cli.demo.origins", *argv])
    try:
        deadline = time.monotonic() + 10
        while not port_file.exists() or port_file.read_text() == "stale":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        urls = json.loads(port_file.read_text())
        begun = time.monotonic()
        answer = httpx.get(f"{urls['a']}/sub%20dir/Qu%C3%A9bec%20%231.csv")
        assert len(answer.content) == 1_024_000
        assert time.monotonic() - begun > 0.05  # 10 MB/s
        assert httpx.get(f"{urls['b']}/_counters").json()["requests"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()


def test_the_list_names_every_file_with_two_alternates_and_its_folders(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    files = make_sample(folder, scale=0.001)
    to = tmp_path / "list.txt"
    write_list(folder, "http://a", "http://b", to)
    lines = [line for line in to.read_text(encoding="utf-8").splitlines() if line]
    assert lines[0].startswith("#")
    entries = [line for line in lines if not line.startswith("#")]
    first = {"a": 0, "b": 0}
    listed = {}
    for line, option in zip(entries[::2], entries[1::2], strict=True):
        path = option.removeprefix("  out=")
        urls = [urlsplit(url) for url in line.split("\t")]
        listed[path] = urls
        first[urls[0].netloc] += 1
        assert line.isascii()
        if path == PROFILE:
            assert [unquote(url.path) for url in urls] == [f"/old/{path}"]
        else:
            assert {url.netloc for url in urls} == {"a", "b"}
            assert {unquote(url.path) for url in urls} == {f"/{path}"}
    assert set(listed) == {file.path for file in files}
    assert min(first.values()) > 100
