"""`fleet pull` as a real process: what it brings, says, refuses and leaves behind."""

import hashlib
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fleet.cli import main as cli
from fleet.cli.pull.screen import line, render
from fleet.cli.pull.sight import HostLine, Observer, Sight
from fleet.cli.pull.wishes import WrongUsageError, rate, typed_networks, wishes
from tests.cli_support import Ended
from tests.fault_server import FaultServer
from tests.pull_support import noise, until
from workers.pull import Watch, mirror

NAME = "census.zip"
MIB = 1024 * 1024
BODY = noise(12 * MIB + 345)
SHA256 = hashlib.sha256(BODY).hexdigest()
SECONDS = 60


@dataclass(frozen=True)
class Place:
    """A folder that files are pulled to."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: str) -> Ended:
        """Run the command as ``fleet`` would."""
        self.monkeypatch.setattr(sys, "argv", ["fleet", "pull", *words, "--to", str(self.folder)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ended(int(caught.value.code or 0), *self.capsys.readouterr())

    @contextmanager
    def process(self, *words: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Run it as a process of its own, no longer than the test."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [sys.executable, "-m", "fleet", "pull", *words, "--to", str(self.folder)]
        with subprocess.Popen(command, env=kept, text=True, **piped) as process:
            try:
                yield process
            finally:
                process.kill()

    def files(self) -> list[str]:
        if not self.folder.exists():
            return []
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def read(self, name: str = NAME) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Place:
    for name in [name for name in os.environ if name.startswith("FLEET_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(mirror, "FIRST_WAIT", 0.01)
    return Place(tmp_path / "data", monkeypatch, capsys)


@pytest.fixture
def servers() -> Iterator[list[FaultServer]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FaultServer()) for _ in range(2)]


def refused(place: Place, code: int, words: Sequence[str], *said: str) -> None:
    """It ends with this exit code and one line that says these; nothing was made or asked."""
    before = place.files()
    ended = place.run(*words)
    assert (ended.code, ended.out) == (code, ""), ended
    assert ended.err.startswith("fleet: ")
    assert ended.err.count("\n") == 1, ended.err
    assert all(word in ended.err for word in said), ended.err
    assert place.files() == before


def test_a_file_comes_and_its_digest_is_told(place: Place, server: FaultServer) -> None:
    ended = place.run(server.serve(NAME, BODY))

    assert (ended.code, ended.err) == (0, "")
    assert place.read() == BODY
    assert sorted(path.name for path in place.folder.iterdir()) == [NAME]
    path, digest, checked, came = ended.out.splitlines()
    assert path == f"{place.folder / NAME}  13 MB"
    assert digest.split() == ["sha256", SHA256]
    assert checked.strip() == "not checked: no digest was given"
    assert came.startswith("13 MB came in ")


def test_a_digest_is_checked_however_it_is_written(place: Place, server: FaultServer) -> None:
    url = server.serve(NAME, BODY)

    first = place.run(url, "--sha256", f"sha256:{SHA256.upper()}")
    again = place.run(url, "--sha256", SHA256)

    assert (first.code, again.code) == (0, 0)
    assert "  checked against --sha256\n" in first.out
    assert "  it was there already; checked against --sha256\n" in again.out
    assert "nothing had to be fetched" in again.out
    assert len(server.asked(NAME)) == server.files[NAME].times
    assert server.sent[NAME] == len(BODY)


def test_urls_of_one_digest_are_mirrors_and_the_liar_is_named(
    place: Place, servers: list[FaultServer]
) -> None:
    lie = bytes([BODY[0] ^ 1]) + BODY[1:]
    urls = [servers[0].serve("a.zip", lie), servers[1].serve("b.zip", BODY)]

    ended = place.run(*urls, "--sha256", SHA256)

    assert ended.code == 0, ended.err
    assert place.files() == ["a.zip"]
    assert place.read("a.zip") == BODY
    assert f"from {servers[1].netloc}" in ended.out
    assert ended.err.startswith(f"fleet: {servers[0].netloc} sent wrong bytes: ")
    assert ended.err.count("\n") == 1


def test_urls_of_two_digests_are_two_files(place: Place, server: FaultServer) -> None:
    other = noise(1000, seed=2)
    urls = [server.serve(NAME, BODY), server.serve("notes/read me.txt", other)]
    digests = ["--sha256", SHA256, "--sha256", hashlib.sha256(other).hexdigest()]

    ended = place.run(*urls, *digests)

    assert ended.code == 0, ended.err
    assert place.files() == [NAME, "read me.txt"]
    assert place.read("read me.txt") == other
    assert "2 of 2 files: " in ended.out


def test_what_fails_is_named_and_stops_nothing_else(place: Place, server: FaultServer) -> None:
    ended = place.run(server.serve(NAME, BODY), server.url("none.csv"))

    assert ended.code == 1
    assert place.files() == [NAME]
    assert "1 of 2 files: " in ended.out
    assert ended.err == f"fleet: none.csv: {server.netloc}: answered 404 Not Found\n"


def test_wrong_bytes_never_get_the_files_name(place: Place, server: FaultServer) -> None:
    ended = place.run(server.serve(NAME, BODY, "wrong_bytes"), "--sha256", SHA256)

    assert (ended.code, ended.out) == (1, "")
    assert place.files() == []
    assert f"{server.netloc}: sent the wrong bytes" in ended.err


def test_json_is_all_there_is_on_standard_output(place: Place, server: FaultServer) -> None:
    ended = place.run(
        server.serve(NAME, BODY), server.url("none.csv"), "--json", "--limit-rate", "100M"
    )

    assert (ended.code, ended.err) == (1, "")
    told = json.loads(ended.out)
    assert set(told) == {"files", "sources", "bytes", "seconds", "rate"}
    there, missing = told["files"]
    assert there == {
        "path": str(place.folder / NAME),
        "ok": True,
        "size": len(BODY),
        "sha256": SHA256,
        "md5": None,
        "checked": False,
        "source": server.url(NAME),
        "reason": "",
    }
    assert (missing["ok"], missing["size"], missing["checked"]) == (False, None, False)
    assert "404" in missing["reason"]
    [source] = told["sources"]
    assert set(source) == {
        *("host", "bytes", "seconds", "requests", "errors", "last_error", "evidence"),
        *("throttled", "retry_after", "latency_ms"),
    }
    assert (source["host"], source["bytes"]) == (server.netloc, len(BODY))
    assert told["bytes"] == len(BODY)


@pytest.mark.parametrize(
    ("number", "code", "known"),
    [(signal.SIGINT, 130, False), (signal.SIGINT, 130, True), (signal.SIGTERM, 143, True)],
)
def test_a_signal_ends_it_and_the_same_command_goes_on(
    place: Place, server: FaultServer, number: int, code: int, known: bool
) -> None:
    url = server.serve(NAME, BODY, "stalling", after=9 * MIB)
    words = [url, *(["--sha256", SHA256] if known else [])]
    with place.process(*words) as process:
        assert server.held.wait(SECONDS)
        staging = place.folder / ".staging"
        until(lambda: any(any(path.read_bytes()) for path in staging.glob("*.map")))
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)

    assert (process.returncode, out) == (code, "")
    assert err == f"fleet: stopped; what came is kept in {staging}: run the same command to go on\n"
    server.serve(NAME, BODY)
    before = len(server.asked(NAME))
    ended = place.run(*words)
    assert ended.code == 0, ended.err
    assert place.read() == BODY
    assert sorted(path.name for path in place.folder.iterdir()) == [NAME]
    assert min(asked.start for asked in server.asked(NAME)[before:]) > 0


def test_nothing_that_is_there_is_overwritten(place: Place, server: FaultServer) -> None:
    place.folder.mkdir()
    (place.folder / NAME).write_bytes(b"mine")
    (place.folder / "taken").mkdir()
    (place.folder / "link").symlink_to("elsewhere")
    url = server.serve(NAME, BODY)

    refused(place, 1, [url], str(place.folder / NAME), "exists; give --sha256 to check it")
    refused(place, 1, [server.url("taken"), "--sha256", SHA256], "exists and is no regular file")
    refused(place, 1, [server.url("link"), "--sha256", SHA256], "link", "symbolic link")
    assert server.requests == []
    ended = place.run(url, "--sha256", SHA256)

    assert ended.code == 0
    assert place.read() == BODY
    assert f"it is kept in {place.folder / '.quarantine'}" in ended.err
    [kept] = (place.folder / ".quarantine").glob("*/data")
    assert kept.read_bytes() == b"mine"


def test_a_redirect_to_a_private_address_that_was_not_typed_is_refused(
    place: Place, server: FaultServer
) -> None:
    with FaultServer(host="127.0.0.2") as other:
        target = other.serve(NAME, BODY)
        ended = place.run(server.serve("sent-on.zip", fault="redirect", location=target))
        assert ended.code == 1
        assert "its address 127.0.0.2 is not public" in ended.err
        assert other.connections == 0
        assert place.files() == []
        assert place.run(target).code == 0


def test_wrong_usage_is_told_before_anything_is_asked(place: Place, server: FaultServer) -> None:
    url, other = server.serve(NAME, BODY), server.serve("other.zip", BODY)
    refused(place, 2, [url, "--sha256", "abc"], "--sha256 'abc'", "64 hex digits")
    digests = ["--sha256", SHA256, "--sha256", SHA256]
    refused(place, 2, [url, other, url, *digests], "3 URLs and 2 --sha256")
    refused(place, 2, [url, "--limit-rate", "fast"], "--limit-rate 'fast'", "5M")
    refused(place, 2, [url, server.url(f"old/{NAME}")], "two files would be named census.zip")
    assert server.requests == []
    assert not place.folder.exists()
    assert place.run(url, "--streams", "0").code == 2
    assert place.run().code == 2


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://a.example/", "names no file"),
        ("https://a.example", "names no file"),
        ("https://a.example/x/?name=y", "names no file"),
        ("https://a.example/a%2Fb", "'a/b' is no plain file name"),
        ("https://a.example/%2e%2e", "begins with a dot"),
        ("https://a.example/a%00b", "control character"),
        ("https://a.example/" + "x" * 300, "longer than 255"),
        ("a.example/x", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("https://me:secret@a.example/x", "user or password"),
    ],
)
def test_a_url_that_names_no_file_is_wrong_usage(url: str, said: str) -> None:
    with pytest.raises(WrongUsageError) as caught:
        wishes([url], [])
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_mirror_needs_no_name_but_has_to_be_a_url() -> None:
    first = "https://a.example/x.zip"
    [wish] = wishes([first, "https://b.example/?id=7"], [SHA256])
    assert (wish.name, len(wish.urls)) == ("x.zip", 2)
    with pytest.raises(WrongUsageError, match="only http and https"):
        wishes([first, "ftp://b.example/x.zip"], [SHA256])


def test_digests_tell_mirrors_from_files() -> None:
    urls = [f"https://{host}.example/{host}.zip" for host in "abc"]
    other = "0" * 64
    assert [wish.urls for wish in wishes(urls, [])] == [(url,) for url in urls]
    assert [wish.urls for wish in wishes(urls, [SHA256])] == [tuple(urls)]
    mixed = wishes(urls, [SHA256, other, SHA256])
    assert [(wish.name, wish.urls) for wish in mixed] == [
        ("a.zip", (urls[0], urls[2])),
        ("b.zip", (urls[1],)),
    ]


def test_rates_are_read_as_people_write_them() -> None:
    found = [rate(text) for text in ("", "1000", "500k", "5M", "1.5g")]
    assert found == [None, 1000, 500_000, 5_000_000, 1_500_000_000]
    for text in ("0", "999", "5MB/s", "-1", "1e9", "M", "nan", "9" * 40):
        with pytest.raises(WrongUsageError):
            rate(text)


def test_only_addresses_that_were_typed_become_networks() -> None:
    urls = ["http://10.0.0.7:81/x", "http://[fd00::7]/x", "http://LOCALHOST/x", "http://nas.lan/x"]
    found = [str(network) for network in typed_networks(urls)]
    assert found == ["10.0.0.7/32", "fd00::7/128", "127.0.0.1/32", "::1/128"]


def test_a_terminal_sees_how_far_it_is_even_with_json(place: Place, server: FaultServer) -> None:
    screen, terminal = pty.openpty()
    url = server.serve(NAME, BODY, "stalling", after=9 * MIB)
    seen = b""
    with place.process(url, "--json", stderr=terminal) as process:
        os.close(terminal)
        while chunk := _read(screen):
            asked = server.netloc.encode() in seen
            seen += chunk
            if not asked and server.netloc.encode() in seen:
                process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130, seen
        assert process.stdout is not None
        assert process.stdout.read() == ""
    os.close(screen)
    assert NAME.encode() in seen
    assert seen.count(b"\x1b[?25h") == seen.count(b"\x1b[?25l") == 1  # the cursor is back


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the process has let go of it
        return b""


FULL = Sight(
    files=[(f"{'very-' * 30}{number}\x1b[2J[red]", number < 2) for number in range(5)],
    failed=1,
    done=999_499_999_999,
    total=4_600_000_000_000,
    rate=123_456_789.0,
    hosts=[
        HostLine(f"mirror-{number}.{'long.' * 9}example", 4, 10**12, 1e8, 17, "sent \x07" * 40)
        for number in range(40)
    ],
    note="this host's disk is full: " + "very-" * 30 + " waits for room",
)


def drawn(sight: Sight, width: int, height: int) -> list[str]:
    console = Console(width=width, height=500, file=io.StringIO(), color_system=None)
    console.print(render(sight, width, height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [64, 80, 130])
def test_the_figures_of_hosts_have_room_beside_long_faults(width: int) -> None:
    fault = HostLine("netcup (mirror.example.org)", 3, 328_000_000, 45_600.0, 17, "wrong " * 40)

    lines = drawn(Sight(files=[("a", False)], hosts=[fault]), width, 20)

    (row,) = [one for one in lines if one.startswith("netcup")]
    assert all(figure in row for figure in (" 3 ", " 328 MB ", " 46 kB/s ", " 17 ", "wrong "))


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("height", [8, 12, 24, 60])
def test_the_screen_fits_its_terminal(width: int, height: int) -> None:
    lines = drawn(FULL, width, height)
    assert len(lines) <= height
    assert all(len(text) <= width for text in lines)
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert "2 of 5 files, 1 failed" in text
    assert "999 GB of 4.6 TB" in text


def test_the_screen_says_what_is_known_and_no_more() -> None:
    begun = Sight(files=[(NAME, False)], done=5_000_000, rate=1e6)
    assert "5.0 MB  1.0 MB/s" in "\n".join(drawn(begun, 80, 24))
    assert line(begun) == "5.0 MB, 1.0 MB/s"
    known = Sight(files=[(NAME, False)], done=5_000_000, total=65_000_000, rate=1e6)
    assert line(known) == "5.0 MB of 65 MB (7%), 1.0 MB/s, 1 min 00 s left"
    whole = Sight(files=[(NAME, False)], done=65, total=65)
    assert line(whole) == "65 B of 65 B (100%), 0 B/s, checking"
    empty = Sight(files=[(NAME, False)], done=0, total=0)
    assert "0 B of 0 B" in "\n".join(drawn(empty, 80, 24))


def test_rates_are_those_of_the_last_seconds(tmp_path: Path) -> None:
    watch = Watch(items=1, sizes={"a": 100})
    observer = Observer(watch, [tmp_path / NAME], 0.0)
    assert observer.look(0.1).rate == 0
    watch.held["a"] = 150  # some of it was thrown away
    for second in range(1, 20):
        sight = observer.look(float(second))
    assert (sight.done, sight.rate, sight.landed) == (100, 0, 0)
    (tmp_path / NAME).touch()
    assert observer.look(21.0).landed == 1
