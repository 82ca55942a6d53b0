"""`fleet torrent show|lint|reissue`: what they print, write and refuse."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.cli import main as cli
from fleet.torrent.metainfo import Metainfo, torrent_bytes
from fleet.torrent.parsed import parse
from tests.cli_support import Ended
from tests.fault_server import FaultServer
from tests.lint_support import BASE, KIB, fields, file, folder, hybrid, single
from tests.pull_support import noise, v1_pieces

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "torrents_d4c"
BODY = noise(100 * KIB)
PIECE = 16 * KIB


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command as ``fleet torrent`` would."""
    for name in [name for name in os.environ if name.startswith("FLEET_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FLEET_ALLOW_NETWORKS", "127.0.0.0/8")

    def run(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["fleet", "torrent", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return Ended(int(caught.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Lay a torrent down."""

    def put(data: bytes, name: str = "a.torrent") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return put


Put = Callable[..., Path]


def torrent(*seeds: str, files: tuple[tuple[str, int], ...] = (("a.zip", len(BODY)),)) -> bytes:
    """A torrent of ``BODY``, as one file or as several in the folder ``ID``."""
    name = files[0][0] if len(files) == 1 else "ID"
    return torrent_bytes(Metainfo(name, files, PIECE, v1_pieces(BODY, PIECE)), web_seeds=seeds)


def refused(ended: Ended, *said: str) -> None:
    assert (ended.code, ended.out) == (1, ""), ended
    assert ended.err.startswith("fleet: ")
    assert ended.err.count("\n") == 1, ended.err
    assert all(word in ended.err for word in said), ended.err


# -- show


def test_show_tells_what_a_torrent_holds(run: Run, put: Put) -> None:
    data = folder(BASE, around={"comment": "un été".encode()}, private=1)

    ended = run("show", put(data))

    assert (ended.code, ended.err) == (0, "")
    infohash = parse(data).infohash
    lines = ended.out.splitlines()
    assert " ".join(line.split()[0] for line in lines[:5]) == "name infohash kind size pieces"
    assert lines[1].split() == ["infohash", infohash]
    assert lines[2].endswith("v1, private")
    assert lines[3].endswith("307 kB (307,200 bytes)")
    assert lines[4].endswith("2 of 256 KiB")
    assert f"web seeds  {BASE}" in lines
    assert "comment    un été" in lines
    assert f"magnet     magnet:?xt=urn:btih:{infohash}&dn=ID&xl=307200" in ended.out
    assert lines[-2:] == ["files      306 kB  ID/v1/a.csv", f"{'':<11}1.0 kB  ID/v1/b.csv"]


def test_show_lists_twenty_files_and_counts_the_rest(run: Run, put: Put) -> None:
    files = [file(b"%d" % number, length=10) for number in range(1, 31)]
    path = put(folder(files=files, pieces=b"x" * 20))

    ended, everything = run("show", path), run("show", path, "--json").json

    assert ended.out.count(" B  ID/") == 20
    assert ended.out.endswith("and 10 more (--json has them all)\n")
    assert len(everything["files"]) == 30
    assert everything["files"][29] == {"path": "ID/30", "size": 10, "padding": False}
    assert everything["magnet"].startswith("magnet:?xt=urn:btih:" + everything["infohash"])


def test_show_knows_hybrids_and_cleans_what_a_terminal_would_obey(
    run: Run, put: Put, tmp_path: Path
) -> None:
    both = put(hybrid(tmp_path))
    rude = put(single(around={"comment": b"\x1b[2Jhi\nname       forged"}), "rude.torrent")

    assert run("show", both).out.splitlines()[2] == "kind       hybrid"
    out = run("show", rude).out
    assert "\x1b" not in out
    assert "\nname       forged" not in out


@pytest.mark.parametrize("command", ["show", "reissue"])
def test_what_is_no_torrent_is_refused_in_one_line(
    run: Run, put: Put, tmp_path: Path, command: str
) -> None:
    refused(run(command, put(b"<html>")), "a.torrent: not a torrent: bencoding is wrong")
    refused(run(command, tmp_path), "cannot be read: Is a directory")
    refused(run(command, tmp_path / "none"), "none cannot be read: No such file")
    refused(run(command, Path("/dev/zero")), "is no torrent: it has more than")


# -- lint


def test_lint_names_the_url_that_clients_would_ask_for(run: Run, put: Put) -> None:
    bad, good = put(folder(BASE + "ID/")), put(folder(BASE), "good.torrent")

    ended = run("lint", bad, good)

    assert ended.code == 1
    assert "error    seed-named-twice  the web seed already ends in" in ended.out
    assert f"web seed   {BASE}ID/\n" in ended.out
    assert f"asked for  {BASE}ID/ID/v1/a.csv\n" in ended.out
    assert ended.out.endswith("nothing is wrong with it\n")
    assert run("lint", good).code == 0


def test_lint_goes_on_after_a_file_that_is_no_torrent(run: Run, put: Put, tmp_path: Path) -> None:
    ended = run("lint", put(b"x"), tmp_path / "none", put(folder(BASE), "good.torrent"), "--json")

    assert ended.code == 1
    first, second, third = ended.json
    assert [one["findings"][0]["code"] for one in (first, second)] == ["refused", "unreadable"]
    assert (first["ok"], first["infohash"]) == (False, None)
    assert third == {
        "file": str(tmp_path / "good.torrent"),
        "ok": True,
        "infohash": parse(folder(BASE)).infohash,
        "web_seeds": [{"url": BASE, "asks": BASE + "ID/v1/a.csv"}],
        "findings": [],
    }


def test_warnings_alone_do_not_fail(run: Run, put: Put) -> None:
    ended = run("lint", put(single(around={"announce": None})))

    assert ended.code == 0
    assert "warning  no-sources" in ended.out


@pytest.mark.skipif(not REAL.is_dir(), reason="the real torrents are not on this machine")
def test_the_real_torrents_lint(run: Run) -> None:
    ended = run("lint", *sorted(REAL.glob("*.torrent")), "--json")

    assert ended.code == 0
    assert [len(one["findings"]) for one in ended.json] == [2] * 9


def test_a_probe_asks_for_a_whole_piece_and_names_each_fault(
    run: Run, put: Put, server: FaultServer
) -> None:
    good = server.serve("good/a.zip", BODY)
    seeds = {
        server.serve("gone/a.zip", BODY, "status", code=404): "answered 404 Not Found",
        server.serve("whole/a.zip", BODY, "no_ranges"): "ignores ranges",
        server.serve("cut/a.zip", BODY, "truncated", cuts=(5000,)): "sent 5000 of 16384 bytes",
        server.serve("wrong/a.zip", BODY, "wrong_bytes"): "serves the wrong bytes",
        server.serve("page/a.zip", BODY, "html"): "answered an HTML page",
    }

    ended = run("lint", "--probe", "--json", put(torrent(good, *seeds)))

    assert ended.code == 1
    found = [one for one in ended.json[0]["findings"] if one["code"] == "seed-fails"]
    assert [one["seed"] for one in found] == list(seeds)
    for one in found:
        assert seeds[one["seed"]] in one["text"]
    assert [asked.range for asked in server.asked("good/a.zip")] == ["bytes=81920-98303"]


def test_a_folders_web_seed_is_probed_where_clients_would_ask(
    run: Run, put: Put, server: FaultServer
) -> None:
    files = (("a", 40 * KIB), ("b c", 60 * KIB))
    server.serve("data/ID/b c", BODY[40 * KIB :])
    right, wrong = server.url("data/"), server.url("data/ID/")

    ended = run("lint", "--probe", put(torrent(right, wrong, files=files)))

    assert ended.code == 1
    assert ended.out.count("seed-fails") == 1
    assert f"asked for  {server.url('data/ID/ID/b c')}" in ended.out
    assert [asked.range for asked in server.asked("data/ID/b c")] == ["bytes=40960-57343"]


def test_where_pieces_span_files_only_presence_is_probed_and_said(
    run: Run, put: Put, server: FaultServer
) -> None:
    files = (*((f"{number:02}", 7 * KIB) for number in range(14)), ("last", 2 * KIB))
    server.serve("data/ID/00", BODY[: 7 * KIB])

    ended = run("lint", "--probe", put(torrent(server.url("data/"), files=files)))

    assert ended.code == 0, ended
    assert "note     seed-unproved" in ended.out
    assert [asked.range for asked in server.requests] == ["bytes=0-7167"]


def test_a_private_address_is_not_asked_for_a_torrent_of_others(
    run: Run, put: Put, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLEET_ALLOW_NETWORKS")

    ended = run("lint", "--probe", put(torrent(server.serve("a.zip", BODY))))

    assert ended.code == 1
    assert "is not public; FLEET_ALLOW_NETWORKS names" in ended.out
    assert server.requests == []


def test_settings_that_make_no_sense_are_refused(
    run: Run, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEET_STALL_SECONDS", "-1")
    refused(run("lint", "--probe", put(torrent(BASE + "a"))), "FLEET_STALL_SECONDS")


# -- reissue


def test_reissue_writes_other_links_and_the_same_infohash(
    run: Run, put: Put, tmp_path: Path
) -> None:
    data = single(BASE + "old", around={"httpseeds": [b"x"], "creation date": 7})
    out = tmp_path / "new.torrent"
    words = ["--web-seed", BASE + "a.zip", "--tracker", "udp://t.example:1"]
    words += ["--comment", "Census", "--comment-fr", "Recensement", "--out", str(out)]

    ended = run("reissue", put(data), *words)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{parse(data).infohash}  {out}  (1 web seeds)\n"
    new = parse(out.read_bytes())
    assert new.infohash == parse(data).infohash
    assert new.web_seeds == (BASE + "a.zip",)
    assert new.trackers == ("udp://t.example:1",)
    assert new.comment == "Census / Recensement"
    assert put(data).read_bytes() == data
    assert not {b"httpseeds", b"creation date"} & fields(out.read_bytes()).keys()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.torrent", "new.torrent"]


def test_reissue_keeps_what_no_option_speaks_of_and_removes_what_one_denies(
    run: Run, put: Put
) -> None:
    path = put(single(BASE + "a.zip", around={"comment": b"c"}))

    assert run("reissue", path).code == 0
    assert path.read_bytes() == single(BASE + "a.zip", around={"comment": b"c"})
    assert run("reissue", path, "--no-web-seeds", "--no-trackers", "--no-comment").code == 0
    assert fields(path.read_bytes()).keys() == {b"info"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--web-seed", BASE + "ID/"], [BASE + "ID/: ", f"ask for {BASE}ID/ID/v1/a.csv"]),
        (["--web-seed", "ftp://a.example/"], ["begins with none of http://"]),
        (["--tracker", "t.example"], ["'t.example' begins with none of"]),
        (["--web-seed", BASE, "--no-web-seeds"], ["contradict each other"]),
        (["--tracker", BASE, "--no-trackers"], ["contradict each other"]),
        (["--comment-fr", "c", "--no-comment"], ["contradict each other"]),
        (["--out", "/dev/null/a"], ["/dev/null/a cannot be written: Not a directory"]),
    ],
)
def test_reissue_refuses_and_leaves_the_file_alone(
    run: Run, put: Put, tmp_path: Path, words: list[str], said: list[str]
) -> None:
    data = folder(BASE)
    path = put(data)

    refused(run("reissue", path, *words), *said)

    assert path.read_bytes() == data
    assert [one.name for one in tmp_path.iterdir()] == ["a.torrent"]


def test_reissue_does_not_keep_a_web_seed_that_nobody_can_use(run: Run, put: Put) -> None:
    path = put(folder(BASE + "ID/"))

    refused(run("reissue", path, "--comment", "c"), "clients would ask for", "/ID/ID/")

    assert run("reissue", path, "--web-seed", BASE).code == 0
    assert run("lint", path).code == 0


def test_reissue_with_a_probe_drops_dead_seeds_and_says_why(
    run: Run, put: Put, server: FaultServer
) -> None:
    good = server.serve("good/a.zip", BODY)
    busy = server.serve("busy/a.zip", BODY, "status", code=429)
    path = put(torrent(good, busy))

    ended = run("reissue", path, "--probe")

    assert ended.code == 0
    assert ended.err.startswith(f"fleet: dropped {busy}: ")
    assert "answered 429 Too Many Requests" in ended.err
    assert ended.err.count("\n") == 1
    assert path.read_bytes() == torrent(good)


def test_more_web_seeds_than_anybody_would_use_are_not_probed(run: Run, put: Put) -> None:
    data = torrent(*(f"{BASE}{number}" for number in range(101)))

    refused(run("reissue", put(data), "--probe"), "101 web seeds are more than the 100")
