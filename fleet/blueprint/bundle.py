"""The bundle of the code and environment that made a version: one tar, the same bytes each time.

In it lie the code under ``code/``, the files that define the environment under ``environment/``,
and ``blueprint.json``, which tells the commit, the sources and their digests, and what is missing:
submodules, and files of which only a Git LFS pointer is there.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fleet.blueprint import canonical
from fleet.blueprint.folder import member_of
from fleet.blueprint.guard import is_kept_out
from fleet.blueprint.members import Code, Member, file_of
from fleet.blueprint.refused import BlueprintRefused, show
from fleet.blueprint.sources import Source, as_json
from fleet.blueprint.tar import archive

FORMAT = "fleet-blueprint/1"
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER_MOST = 1024  # by its specification
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle that was written, and what a person should know of it."""

    size: int
    sha256: str
    files: int
    notes: tuple[str, ...]


def write(
    file: BinaryIO, code: Code, environment: Sequence[Path] = (), sources: Sequence[Source] = ()
) -> Bundled:
    """Write a bundle.

    Args:
        file: where to.
        code: a folder's or a commit's.
        environment: files that define the environment, such as a lock file or a Dockerfile.
        sources: what the version was made from.

    Raises:
        BlueprintRefused: something cannot be bundled; the message names it.
    """
    surroundings = [_environment(place) for place in environment]
    pointers = tuple(member.path for member in code.members if _is_pointer(member))
    about = file_of("blueprint.json", _about(code, surroundings, pointers, sources))
    members = [member.below("code") for member in code.members]
    members += [about, *(member.below("environment") for member in surroundings)]
    digest, size = hashlib.sha256(), 0
    for chunk in archive(members):
        file.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return Bundled(size, digest.hexdigest(), len(members), tuple(_notes(code, pointers)))


def _environment(place: Path) -> Member:
    if is_kept_out(place.name):
        raise BlueprintRefused(
            f"{show(place)} has a name that secrets have, and a bundle is public: give a file "
            "without any, under another name"
        )
    try:
        found = member_of(place.resolve(strict=True), place.name)
    except OSError as error:
        raise BlueprintRefused(f"{show(place)} cannot be read: {error.strerror}") from error
    return found


def _about(
    code: Code, environment: Sequence[Member], pointers: Sequence[str], sources: Sequence[Source]
) -> bytes:
    return canonical.dumps(
        {
            "format": FORMAT,
            "commit": code.commit or None,
            "submodules": [
                {"path": path, "commit": commit} for path, commit in sorted(code.submodules)
            ],
            "lfs_pointers": sorted(pointers),
            "environment": sorted(member.path for member in environment),
            "sources": as_json(sources),
        }
    )


def _is_pointer(member: Member) -> bool:
    """Whether a file only says where Git LFS has its bytes."""
    if member.link or not len(_POINTER) <= member.size <= _POINTER_MOST:
        return False
    return b"".join(member.read()).startswith(_POINTER)


def _notes(code: Code, pointers: Sequence[str]) -> Iterator[str]:
    if code.left_out:
        yield f"left out, since secrets have such names: {_listed(sorted(code.left_out))}"
    if code.submodules:
        paths = [path for path, _ in sorted(code.submodules)]
        yield f"submodules are named but not in it: {_listed(paths)}"
    if pointers:
        named = _listed(sorted(pointers))
        yield f"Git LFS has the bytes of these, and only pointers are in it: {named}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(show(name) for name in names[:_NAMED]) + more
