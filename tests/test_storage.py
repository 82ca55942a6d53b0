from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pull_support import FOLDER, Site
from workers.storage import UnsafePathError, contained

PARTS = ["..", ".", "/", "//", "\\", "\0", "a", "b.csv", " ", "é", "~", "\ud800", "\n"]
HOSTILE = st.lists(st.sampled_from(PARTS), max_size=8).map("".join)


@given(folder=HOSTILE, path=HOSTILE)
def test_every_path_is_contained_or_refused(folder: str, path: str) -> None:
    root = Path("/srv/fleet/nowhere")
    try:
        place = contained(root, folder, path)
    except UnsafePathError:
        return

    names = place.relative_to(root).parts
    assert names
    assert not any(name.startswith(".") or "\0" in name for name in names)
    assert "/".join(names) == "/".join(part for part in (folder, path) if part)


@pytest.mark.parametrize("path", ["été/données 2021.csv", "a b", "~", "c:", "-rf", "x" * 255])
def test_plain_names_of_any_kind_are_fine(site: Site, path: str) -> None:
    assert site.storage.path(FOLDER, path) == site.root / FOLDER / path


def test_a_path_that_names_no_file_is_refused(site: Site) -> None:
    with pytest.raises(UnsafePathError, match="names no file"):
        site.storage.path(FOLDER, "")


def test_long_paths_are_refused(site: Site) -> None:
    with pytest.raises(UnsafePathError, match="longer than 1024 bytes"):
        site.storage.path("", "/".join(["x" * 200] * 6))


@pytest.mark.parametrize("target", ["/etc", ".", "census"])
def test_no_link_below_the_root_is_followed(site: Site, target: str) -> None:
    site.root.mkdir(parents=True)
    (site.root / "link").symlink_to(target)

    for path in ("link", "link/passwd"):
        with pytest.raises(UnsafePathError, match="symbolic link"):
            site.storage.path("", path)


def test_the_root_itself_may_be_a_link(site: Site, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    site.root.symlink_to(tmp_path / "disk")
    site.storage.settle([site.put("a", b"abc")])

    assert site.storage.path(FOLDER, "a") == site.root / FOLDER / "a"


@pytest.mark.parametrize(
    ("artifact", "plain"),
    [("0198-ab_c.d", True), ("../../x", False), ("a/b", False), (".x", False), ("x" * 133, False)],
)
def test_any_id_is_staged_as_one_plain_file(site: Site, artifact: str, plain: bool) -> None:
    part = site.storage.staging(artifact)

    assert part.parent == site.root / ".staging"
    assert part.suffix == ".part"
    assert (part.stem == artifact) is plain
    assert len({site.storage.staging(name) for name in (artifact, artifact + "x")}) == 2


def test_a_published_file_takes_the_place_of_the_one_before(site: Site) -> None:
    part, final = site.storage.staging("a"), site.put("a", b"old")
    part.write_bytes(b"new")

    site.storage.publish(part, final)
    site.storage.settle([final])

    assert final.read_bytes() == b"new"
    assert not part.exists()


def test_quarantine_keeps_the_file_and_the_reason_and_never_collides(site: Site) -> None:
    cells = {
        site.storage.quarantine(site.put("a", body), "rot").parent for body in (b"one", b"two")
    }

    assert len(cells) == 2
    assert {(cell / "data").read_bytes() for cell in cells} == {b"one", b"two"}
    assert {(cell / "why.txt").read_text() for cell in cells} == {f"{FOLDER}/a\nrot\n"}
    assert site.visible() == []


def test_only_regular_files_have_a_size_and_can_be_opened(site: Site) -> None:
    path = site.put("a", b"abc")
    (path.parent / "folder").mkdir()
    (path.parent / "link").symlink_to(path)
    others = [path.parent / "folder", path.parent / "link", path.parent / "none", path / "below"]

    assert site.storage.size(path) == 3
    with site.storage.open(path) as file:
        assert file.read() == b"abc"
    for other in others:
        assert site.storage.size(other) is None
        with pytest.raises(OSError, match=str(other)):
            site.storage.open(other)


def test_removing_what_is_gone_is_fine(site: Site) -> None:
    path = site.put("a", b"abc")

    site.storage.remove(path)
    site.storage.remove(path)

    assert site.visible() == []
    assert site.storage.free() > 0


def test_a_scratch_folder_goes_with_its_run(site: Site) -> None:
    with site.storage.scratch() as folder:
        (folder / "0").write_bytes(b"staged")
        assert folder.parent == site.root / ".staging"

    assert not folder.exists()


def test_a_scratch_folder_goes_with_an_error_too(site: Site) -> None:
    with pytest.raises(KeyboardInterrupt), site.storage.scratch() as folder:
        raise KeyboardInterrupt

    assert not folder.exists()


def test_what_a_killed_run_left_is_swept_and_nothing_else(site: Site) -> None:
    staging = site.storage.staging_folder()
    (staging / "run-killed").mkdir()
    (staging / "run-killed" / "0").write_bytes(b"half")
    (staging / "run-artifact.part").write_bytes(b"a partial file")
    (staging / "run-link").symlink_to(site.root)
    site.put("a", b"abc")

    with site.storage.scratch() as one:
        (one / "0").write_bytes(b"staged")
        with site.storage.scratch() as other:
            assert other != one
            assert (one / "0").exists()

    assert sorted(path.name for path in staging.iterdir()) == ["run-artifact.part", "run-link"]
    assert site.file("a").exists()


def test_folders_are_synced_once_and_up_to_the_root(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [site.put(path, b"") for path in ("a/1", "a/2", "b/c/1")]
    synced: list[str] = []
    monkeypatch.setattr(
        "os.fsync", lambda number: synced.append(str(Path(f"/proc/self/fd/{number}").readlink()))
    )

    site.storage.settle(paths)

    below = ["", "/census", "/census/v1", "/census/v1/a", "/census/v1/b", "/census/v1/b/c"]
    assert sorted(synced) == [f"{site.root}{name}" for name in below]
    assert synced[-1] == str(site.root)
