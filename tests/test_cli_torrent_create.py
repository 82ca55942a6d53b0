"""`fleet torrent create` as a command: what it makes, says, refuses and leaves behind."""

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import libtorrent as lt
import pytest

from fleet.cli.torrent import create
from fleet.torrent.metainfo import Metainfo, torrent_bytes
from fleet.torrent.parsed import ParsedTorrent, parse
from tests.pull_support import noise, v1_pieces
from tests.torrent_cli_support import Run, refused, runner, written

KIB = 1024
PIECE = 256 * KIB
SECONDS = 60


@pytest.fixture
def fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    return runner(tmp_path, monkeypatch, capsys)


def made(path: str | Path) -> ParsedTorrent:
    return parse(Path(path).read_bytes())


def test_a_file_gets_its_canonical_torrent(fleet: Run, tmp_path: Path) -> None:
    body = noise(3 * PIECE + 5)
    written(tmp_path / "in", census_zip=body)
    canonical = Metainfo("census.zip", (("census.zip", len(body)),), PIECE, v1_pieces(body, PIECE))

    ended = fleet("create", "in/census.zip")

    assert (ended.code, ended.err) == (0, "")
    assert Path("census.zip.torrent").read_bytes() == torrent_bytes(canonical)
    assert Path("census.zip.torrent").stat().st_mode & 0o777 == 0o644
    where, infohash, magnet = ended.out.splitlines()
    assert where == "census.zip.torrent  786 kB in 1 file, 4 pieces of 256 KiB"
    assert infohash.split() == ["infohash", canonical.infohash]
    assert magnet.split()[1].startswith(f"magnet:?xt=urn:btih:{canonical.infohash}&dn=census.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["census.zip.torrent", "in"]


def test_a_folders_files_come_in_the_order_of_their_paths(fleet: Run, tmp_path: Path) -> None:
    written(tmp_path / "ds", b_txt=b"b", a__z=b"z", a_b=b"ab", B=b"B", a__b__c=b"c", empty=b"")
    (tmp_path / "ds" / "nothing").mkdir()

    assert fleet("create", "ds/").code == 0

    paths = [path for path, _ in made("ds.torrent").files]
    assert paths == ["B", "a.b", "a/b/c", "a/z", "b.txt", "empty"]
    assert made("ds.torrent").pieces == v1_pieces(b"Babczb", PIECE)


def test_the_same_folder_gives_the_same_bytes_any_day(fleet: Run, tmp_path: Path) -> None:
    files = {f"f{number}": noise(1000, number) for number in range(9)}
    one, other = tmp_path / "one" / "ds", tmp_path / "other" / "ds"
    written(one, **files)
    written(other, **dict(reversed(files.items())))
    for path in other.iterdir():
        path.chmod(0o755)
        os.utime(path, (1, 1))

    assert fleet("create", "one/ds", "--out", "one.torrent").code == 0
    assert fleet("create", "other/ds", "--out", "other.torrent").code == 0
    assert Path("one.torrent").read_bytes() == Path("other.torrent").read_bytes()


def test_links_and_words_stay_outside_info(fleet: Run, tmp_path: Path) -> None:
    written(tmp_path / "ds", a=b"a", b=b"b")
    seeds, trackers = ["https://a.example/", "http://b.example/x/"], ["udp://t.example:6969"]
    words = [word for seed in seeds for word in ("--web-seed", seed)]
    words += ["--tracker", trackers[0], "--comment", "Merci à tous"]

    plain = fleet("create", "ds", "--json")
    ended = fleet("create", "ds", *words, "--out", "more.torrent", "--json")

    told, more = json.loads(ended.out), made("more.torrent")
    assert (ended.code, ended.err) == (0, "")
    assert (list(more.web_seeds), list(more.trackers), more.comment) == (
        *(seeds, trackers),
        "Merci à tous",
    )
    assert told == {
        "torrent": "more.torrent",
        "name": "ds",
        "infohash": json.loads(plain.out)["infohash"],
        "magnet": told["magnet"],
        "size": 2,
        "files": 2,
        "piece_length": PIECE,
        "pieces": 1,
        "left_out": [],
    }
    assert "ws=https%3A%2F%2Fa.example%2F" in told["magnet"]
    assert str(lt.load_torrent_file("more.torrent").ti.info_hash()) == more.infohash


def test_hidden_names_are_left_out_with_a_note(fleet: Run, tmp_path: Path) -> None:
    written(tmp_path / "ds", a=b"a", b=b"b", _secret=b"s", _git__config=b"c")

    ended = fleet("create", "ds")

    assert [path for path, _ in made("ds.torrent").files] == ["a", "b"]
    assert ended.err == "note: left out 2 hidden: .git, .secret\n"


def test_a_folder_of_one_file_gives_the_torrent_of_that_file(fleet: Run, tmp_path: Path) -> None:
    written(tmp_path / "ds", deep__census_zip=b"census")

    assert fleet("create", "ds").code == 0
    assert fleet("create", "ds/deep/census.zip", "--out", "other.torrent").code == 0
    assert Path("census.zip.torrent").read_bytes() == Path("other.torrent").read_bytes()


def test_what_no_torrent_can_hold_is_refused_by_name(
    fleet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = written(tmp_path / "good", a=b"a", b=b"b")
    Path("link").symlink_to("good")
    Path("empty").mkdir()
    Path("taken.torrent").write_bytes(b"mine")
    written(tmp_path / "linked", a=b"a").joinpath("over").symlink_to("a")
    written(tmp_path / "case", Readme=b"a", README=b"b")
    written(tmp_path / "odd").joinpath("x").mkdir(parents=True)
    (tmp_path / "odd" / "x" / "back\\slash").write_bytes(b"a")
    written(tmp_path / "special", a=b"a")
    os.mkfifo(tmp_path / "special" / "pipe")
    written(tmp_path / "latin", a=b"a")
    Path(os.fsdecode(b"latin/caf\xe9")).write_bytes(b"b")

    refused(fleet, ["create", "none"], "none cannot be read: No such file")
    refused(fleet, ["create", "link"], "link is a symbolic link")
    refused(fleet, ["create", "empty"], "0 bytes")
    refused(fleet, ["create", "linked"], "over is a symbolic link")
    refused(fleet, ["create", "case"], "'README' and 'Readme' are the same file to some clients")
    refused(fleet, ["create", "odd"], "slash in it")
    refused(fleet, ["create", "special"], "pipe is neither a file nor a folder")
    refused(fleet, ["create", "latin"], "invisible character")
    refused(fleet, ["create", good, "--out", "taken.torrent"], "taken.torrent exists")
    refused(fleet, ["create", good, "--out", "good/x.torrent"], "would lie in the folder")
    refused(fleet, ["create", good, "--out", "none/x.torrent"], "has no folder to lie in")
    monkeypatch.setattr(create, "MAX_TORRENT", 100)
    refused(fleet, ["create", good], "longer than 100 B", "make several")
    refused(fleet, ["create", good, "--web-seed", "ftp://x/"], "--web-seed 'ftp://x/'", code=2)
    refused(fleet, ["create", good, "--tracker", "http://"], "--tracker 'http://'", code=2)
    assert Path("taken.torrent").read_bytes() == b"mine"


@pytest.mark.parametrize("verb", ["create", "verify"])
def test_ctrl_c_ends_it_cleanly(tmp_path: Path, verb: str) -> None:
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(1 << 40)
    # of 2**40 zeros; what their hashes are is of no account
    big = Metainfo("big.bin", (("big.bin", 1 << 40),), 1 << 24, bytes(20 << 16))
    (tmp_path / "old.torrent").write_bytes(torrent_bytes(big))
    words = ["create", "big.bin"] if verb == "create" else ["verify", "old.torrent", "big.bin"]
    command = [sys.executable, "-m", "fleet", "torrent", *words]
    terminal, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "TERM": "xterm", "COLUMNS": "80"}
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=theirs,
                text=True,
            )
        )
        stack.callback(process.kill)  # which would hash on for hours
        os.close(theirs)
        shown = b""
        while b"1.1 TB" not in shown:
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        try:
            while some := os.read(terminal, 4096):
                shown += some
        except OSError:  # a terminal that nobody holds any more
            pass
        out, _ = process.communicate(timeout=SECONDS)
    os.close(terminal)

    assert (process.returncode, out) == (130, "")
    assert b"big.bin" in shown
    assert shown.endswith(b"fleet: stopped; nothing was written\r\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.bin", "old.torrent"]
