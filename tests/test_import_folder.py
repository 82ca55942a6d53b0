"""A folder as a source, with all that a disk can hold."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet.importers import Draft, DraftArtifact, ImportRefused, as_json, folder, read_source


def read(path: Path) -> Draft:
    return read_source(str(path), import_root=None)


def write(path: Path, data: bytes = b"data") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def refusals(draft: Draft) -> list[str]:
    return sorted(item.refused for item in draft.artifacts if item.refused)


def good(draft: Draft) -> dict[str, tuple[str, ...]]:
    return {item.path: item.sources for item in draft.artifacts if not item.refused}


@contextmanager
def unprivileged() -> Iterator[None]:
    """Become nobody for a while if these tests run as root, whom no mode bits stop."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_every_regular_file_is_an_artifact_with_its_size(tmp_path: Path) -> None:
    write(tmp_path / "set" / "b.csv", b"12345")
    write(tmp_path / "set" / "a" / "x.parquet", b"")
    draft = read(tmp_path / "set")
    assert draft == Draft(
        name="set",
        kind="folder",
        artifacts=(
            DraftArtifact(
                "a/x.parquet",
                ("centre:a/x.parquet",),
                size=0,
                media_type="application/vnd.apache.parquet",
            ),
            DraftArtifact("b.csv", ("centre:b.csv",), size=5, media_type="text/csv"),
        ),
        root=(tmp_path / "set").resolve(),
    )
    assert [item["size"] for item in as_json(draft)["artifacts"]] == [0, 5]


def test_hidden_names_are_left_out_with_a_note(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    write(tmp_path / ".env")
    write(tmp_path / "b" / ".git" / "config")
    draft = read(tmp_path)
    assert list(good(draft)) == ["a.csv"]
    assert draft.notes == ("left out 2 hidden names: .env, b/.git",)


def test_links_stay_inside_the_folder_or_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "secret", b"outside")
    inside = tmp_path / "set"
    write(inside / "real" / "x", b"12345")
    (inside / "to-file").symlink_to("real/x")
    (inside / "to-folder").symlink_to("real")
    (inside / "out").symlink_to("../secret")
    (inside / "out-absolute").symlink_to(tmp_path / "secret")
    (inside / "out-folder").symlink_to(tmp_path)
    (inside / "nowhere").symlink_to("missing")
    (inside / "loop").symlink_to("loop")
    draft = read(inside)
    assert {item.path: item.size for item in draft.artifacts if item.path} == {
        "real/x": 5,
        "to-file": 5,
    }
    leaves = "is a link that leaves the folder"
    assert refusals(draft) == [
        "loop cannot be read (Too many levels of symbolic links)",
        "nowhere cannot be read (No such file or directory)",
        f"out {leaves}",
        f"out-absolute {leaves}",
        f"out-folder {leaves}",
        "to-folder is a link to a folder, and those are not followed",
    ]


def test_a_sibling_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    write(tmp_path / "set-secret" / "x")
    write(tmp_path / "set" / "y")
    (tmp_path / "set" / "link").symlink_to("../set-secret/x")
    assert refusals(read(tmp_path / "set")) == ["link is a link that leaves the folder"]


def test_special_files_are_refused_without_being_opened(tmp_path: Path) -> None:
    write(tmp_path / "a")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as door:
        here = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket must be short
        try:
            door.bind("socket")
        finally:
            os.chdir(here)
        draft = read(tmp_path)
    assert list(good(draft)) == ["a"]
    assert refusals(draft) == ["fifo is no regular file", "socket is no regular file"]


def test_what_cannot_be_read_is_refused_alone(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    write(tmp_path / "a").chmod(0o644)
    write(tmp_path / "locked").chmod(0)
    write(tmp_path / "folder" / "b")
    (tmp_path / "folder").chmod(0)
    try:
        with unprivileged():
            draft = read(tmp_path)
    finally:
        (tmp_path / "folder").chmod(0o755)
    assert list(good(draft)) == ["a"]
    assert refusals(draft) == [
        "folder is a folder that cannot be read (Permission denied)",
        "locked cannot be read (Permission denied)",
    ]


def test_names_that_are_no_safe_path_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "ok")
    for name in (b"bad\xff", b"line\nbreak", b"dot.", b"back\\slash"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"")
    write(tmp_path / "space " / "inside" / "x")
    draft = read(tmp_path)
    assert list(good(draft)) == ["ok"]
    assert len(refusals(draft)) == 5
    assert all(reason.isprintable() for reason in refusals(draft))
    assert "nothing below it is imported" in " ".join(refusals(draft))


def test_a_path_is_nfc_and_its_source_is_what_the_disk_says(tmp_path: Path) -> None:
    write(tmp_path / "e\u0301te\u0301.csv")
    assert good(read(tmp_path)) == {"été.csv": ("centre:e\u0301te\u0301.csv",)}


def test_names_that_differ_in_case_only_are_told_apart_with_a_note(tmp_path: Path) -> None:
    write(tmp_path / "d" / "A.zip")
    write(tmp_path / "d" / "a.zip")
    if len(list((tmp_path / "d").iterdir())) == 1:
        pytest.skip("this file system ignores case")
    draft = read(tmp_path)
    assert sorted(good(draft).values()) == [("centre:d/A.zip",), ("centre:d/a.zip",)]
    assert len({path.lower() for path in good(draft)}) == 2
    assert len(draft.notes) == 2


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImportRefused, match="holds no file"):
        read(tmp_path)


def test_a_folder_of_too_many_names_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "MAX_ITEMS", 3)
    write(tmp_path / "d" / "a")
    write(tmp_path / "d" / "b")
    assert len(read(tmp_path).artifacts) == 2
    write(tmp_path / "c")
    with pytest.raises(ImportRefused, match="more than 3 names"):
        read(tmp_path)
