"""The bundle of what made a version: the same bytes whatever it was read from, and no secret."""

import io
import os
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.blueprint import bundle, canonical, folder, members
from fleet.blueprint.folder import read_folder
from fleet.blueprint.guard import is_kept_out
from fleet.blueprint.members import Code, Member, file_of, link_to
from fleet.blueprint.refused import BlueprintRefused
from fleet.blueprint.sources import Source, parse
from fleet.blueprint.tar import archive
from fleet.torrent.paths import path_fault

NAMES = st.text(min_size=1, max_size=60).filter(lambda name: not path_fault(name))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
FILES = st.dictionaries(PATHS, st.tuples(st.binary(max_size=1500), st.booleans()), max_size=8)
DIGEST = "0" * 64


def _archive(found: Sequence[Member]) -> bytes:
    return b"".join(archive(found))


def _members(files: dict[str, tuple[bytes, bool]]) -> list[Member]:
    return [
        Member(path, len(data), lambda data=data: iter((data[:7], data[7:])), runs)  # type: ignore[misc]
        for path, (data, runs) in files.items()
    ]


def _bundled(code: Code, **more: Any) -> tuple[bytes, bundle.Bundled]:
    file = io.BytesIO()
    told = bundle.write(file, code, **more)
    assert (told.size, told.sha256) == (
        len(file.getvalue()),
        sha256(file.getvalue()).hexdigest(),
    )
    return file.getvalue(), told


def _read(data: bytes) -> dict[str, tuple[bytes, bool]]:
    """Read an archive with the standard library; all that is not to differ is as it must be."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        for one in tar:
            assert (one.uid, one.gid, one.uname, one.gname, one.mtime) == (0, 0, "", "", 0)
            assert one.isreg()
            assert one.mode in (0o644, 0o755)
            file = tar.extractfile(one)
            assert file is not None
            found[one.name] = file.read(), one.mode == 0o755
    return found


@given(FILES, st.randoms())
def test_an_archive_has_its_files_sorted_and_the_order_they_came_in_makes_no_difference(
    files: dict[str, tuple[bytes, bool]], chance: Any
) -> None:
    found = _members(files)
    data = _archive(found)
    assert list(_read(data).items()) == sorted(files.items())
    chance.shuffle(found)
    assert _archive(found) == data


@pytest.mark.parametrize("path", ["é" * 120, "a/" * 60 + "long.txt", "名前/" * 40 + "x", "x" * 100])
def test_a_long_name_or_one_that_is_not_ascii_is_kept_whole(path: str, tmp_path: Path) -> None:
    data = _archive([file_of(path, b"whole")])
    assert _read(data) == {path: (b"whole", False)}
    (tmp_path / "a.tar").write_bytes(data)
    command = ["tar", "-xf", "a.tar", "--no-same-owner"]
    subprocess.run(command, cwd=tmp_path, check=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert (tmp_path / path).read_bytes() == b"whole"


def test_the_bytes_are_the_same_on_every_machine_and_python() -> None:
    code = Code(
        (
            Member("run.sh", 3, lambda: iter((b"ls\n",)), executable=True),
            file_of("données/é.csv", b"a,b\n"),
            link_to("lib/data", "../données"),
            file_of("x" * 120, bytes(600)),
        ),
        commit="1" * 40,
        submodules=(("vendor", "2" * 40),),
    )
    _, told = _bundled(code, sources=[Source("https://a.example/1.zip", DIGEST)])
    assert (told.size, told.files) == (9216, 5)
    assert told.sha256 == "60144aa41f38fd48e93966a2fecd23c7fca45bb36692507648a54750a5ba0bc6"


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FILES.filter(bool), st.randoms())
def test_dates_owners_umask_and_hard_links_of_a_folder_make_no_difference(
    files: dict[str, tuple[bytes, bool]], chance: Any
) -> None:
    kept = {path: one for path, one in files.items() if not is_kept_out(path)}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        if not _lay(Path(one), kept, order=sorted(kept)):
            return
        order = list(kept)
        chance.shuffle(order)
        mask = os.umask(0o077)
        try:
            _lay(Path(other), kept, order=order, date=chance.randrange(2**31), linked=True)
        finally:
            os.umask(mask)
        if not kept:
            return
        data, _ = _bundled(read_folder(Path(one)))
        assert _bundled(read_folder(Path(other)))[0] == data
        code = {f"code/{path}": file for path, file in kept.items()}
        assert {path: file for path, file in _read(data).items() if "/" in path} == code


def _lay(
    root: Path,
    files: dict[str, tuple[bytes, bool]],
    *,
    order: list[str],
    date: int = 0,
    linked: bool = False,
) -> bool:
    """Put files into a folder; False where one is where another needs a folder."""
    first: dict[tuple[bytes, bool], Path] = {}
    for path in order:
        data, runs = files[path]
        place = root / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if linked and (data, runs) in first:
                place.hardlink_to(first[data, runs])
            else:
                place.write_bytes(data)
        except OSError:
            return False
        first[data, runs] = place
        place.chmod(place.stat().st_mode | 0o100 if runs else place.stat().st_mode & ~0o111)
        os.utime(place, (date, date))
        if linked and os.geteuid() == 0:
            os.chown(place, 1234, 5678)
    return True


def test_what_holds_secrets_is_left_out_and_told(tmp_path: Path) -> None:
    for name in ("main.py", ".env", "keys/site.pem", "keys/id_rsa", ".git/config", "ID_RSA.pub"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    for name in (".env.example", "key.py", "secrets.py", "environment.yml"):
        (tmp_path / name).write_text("x")
    data, told = _bundled(read_folder(tmp_path))
    assert sorted(_read(data)) == [
        "blueprint.json",
        "code/.env.example",
        "code/ID_RSA.pub",
        "code/environment.yml",
        "code/key.py",
        "code/main.py",
        "code/secrets.py",
    ]
    [note] = told.notes
    assert note.endswith(": .env, .git, keys/id_rsa, keys/site.pem")


def test_environment_files_and_sources_are_in_it_with_what_tells_of_them(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text("x")
    (tmp_path / "conda.lock").write_text("y")
    listed = parse(
        f"# ours\n{DIGEST}  https://b.example/2\n{DIGEST} *https://a.example/1\n".encode()
    )
    data, told = _bundled(
        read_folder(tmp_path / "code"), environment=[tmp_path / "conda.lock"], sources=listed
    )
    found = _read(data)
    assert found["environment/conda.lock"] == (b"y", False)
    assert canonical.loads(found["blueprint.json"][0]) == {
        "format": bundle.FORMAT,
        "commit": None,
        "submodules": [],
        "lfs_pointers": [],
        "environment": ["conda.lock"],
        "sources": [
            {"url": "https://a.example/1", "sha256": DIGEST},
            {"url": "https://b.example/2", "sha256": DIGEST},
        ],
    }
    assert (told.files, told.notes) == (3, ())


def test_an_environment_file_that_may_hold_a_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("x")
    code = Code((file_of("a", b""),))
    with pytest.raises(BlueprintRefused, match=r"\.env has a name that secrets have"):
        _bundled(code, environment=[tmp_path / ".env"])
    with pytest.raises(BlueprintRefused, match="absent cannot be read: No such file"):
        _bundled(code, environment=[tmp_path / "absent"])


@pytest.mark.parametrize(
    "target", ["b", "./b", "deep/b", "../b", "../deep", "..", "deep/./b", "missing"]
)
def test_a_link_that_stays_inside_is_kept_as_it_is(target: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(_archive([link_to("x/a", target)]))) as tar:
        [member] = tar.getmembers()
    assert (member.issym(), member.linkname, member.size) == (True, target, 0)


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../b", "deep/../../b", "deep/..", "", "a//b", "\udcff", "a\nb"]
)
def test_a_link_that_may_leave_is_refused(target: str) -> None:
    with pytest.raises(BlueprintRefused, match=r"x/a is a link to .* may lie outside"):
        link_to("x/a", target)


def test_no_link_of_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "real").mkdir()
    (tmp_path / "code" / "real" / "a").write_text("x")
    (tmp_path / "code" / "there").symlink_to("./real")
    found = {one.path: one.link for one in read_folder(tmp_path / "code").members}
    assert found == {"real/a": "", "there": "./real"}
    (tmp_path / "code" / "out").symlink_to(tmp_path)
    with pytest.raises(BlueprintRefused, match="out is a link to /"):
        read_folder(tmp_path / "code")


def test_what_is_neither_file_nor_folder_nor_link_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BlueprintRefused, match="pipe is no file, folder or link"):
        read_folder(tmp_path)
    (tmp_path / "pipe").unlink()
    with pytest.raises(BlueprintRefused, match="holds no file to bundle"):
        read_folder(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises(BlueprintRefused, match="s is no file"):
            read_folder(tmp_path)
    with pytest.raises(BlueprintRefused, match="absent cannot be read: No such file"):
        read_folder(tmp_path / "absent")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    code = read_folder(tmp_path)
    (tmp_path / "a").write_text("after all")
    with pytest.raises(BlueprintRefused, match="code/a gave 9 bytes where it had 6"):
        _bundled(code)
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")  # it is not waited for
    with pytest.raises(BlueprintRefused, match="code/a gave 0 bytes"):
        _bundled(code)


def test_what_is_too_much_is_refused_before_a_byte_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(bytes(1000 + number))
    monkeypatch.setattr(members, "MAX_BYTES", 3000)
    with pytest.raises(BlueprintRefused, match=r"more than the 3,000 .*code/2, 1,002 bytes"):
        _bundled(read_folder(tmp_path))
    monkeypatch.setattr(folder, "MAX_FILES", 2)
    with pytest.raises(BlueprintRefused, match="more than 2 files"):
        read_folder(tmp_path)


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "a\\b", "a\x07", "\udcff", "x" * 241])
def test_a_path_that_no_system_takes_is_refused(path: str) -> None:
    with pytest.raises(BlueprintRefused, match="cannot be bundled"):
        _archive([file_of(path, b"")])


def test_the_same_path_twice_is_refused() -> None:
    with pytest.raises(BlueprintRefused, match="a is there twice"):
        _archive([file_of("a", b""), file_of("a", b"x")])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("https://a.example/1", "line 2 of the sources: write a sha256"),
        (f"{DIGEST}  /etc/passwd", "line 2 .* is no URL of a source"),
        (f"{DIGEST}  javascript:alert(1)", "is no URL of a source"),
        (f"{DIGEST}  https://[a", "is no URL of a source"),
        (f"{DIGEST}  https://me:hush@a.example/1", "https://…@a.example/1 has a user or password"),
        (f"{DIGEST}  https://a.example/1?token=hush", r"a.example/1\?… has a token or signature"),
    ],
)
def test_a_bad_line_of_the_sources_is_named_without_its_secrets(line: str, said: str) -> None:
    with pytest.raises(BlueprintRefused, match=said) as caught:
        parse(f"# first\n{line}\n".encode())
    assert "hush" not in str(caught.value)
