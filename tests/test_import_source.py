"""The front door: which source is what, and what local paths may be read."""

import os
from pathlib import Path

import pytest

from fleet.importers import Draft, DraftArtifact, ImportRefused, is_url, read_source


def write(path: Path, text: str = "https://a.example/x.zip\n") -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_url_is_one_artifact(tmp_path: Path) -> None:
    url = "https://a.example/d/98-401_eng_CSV.zip?download=1"
    assert read_source(url, import_root=tmp_path) == Draft(
        name="98-401_eng_CSV",
        kind="url",
        artifacts=(DraftArtifact("98-401_eng_CSV.zip", (url,), media_type="application/zip"),),
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("file:///etc/passwd", "^file:///etc/passwd is not an http or https URL$"),
        ("https://user:hunter2@a.example/x", "holds a user name or password"),
        ("https://a.example/", "ends in a slash"),
        ("https://a.example/x\thttps://b.example/x", "control character U\\+0009"),
        ("", "empty"),
        ("a\0b", "NUL"),
        ("/nowhere/at/all", "^/nowhere/at/all: No such file or directory$"),
        ("/" + "x" * 5000, "File name too long"),
        (os.devnull, "neither a list nor a folder"),
        ("bad\udcffname", "No such file"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(source: str, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason) as refusal:
        read_source(source, import_root=None)
    assert str(refusal.value).isprintable()
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("vancouver-2022-index.txt", "vancouver-2022-index"),
        ("Données 2021 (été).TXT", "Donnees-2021-ete"),
        ("ca_nrcan_v0.1.0-beta", "ca_nrcan_v0.1.0-beta"),
        (".list", "dataset"),
        ("日本.txt", "dataset"),
    ],
)
def test_a_list_suggests_a_name(tmp_path: Path, file: str, name: str) -> None:
    draft = read_source(str(write(tmp_path / file)), import_root=None)
    assert (draft.name, draft.kind) == (name, "list")


def test_a_folder_keeps_the_dots_of_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "roads_v1.zip"
    folder.mkdir()
    write(folder / "x")
    assert read_source(f"{folder}/", import_root=None).name == "roads_v1.zip"


def test_a_bad_list_is_named_in_the_refusal(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    path.write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(ImportRefused, match=r"data\.zip: line 1 is not UTF-8 text$"):
        read_source(str(path), import_root=None)


def test_local_paths_stay_below_the_import_root(tmp_path: Path) -> None:
    root = tmp_path / "imports"
    root.mkdir()
    outside = write(tmp_path / "secret.txt")
    inside = write(root / "list.txt")
    (root / "link.txt").symlink_to(outside)
    (tmp_path / "back.txt").symlink_to(inside)
    (tmp_path / "same-root").symlink_to(root)

    assert read_source(str(inside), import_root=root).name == "list"
    assert read_source(str(inside), import_root=tmp_path / "same-root").name == "list"
    assert read_source(str(tmp_path / "back.txt"), import_root=root).name == "list"
    assert read_source(str(root), import_root=root).kind == "folder"
    for source in (
        outside,
        root / ".." / "secret.txt",
        root / "link.txt",
        tmp_path,
        tmp_path / "missing",
        Path("/etc/passwd"),
    ):
        with pytest.raises(ImportRefused, match=r"lies outside .*imports.*FLEET_IMPORT_ROOT"):
            read_source(str(source), import_root=root)


def test_only_what_has_a_scheme_is_a_url() -> None:
    assert is_url("https://a.example/x")
    assert is_url("FILE:///etc/passwd")
    assert not is_url("lists/https.txt")
    assert not is_url("/https://a.example/x")
