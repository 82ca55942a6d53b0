"""`fleet torrent verify` as a command: what it finds in files, whoever made their torrent."""

import json
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest

from fleet.cli.torrent.findings import runs
from tests.pull_support import noise
from tests.torrent_cli_support import Run, refused, runner, written

PIECE = 256 * 1024
A, B, C = noise(2 * PIECE + 100, 1), noise(1000, 2), noise(3 * PIECE, 3)


@pytest.fixture
def fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    return runner(tmp_path, monkeypatch, capsys)


@pytest.fixture
def dataset(fleet: Run, tmp_path: Path) -> Path:
    """The folder `ds`: a (pieces 0 to 2), b (2), deep/c (2 to 5), empty; and ds.torrent."""
    folder = written(tmp_path / "ds", a=A, b=B, deep__c=C, empty=b"")
    assert fleet("create", "ds").code == 0
    return folder


def found(run: Run, *words: str | Path) -> dict[str, Any]:
    """What is told to a program."""
    ended = run("verify", *words, "--json")
    told: dict[str, Any] = json.loads(ended.out)
    assert ended.err == ""
    assert ended.code == (0 if told["whole"] else 1)
    return told


def flip(path: Path, at: int) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 1
    path.write_bytes(body)


@pytest.mark.parametrize("where", ["ds", "."])
def test_whole_files_are_told_in_one_line(fleet: Run, dataset: Path, where: str) -> None:
    ended = fleet("verify", "ds.torrent", where)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "ds is whole: 6 of 6 pieces are good, 1.3 MB in all\n"
    told = found(fleet, "ds.torrent", where)
    assert (told["good"], told["pieces"], told["bad"], told["faults"]) == (6, 6, [], [])


@pytest.mark.parametrize("where", ["census.zip", "other name", "."])
def test_a_lone_file_may_be_called_otherwise(fleet: Run, tmp_path: Path, where: str) -> None:
    written(tmp_path, census_zip=A)
    (tmp_path / "other name").write_bytes(A)
    assert fleet("create", "census.zip").code == 0

    assert found(fleet, "census.zip.torrent", where)["whole"]
    (tmp_path / "census.zip").unlink()
    assert [one["fault"] for one in found(fleet, "census.zip.torrent", ".")["faults"]] == [
        "missing"
    ]


def test_bad_pieces_are_named_with_the_files_they_touch(fleet: Run, dataset: Path) -> None:
    flip(dataset / "a", 5)
    flip(dataset / "b", 999)
    flip(dataset / "deep" / "c", PIECE)

    told = found(fleet, "ds.torrent", "ds")
    ended = fleet("verify", "ds.torrent", "ds")

    assert (told["good"], told["faults"]) == (3, [])
    assert told["bad"] == [
        {"first": 0, "last": 0, "files": ["a"]},
        {"first": 2, "last": 3, "files": ["a", "b", "deep/c"]},
    ]
    lines = [line.split(maxsplit=1) for line in ended.out.splitlines()]
    assert lines[1:3] == [["bad", lines[1][1]], ["bad", lines[2][1]]]
    assert lines[1][1].split() == ["piece", "0", "a"]
    assert lines[2][1].split() == ["pieces", "2", "to", "3", "a,", "b,", "deep/c"]
    assert ended.out.endswith("ds is not whole: 3 of 6 pieces are good, 1.3 MB in all\n")


def test_what_is_missing_short_or_too_long_is_named(fleet: Run, dataset: Path) -> None:
    (dataset / "a").write_bytes(A[: PIECE + 5])
    (dataset / "b").unlink()
    (dataset / "deep" / "c").write_bytes(C + b"more")
    (dataset / "empty").unlink()

    told = found(fleet, "ds.torrent", "ds")

    faults = [(one["fault"], one["path"], one["size"], one["found"]) for one in told["faults"]]
    assert faults == [
        ("short", "a", len(A), PIECE + 5),
        ("missing", "b", len(B), 0),
        ("long", "deep/c", len(C), len(C) + 4),
        ("missing", "empty", 0, 0),
    ]
    assert told["bad"] == [{"first": 1, "last": 2, "files": ["a", "b", "deep/c"]}]


def test_bytes_too_many_alone_are_a_fault_as_well(fleet: Run, dataset: Path) -> None:
    (dataset / "empty").write_bytes(b"x")

    told = found(fleet, "ds.torrent", "ds")

    assert (told["whole"], told["good"]) == (False, 6)
    assert "1 bytes more than 0" in fleet("verify", "ds.torrent", "ds").out


def test_links_out_of_the_folder_are_not_followed(
    fleet: Run, dataset: Path, tmp_path: Path
) -> None:
    (dataset / "a").rename(tmp_path / "a")
    (dataset / "a").symlink_to(tmp_path / "a")
    (dataset / "deep").rename(tmp_path / "deep")
    (dataset / "deep").symlink_to(tmp_path / "deep")
    (dataset / "b").unlink()
    (dataset / "b").mkdir()

    told = found(fleet, "ds.torrent", "ds")

    assert told["good"] == 0
    assert [(one["fault"], one["path"], one["reason"]) for one in told["faults"]] == [
        ("unusable", "a", "it is a symbolic link"),
        ("unusable", "b", "it is no regular file"),
        ("unusable", "deep/c", "a name on its way is a link, or no folder"),
    ]


def test_a_folder_in_a_folder_of_the_same_name_is_told_apart(fleet: Run, tmp_path: Path) -> None:
    written(tmp_path / "ds", ds__x=A, y=B, z=C)
    assert fleet("create", "ds").code == 0

    assert found(fleet, "ds.torrent", "ds")["whole"]
    assert found(fleet, "ds.torrent", ".")["whole"]


def test_padding_of_a_hybrid_torrent_is_not_looked_for(fleet: Run, tmp_path: Path) -> None:
    written(tmp_path / "ds", a=A, b=B, c=C)
    entries = [
        lt.create_file_entry(f"ds/{n}", len(body)) for n, body in zip("abc", (A, B, C), strict=True)
    ]
    maker = lt.create_torrent(entries, PIECE)
    lt.set_piece_hashes(maker, str(tmp_path))
    made = maker.generate()
    assert any(one.get(b"attr") == b"p" for one in made[b"info"][b"files"])
    Path("hybrid.torrent").write_bytes(lt.bencode(made))

    assert found(fleet, "hybrid.torrent", "ds")["whole"]
    flip(tmp_path / "ds" / "c", 0)
    assert found(fleet, "hybrid.torrent", "ds")["bad"] == [
        {"first": 4, "last": 4, "files": ["c"]},
    ]
    (tmp_path / "ds" / "b").unlink()
    assert found(fleet, "hybrid.torrent", "ds")["bad"] == [
        {"first": 3, "last": 4, "files": ["b", "c"]},
    ]


def test_what_cannot_be_told_is_refused(fleet: Run, dataset: Path) -> None:
    Path("not.torrent").write_bytes(b"hello")
    Path("empty folder").mkdir()

    refused(fleet, ["verify", "none.torrent", "ds"], "none.torrent cannot be read: No such file")
    refused(fleet, ["verify", "ds", "ds"], "ds cannot be read: Is a directory")
    refused(fleet, ["verify", "not.torrent", "ds"], "not.torrent: not a torrent")
    refused(fleet, ["verify", "ds.torrent", "none"], "none does not exist")
    refused(fleet, ["verify", "ds.torrent", "empty folder"], "holds no folder ds")
    refused(fleet, ["verify", "ds.torrent", "ds/a"], "ds/a holds no folder ds")


def test_neighbours_are_joined_to_runs() -> None:
    assert runs([]) == []
    assert runs([0, 1, 2, 5, 7, 8]) == [range(3), range(5, 6), range(7, 9)]
