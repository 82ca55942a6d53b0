"""The HTTP door, asked by real clients over loopback."""

import asyncio
import http.client
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.metainfo import torrent_bytes
from fleet.torrent.shard import web_seed
from tests.seeder_support import PIECE, Shard, aria2, eventually
from workers.seeder.door import Door
from workers.seeder.gate import HEAD, Gate
from workers.seeder.ranges import Part, choose

DATA = bytes(range(256)) * 5000
ETAG = '"tag"'


class Asked:
    """A door in a thread of its own, and what it answers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.gate = Gate()
        self.door = Door(root, "127.0.0.1:0", self.gate)
        self._thread = threading.Thread(target=asyncio.run, args=(self.door.run_until_closed(),))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.door.port}"

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask for a path just as it is given."""
        link = http.client.HTTPConnection("127.0.0.1", self.door.port, timeout=10)
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            link.request(method, path, headers=fields)
            answer = link.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, named, answer.read()
        finally:
            link.close()

    def close(self) -> None:
        self.door.close()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    outside = tmp_path_factory.mktemp("site")
    root = outside / "data"
    folder = root / "ds" / "v1" / "raw é"
    folder.mkdir(parents=True)
    (root / "ds" / "v1" / "a.bin").write_bytes(DATA)
    (root / "ds" / "v1" / "empty.csv").touch()
    (root / "ds" / "v1" / "x.csv.gz").write_bytes(b"zip")
    (root / "ds" / "v1" / "index.html").write_bytes(b"<script>alert(1)</script>")
    (folder / "100% #1?.bin").write_bytes(b"odd name")
    (folder / ".part").write_bytes(b"unverified")
    (root / ".staging" / "ds").mkdir(parents=True)
    (root / ".staging" / "ds" / "a.bin").write_bytes(b"unverified")
    (outside / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(outside / "secret")
    (root / "linked").symlink_to(outside)
    (root / "inner").symlink_to(root / "ds")
    os.mkfifo(root / "ds" / "fifo")
    asked = Asked(root)
    yield asked
    asked.close()


def test_a_file_is_served_whole(asked: Asked) -> None:
    status, headers, body = asked.ask("/ds/v1/a.bin")
    assert (status, body) == (200, DATA)
    assert headers["content-length"] == str(len(DATA))
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["etag"].startswith('"')


def test_head_tells_the_same_without_a_body(asked: Asked) -> None:
    status, headers, body = asked.ask("/ds/v1/a.bin", "HEAD", Range="bytes=0-1")
    full = asked.ask("/ds/v1/a.bin")[1]
    assert (status, body) == (200, b"")
    assert {**headers, "date": ""} == {**full, "date": ""}


def test_an_empty_file_is_served(asked: Asked) -> None:
    status, headers, body = asked.ask("/ds/v1/empty.csv")
    assert (status, headers["content-length"], body) == (200, "0", b"")
    assert headers["content-type"] == "text/csv"
    assert asked.ask("/ds/v1/empty.csv", Range="bytes=0-")[0] == 416


def test_names_of_all_kinds_are_served(asked: Asked) -> None:
    assert asked.ask("/ds/v1/raw%20%C3%A9/100%25%20%231%3F.bin")[2] == b"odd name"
    assert asked.ask("/ds/v1/x.csv.gz")[1]["content-type"] == "application/octet-stream"
    assert "content-encoding" not in asked.ask("/ds/v1/x.csv.gz")[1]
    page = asked.ask("/ds/v1/index.html")[1]
    assert (page["content-type"], page["content-security-policy"]) == ("text/html", "sandbox")


@pytest.mark.parametrize(
    ("field", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=1279990-", 1279990, 1280000),
        ("bytes=1279999-99999999", 1279999, 1280000),
        ("bytes=-7", 1279993, 1280000),
        ("bytes=-99999999", 0, 1280000),
        ("BYTES= 5-9 ", 5, 10),
    ],
)
def test_a_range_is_served(asked: Asked, field: str, start: int, end: int) -> None:
    status, headers, body = asked.ask("/ds/v1/a.bin", Range=field)
    assert (status, body) == (206, DATA[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"
    assert headers["content-length"] == str(end - start)


@pytest.mark.parametrize("field", ["bytes=1280000-", "bytes=1280000-1280001", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(asked: Asked, field: str) -> None:
    status, headers, body = asked.ask("/ds/v1/a.bin", Range=field)
    assert (status, body) == (416, b"")
    assert headers["content-range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize(
    "field",
    ["bytes=-", "bytes=9-5", "bytes=0-1,5-9", "bytes=a-b", "lines=1-2", "bytes", "bytes=0-1-2",
     "bytes=" + "9" * 5000 + "-", "bytes=\xb2-\xb3"],
)  # fmt: skip
def test_a_range_that_means_nothing_here_gets_the_whole(asked: Asked, field: str) -> None:
    assert asked.ask("/ds/v1/a.bin", Range=field)[0] == 200


def test_a_resumed_download_never_mixes_two_files(asked: Asked) -> None:
    place = asked.root / "ds" / "v1" / "changing.bin"
    place.write_bytes(b"first version")
    tag = asked.ask("/ds/v1/changing.bin", "HEAD")[1]["etag"]
    part = asked.ask("/ds/v1/changing.bin", Range="bytes=6-", If_Range=tag)
    assert (part[0], part[2]) == (206, b"version")
    fresh = place.with_name("fresh")
    fresh.write_bytes(b"other version")
    os.utime(fresh, ns=(place.stat().st_atime_ns, place.stat().st_mtime_ns))
    fresh.replace(place)
    whole = asked.ask("/ds/v1/changing.bin", Range="bytes=6-", If_Range=tag)
    assert (whole[0], whole[2]) == (200, b"other version")
    assert whole[1]["etag"] != tag


def test_conditions_are_kept(asked: Asked) -> None:
    tag = asked.ask("/ds/v1/a.bin", "HEAD")[1]["etag"]
    status, headers, body = asked.ask("/ds/v1/a.bin", If_None_Match=f'"x", {tag}')
    assert (status, headers["etag"], body) == (304, tag, b"")
    assert asked.ask("/ds/v1/a.bin", If_None_Match=f"W/{tag}")[0] == 304
    assert asked.ask("/ds/v1/a.bin", If_None_Match='"x"')[0] == 200
    assert asked.ask("/ds/v1/a.bin", If_Match=f"W/{tag}")[0] == 412
    assert asked.ask("/ds/v1/a.bin", Range="bytes=0-1", If_Range=f"W/{tag}")[0] == 200
    assert asked.ask("/ds/v1/a.bin", If_Match='"x"', Range="bytes=0-1")[0] == 412
    assert asked.ask("/ds/v1/a.bin", If_Match=tag, Range="bytes=0-1")[0] == 206
    assert asked.ask("/ds/v1/a.bin", "HEAD", If_Match="*")[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ds",
        "/ds/",
        "/ds/v1",
        "/ds/v1/",
        "/ds/v1/none",
        "/ds/v1/a.bin/",
        "/ds/v1/a.bin/b",
        "//ds/v1/a.bin",
        "/ds//v1/a.bin",
        "/../secret",
        "/ds/../../secret",
        "/ds/../ds/v1/a.bin",
        "/./ds/v1/a.bin",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/..%5csecret",
        "/ds/v1/..%00",
        "/ds/v1/a.bin%00",
        "/%2fetc/passwd",
        "//etc/passwd",
        "/.staging/ds/a.bin",
        "/%2estaging/ds/a.bin",
        "/ds/v1/raw%20%C3%A9/.part",
        "/link",
        "/linked/secret",
        "/linked/data/ds/v1/a.bin",
        "/inner/v1/a.bin",
        "/ds/fifo",
        "/%ff",
        "/%ED%A0%80",
        "/" + "x" * 300,
        "/" + "x/" * 3000,
    ],
)
def test_nothing_else_is_served(asked: Asked, path: str) -> None:
    status, headers, body = asked.ask(path)
    assert (status, body) == (404, b"not found\n")
    assert headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_is_taken(asked: Asked, method: str) -> None:
    status, headers, _ = asked.ask("/ds/v1/a.bin", method)
    assert (status, headers["allow"]) == (405, "GET, HEAD")


def test_a_client_that_leaves_harms_nobody(asked: Asked) -> None:
    big = asked.root / "ds" / "v1" / "big.bin"
    with big.open("wb") as file:
        file.truncate(1 << 30)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", asked.door.port)) as link:
            link.sendall(b"GET /ds/v1/big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            assert link.recv(1000)
    assert asked.ask("/ds/v1/a.bin", Range="bytes=0-1")[2] == DATA[:2]


@given(
    st.integers(0, 50),
    st.integers(0, 60) | st.none(),
    st.integers(0, 60) | st.none(),
)
def test_a_part_is_what_slicing_gives(size: int, first: int | None, last: int | None) -> None:
    data = bytes(range(size))
    field = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    part = choose("GET", {"range": field}, size, ETAG)
    if first is None and last is None:
        wanted = None
    elif first is None:
        wanted = data[-last:] if last else b""
    elif last is not None and last < first:
        wanted = None
    else:
        wanted = data[first:] if last is None else data[first : last + 1]
    if wanted is None:
        assert part == Part(200, 0, size)
    elif not wanted:
        assert part.status == 416
    else:
        assert (part.status, data[part.start : part.end]) == (206, wanted)


@given(st.text(max_size=30), st.text(max_size=10))
def test_no_header_upsets_the_choice(field: str, other: str) -> None:
    names = ("range", "if-range", "if-match", "if-none-match")
    for name in names:
        part = choose("GET", {"range": f"bytes={other}", name: field}, 10, ETAG)
        assert part.status in {200, 206, 304, 412, 416}
        assert 0 <= part.start <= part.end <= 10


LONE = {"raw/lone #é.bin": 5 * PIECE + 7}
BUNDLE = {"a.bin": 3 * PIECE - 1, "e": 0, "é/b c.bin": PIECE + 1}


def web_seeded(asked: Asked, files: dict[str, int]) -> tuple[Shard, bytes]:
    """A shard that the door serves, and its torrent with the door as the only source."""
    shard = Shard("seeded", files)
    shard.put(asked.root)
    seed = web_seed(asked.url, shard.folder, shard.meta)
    return shard, torrent_bytes(shard.meta, web_seeds=[seed])


@pytest.mark.skipif(not shutil.which("aria2c"), reason="needs aria2c (Debian package aria2)")
@pytest.mark.parametrize("files", [LONE, BUNDLE], ids=["lone file", "bundle"])
def test_aria2_takes_the_door_as_a_web_seed(
    asked: Asked, tmp_path: Path, files: dict[str, int]
) -> None:
    shard, torrent = web_seeded(asked, files)
    done = aria2(torrent, tmp_path, shard.folder)
    assert done.returncode == 0, done.stdout
    assert shard.lies_in(tmp_path)


def download(torrent: bytes, folder: Path) -> None:
    """Download with libtorrent; once its session has ended, everything is on disk."""
    settings: Any = {"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "tick_interval": 100}
    session = lt.session(settings)
    params = lt.load_torrent_buffer(torrent)
    params.save_path = str(folder)
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    handle = session.add_torrent(params)
    eventually(lambda: handle.status().is_seeding, "the download is complete")


@pytest.mark.parametrize("files", [LONE, BUNDLE], ids=["lone file", "bundle"])
def test_libtorrent_takes_the_door_as_a_web_seed(
    asked: Asked, tmp_path: Path, files: dict[str, int]
) -> None:
    shard, torrent = web_seeded(asked, files)
    download(torrent, tmp_path / shard.folder)
    assert shard.lies_in(tmp_path)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("HEAD", "/ds/v1/a.bin", {}, 200),
        ("GET", "/ds/v1/none", {}, 404),
        ("GET", "/ds/v1/empty.csv", {"Range": "bytes=0-"}, 416),
        ("POST", "/ds/v1/a.bin", {}, 405),
    ],
)
def test_an_answer_without_content_is_counted_too(
    method: str, path: str, headers: dict[str, str], status: int, asked: Asked
) -> None:
    before = asked.gate.sent
    assert asked.ask(path, method, **headers)[0] == status
    assert asked.gate.sent == before + HEAD


def test_answers_without_content_keep_to_the_pace(asked: Asked) -> None:
    pace, count = 4 * HEAD, 8
    began = time.monotonic()
    asked.gate.limit(pace, None)
    try:
        for _ in range(count):
            assert asked.ask("/ds/v1/none")[0] == 404
    finally:
        asked.gate.limit(None, None)
    assert time.monotonic() - began >= (count - 2) * HEAD / pace
