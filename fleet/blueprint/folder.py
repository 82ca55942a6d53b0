"""The code in a folder.

Links are kept as links and never followed, so that nothing outside is read; a file of several
names is read once for each.  What is neither file, folder nor link is refused.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from fleet.blueprint.guard import is_kept_out
from fleet.blueprint.members import MAX_FILES, Code, Member, link_to
from fleet.blueprint.refused import BlueprintRefused, show

_CHUNK = 1024**2


def read_folder(root: Path) -> Code:
    """List what a folder holds; the bytes are read when they are asked for.

    Raises:
        BlueprintRefused: it cannot be read, holds nothing to bundle, or what cannot be bundled.
    """
    members: list[Member] = []
    left_out: list[str] = []
    try:
        for path in _walk(root):
            if is_kept_out(path):
                left_out.append(path)
            else:
                members.append(member_of(root / path, path))
            if len(members) > MAX_FILES:
                raise BlueprintRefused(
                    f"{show(root)} holds more than {MAX_FILES:,} files: name the folder of the "
                    "code alone"
                )
    except OSError as error:
        where = error.filename or root
        raise BlueprintRefused(f"{show(where)} cannot be read: {error.strerror}") from error
    if not members:
        raise BlueprintRefused(f"{show(root)} holds no file to bundle")
    return Code(tuple(members), tuple(left_out))


def member_of(place: Path, path: str) -> Member:
    """Make a member of what lies at ``place``.

    Raises:
        BlueprintRefused: it is no file and no link that stays inside.
        OSError: it cannot be looked at.
    """
    status = place.lstat()
    if stat.S_ISLNK(status.st_mode):
        return link_to(path, os.readlink(place))  # noqa: PTH115 - Path would rewrite it
    if not stat.S_ISREG(status.st_mode):
        raise BlueprintRefused(f"{show(path)} is no file, folder or link: remove it")
    executable = bool(status.st_mode & stat.S_IXUSR)
    return Member(path, status.st_size, lambda: _chunks(place, path), executable)


def _chunks(place: Path, path: str) -> Iterator[bytes]:
    """Read a file that was one when it was listed; a link or a pipe in its place is not opened."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with open(os.open(place, flags), "rb") as file:  # noqa: PTH123 - it is open already
            while chunk := file.read(_CHUNK):
                yield chunk
    except OSError as error:
        raise BlueprintRefused(f"{show(path)} cannot be read: {error.strerror}") from error


def _walk(root: Path) -> Iterator[str]:
    """Give the paths of all that is below a folder but folders that are gone into."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as entries:
            inside = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_folder in sorted(inside):
            path = f"{folder}/{name}" if folder else name
            if is_folder and not is_kept_out(path):
                pending.append(path)
            else:
                yield path
