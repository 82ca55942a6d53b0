"""The code of one commit of a git repository, as its objects have it.

Rules this module keeps:

- Of the repository nothing is used but its objects: git runs on an empty repository of our own that
  borrows them.  So hooks, filters, attributes, replaced objects and settings of the one that
  somebody handed over neither run nor matter, nothing is fetched, and no file is converted.
- The commit is named in full: what a branch or a short name means changes.
- What other repositories hold (submodules) is named with its commit, and is not in the bundle.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fleet.blueprint.guard import is_kept_out
from fleet.blueprint.members import MAX_FILES, Code, Member, link_to
from fleet.blueprint.refused import BlueprintRefused, show

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CHUNK = 1024**2
_MOST_POINTER = 4096
_FILE, _EXECUTABLE, _LINK, _SUBMODULE = "100644", "100755", "120000", "160000"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of a tree; ``size`` is 0 of what is no file."""

    mode: str
    object: str
    size: int
    path: str


@contextmanager
def read_commit(repository: Path, commit: str) -> Iterator[Code]:
    """Lend what a commit holds; the bytes can be read until the context ends.

    Raises:
        BlueprintRefused: there is no such repository or commit, no git, or something in the commit
            that cannot be bundled.
    """
    if not _COMMIT.fullmatch(commit):
        raise BlueprintRefused(
            f"{show(commit)!r} is no full commit id: `git rev-parse {show(commit)}` tells it"
        )
    with tempfile.TemporaryDirectory(prefix="fleet-git-") as folder:
        git = _Git(Path(folder), _objects(repository), "sha256" if len(commit) == 64 else "sha1")
        try:
            entries = list(git.entries(commit, repository))
            yield _code(git, entries, commit)
        finally:
            git.close()


def _code(git: "_Git", entries: list[_Entry], commit: str) -> Code:
    members: list[Member] = []
    left_out: list[str] = []
    submodules: list[tuple[str, str]] = []
    for entry in entries:
        if is_kept_out(entry.path):
            left_out.append(entry.path)
        elif entry.mode == _SUBMODULE:
            submodules.append((entry.path, entry.object))
        elif entry.mode == _LINK:
            members.append(_link(git, entry))
        else:
            members.append(_file(git, entry))
    if not members:
        raise BlueprintRefused(f"commit {commit} holds no file to bundle")
    return Code(tuple(members), tuple(left_out), commit, tuple(submodules))


def _file(git: "_Git", entry: _Entry) -> Member:
    executable = entry.mode == _EXECUTABLE
    return Member(entry.path, entry.size, lambda: git.blob(entry), executable)


def _link(git: "_Git", entry: _Entry) -> Member:
    target = b"" if entry.size > _MOST_POINTER else b"".join(git.blob(entry))
    return link_to(entry.path, target.decode(errors="surrogateescape"))


class _Git:
    """git on an empty repository that borrows the objects of another."""

    def __init__(self, home: Path, objects: Path, form: str) -> None:
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home),
            "LC_ALL": "C",
            "GIT_DIR": str(home / "git"),
            "GIT_OBJECT_DIRECTORY": str(objects),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ALLOW_PROTOCOL": "",  # of a repository that was cloned in part, nothing is fetched
            "GIT_TERMINAL_PROMPT": "0",
        }
        self._home, self._program = home, shutil.which("git")
        self._reader: subprocess.Popen[bytes] | None = None
        empty = {**self._environment, "GIT_OBJECT_DIRECTORY": str(home / "git" / "objects")}
        self._run("init", "--bare", "--quiet", "--template=", f"--object-format={form}", env=empty)

    def entries(self, commit: str, repository: Path) -> Iterator[_Entry]:
        """List a commit's files, links and submodules."""
        kind = self._run("cat-file", "-t", commit, missing=True).strip()
        if kind != b"commit":
            what = "holds no commit" if not kind else f"has a {kind.decode()}, not a commit,"
            raise BlueprintRefused(f"{show(repository)} {what} {commit}")
        for count, line in enumerate(self._listed(commit), 1):
            if count > MAX_FILES:
                raise BlueprintRefused(f"commit {commit} holds more than {MAX_FILES:,} files")
            facts, _, name = line.partition(b"\t")
            mode, _, object_id, size = facts.decode("ascii").split()
            path = name.decode(errors="surrogateescape")
            if not (size.isdigit() or size == "-"):
                raise _lacks(path, object_id)
            yield _Entry(mode, object_id, 0 if size == "-" else int(size), path)

    def blob(self, entry: _Entry) -> Iterator[bytes]:
        """Give the bytes of a file; one is read to its end before another."""
        if self._reader is None:
            self._reader = self._start("cat-file", "--batch")
        assert self._reader.stdin is not None
        assert self._reader.stdout is not None
        with suppress(BrokenPipeError):  # then nothing is said
            self._reader.stdin.write(f"{entry.object}\n".encode())
            self._reader.stdin.flush()
        said = self._reader.stdout.readline().split()
        if said[1:] != [b"blob", str(entry.size).encode()]:
            raise _lacks(entry.path, entry.object)
        yield from _exactly(self._reader.stdout, entry.size)
        self._reader.stdout.read(1)

    def close(self) -> None:
        """End the process that reads."""
        if self._reader is not None:
            self._reader.kill()
            self._reader.communicate()

    def _listed(self, commit: str) -> Iterator[bytes]:
        """Give the lines of a tree, which may have no end, as far as they are asked for."""
        with self._start("ls-tree", "-r", "-z", "-l", "--full-tree", commit) as listing:
            assert listing.stdout is not None
            try:
                rest = b""
                while chunk := listing.stdout.read(_CHUNK):
                    *lines, rest = (rest + chunk).split(b"\0")
                    yield from lines
                if listing.wait():
                    raise BlueprintRefused(f"commit {commit} cannot be listed: clone all of it")
            finally:
                listing.kill()

    def _run(self, *words: str, env: dict[str, str] | None = None, missing: bool = False) -> bytes:
        if self._program is None:
            raise BlueprintRefused("git is not installed here: install it, or give a folder")
        done = subprocess.run(
            [self._program, *words],
            env=env or self._environment,
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode and not missing:
            raise BlueprintRefused(f"git {words[0]}: {show(done.stderr.decode(errors='replace'))}")
        return done.stdout

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        assert self._program is not None  # it has run before
        return subprocess.Popen(
            [self._program, *words],
            env=self._environment,
            cwd=self._home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


def _lacks(path: str, object_id: str) -> BlueprintRefused:
    return BlueprintRefused(
        f"{show(path)} cannot be read: the repository lacks its object {object_id}; clone all of it"
    )


def _exactly(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size:
        chunk = file.read(min(size, _CHUNK))
        if not chunk:
            return  # git ended: the archive misses the rest and says so
        size -= len(chunk)
        yield chunk


def _objects(repository: Path) -> Path:
    """Find where a repository keeps its objects: a bare one, one with a work tree, or a linked one.

    Raises:
        BlueprintRefused: it is no repository.
    """
    try:
        own = repository.resolve(strict=True)
        if (own / ".git").exists():
            own = own / ".git"
        if own.is_file():
            own = own.parent / own.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
        if (own / "commondir").is_file():
            own = own / (own / "commondir").read_text(encoding="utf-8").strip()
        found = (own / "objects").resolve(strict=True)
    except (OSError, ValueError) as error:
        raise BlueprintRefused(f"{show(repository)} is no git repository") from error
    return found
