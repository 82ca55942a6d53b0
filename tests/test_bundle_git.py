"""The code of one commit: what its objects hold, whatever else a repository would have done."""

import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fleet.blueprint import bundle
from fleet.blueprint.folder import read_folder
from fleet.blueprint.git import read_commit
from fleet.blueprint.members import Code, Member
from fleet.blueprint.refused import BlueprintRefused

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


class Repository:
    """A git repository, and git in it."""

    def __init__(self, root: Path, *words: str) -> None:
        if shutil.which("git") is None:
            pytest.skip("git is not installed")
        self.root = root
        self.environment = os.environ | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        root.mkdir(exist_ok=True)
        self.git("init", "-q", *words)

    def git(self, *words: str, said: str = "") -> str:
        done = subprocess.run(
            ["git", *words],
            cwd=self.root,
            env=self.environment,
            check=True,
            capture_output=True,
            text=True,
            input=said,
        )
        return done.stdout.strip()

    def put(self, path: str, text: str) -> Path:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    def commit(self) -> str:
        self.git("add", "-A", "-f")
        return self.commit_index()

    def commit_index(self) -> str:
        self.git("commit", "-q", "-m", "x")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "work")


def _held(code: Code) -> dict[str, tuple[bytes, bool, str]]:
    return {one.path: _content(one) for one in code.members}


def _content(one: Member) -> tuple[bytes, bool, str]:
    return b"".join(one.read()), one.executable, one.link


def _filled(repository: Repository) -> str:
    repository.put("main.py", "print()\n")
    repository.put("données/é.csv", "a,b\n" * 1000)
    repository.put("run.sh", "ls\n").chmod(0o755)
    (repository.root / "link").symlink_to("./main.py")
    return repository.commit()


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_a_commit_has_what_its_work_tree_has(tmp_path: Path, form: str) -> None:
    repository = Repository(tmp_path / "work", f"--object-format={form}")
    commit = _filled(repository)
    with read_commit(repository.root, commit) as code:
        assert code.commit == commit
        found = _held(code)
    assert found == _held(read_folder(repository.root))
    repository.put("main.py", "changed since")
    with read_commit(repository.root, commit) as code:
        assert _held(code) == found


def test_where_a_repository_keeps_its_objects_makes_no_difference(
    repository: Repository, tmp_path: Path
) -> None:
    commit = _filled(repository)
    repository.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    repository.git("clone", "-q", "--shared", ".", str(tmp_path / "shared"))
    repository.git("worktree", "add", "-q", str(tmp_path / "linked"))
    bundles = set()
    for place in ("work", "bare", "shared", "linked", "work/.git"):
        file = io.BytesIO()
        with read_commit(tmp_path / place, commit) as code:
            bundle.write(file, code)
        bundles.add(file.getvalue())
    assert len(bundles) == 1


def test_nothing_that_a_repository_asks_for_is_run_or_done(
    repository: Repository, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    repository.put("main.py", "one\n$Id$\n")
    commit = repository.commit()
    trap = repository.put(".git/trap", f"#!/bin/sh\ntouch {marker}\ncat\n")
    trap.chmod(0o755)
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        shutil.copy(trap, repository.root / ".git" / "hooks" / hook)
    repository.put(".git/info/attributes", "* filter=trap ident text eol=crlf export-ignore\n")
    for name in ("filter.trap.smudge", "filter.trap.clean", "core.fsmonitor", "core.pager"):
        repository.git("config", name, str(trap))
    repository.git("config", "core.worktree", "/nowhere")
    other = repository.git("hash-object", "-w", "--no-filters", ".git/trap")
    blob = repository.git("rev-parse", f"{commit}:main.py")
    repository.git("update-ref", f"refs/replace/{blob}", other)
    marker.unlink(missing_ok=True)
    with read_commit(repository.root, commit) as code:
        assert _held(code) == {"main.py": (b"one\n$Id$\n", False, "")}
    assert not marker.exists()


def test_a_clone_that_lacks_objects_fetches_nothing(repository: Repository, tmp_path: Path) -> None:
    repository.put("main.py", "only there\n" * 9)
    commit = repository.commit()
    repository.git("config", "uploadpack.allowFilter", "true")
    url = repository.root.as_uri()
    repository.git("clone", "-q", "--bare", "--filter=blob:none", url, str(tmp_path / "partial"))
    with (
        pytest.raises(BlueprintRefused, match=r"main\.py cannot be read: the repository lacks"),
        read_commit(tmp_path / "partial", commit) as code,
    ):
        bundle.write(io.BytesIO(), code)


def test_submodules_and_lfs_pointers_are_named(repository: Repository, tmp_path: Path) -> None:
    module = Repository(tmp_path / "module")
    module.put("a", "x")
    inner = module.commit()
    repository.put("main.py", "x")
    repository.put("data.bin", POINTER)
    repository.git("add", "-A")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{inner},vendor/module")
    commit = repository.commit_index()
    file = io.BytesIO()
    with read_commit(repository.root, commit) as code:
        told = bundle.write(file, code)
    assert told.notes == (
        "submodules are named but not in it: vendor/module",
        "Git LFS has the bytes of these, and only pointers are in it: data.bin",
    )
    assert f'"submodules":[{{"commit":"{inner}","path":"vendor/module"}}]'.encode() in (
        file.getvalue()
    )
    assert b'"lfs_pointers":["data.bin"]' in file.getvalue()


def test_a_tree_without_end_is_refused_before_it_is_listed(repository: Repository) -> None:
    repository.put("0", "x")
    repository.commit()
    tree = repository.git("rev-parse", "HEAD^{tree}")
    for _ in range(8):  # 100^8 files, of a few hundred bytes
        lines = "".join(f"040000 tree {tree}\t{number}\n" for number in range(100))
        tree = repository.git("mktree", said=lines)
    commit = repository.git("commit-tree", tree, "-m", "x")
    with (
        pytest.raises(BlueprintRefused, match="holds more than 100,000 files"),
        read_commit(repository.root, commit),
    ):
        pass


def test_a_secret_that_was_committed_is_left_out_and_told(repository: Repository) -> None:
    repository.put("main.py", "x")
    repository.put("conf/.env", "TOKEN=1")
    with read_commit(repository.root, repository.commit()) as code:
        assert [one.path for one in code.members] == ["main.py"]
        assert code.left_out == ("conf/.env",)


def test_a_link_that_leaves_a_commit_is_refused(repository: Repository) -> None:
    (repository.root / "out").symlink_to("../secret")
    commit = repository.commit()
    with (
        pytest.raises(BlueprintRefused, match=r"out is a link to \.\./secret"),
        read_commit(repository.root, commit),
    ):
        pass


@pytest.mark.parametrize(
    ("commit", "said"),
    [
        ("main", "'main' is no full commit id: `git rev-parse main`"),
        ("--all", "is no full commit id"),
        ("1" * 40, "holds no commit 1111"),
        ("tree", "has a tree, not a commit"),
    ],
)
def test_what_is_no_commit_is_refused(repository: Repository, commit: str, said: str) -> None:
    _filled(repository)
    if commit == "tree":
        commit = repository.git("rev-parse", "HEAD^{tree}")
    with pytest.raises(BlueprintRefused, match=said), read_commit(repository.root, commit):
        pass


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with (
            pytest.raises(BlueprintRefused, match="is no git repository"),
            read_commit(place, "1" * 40),
        ):
            pass
