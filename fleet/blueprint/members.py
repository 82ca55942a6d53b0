"""What a bundle is made of: files and links, whatever they were read from."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fleet.blueprint.refused import BlueprintRefused, show
from fleet.torrent.paths import path_fault

MAX_BYTES = 1024**3
"""Most bytes of all the files of a bundle."""
MAX_FILES = 100_000
"""Most files in a bundle."""
_LINK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Member:
    """One file, or a link.

    Attributes:
        path: relative, with ``/`` between its names.
        size: of the file; 0 of a link.
        read: gives the file's bytes, as often as it is called.
        executable: whether it may be run.
        link: what a link points to; empty for a file.
    """

    path: str
    size: int
    read: Callable[[], Iterator[bytes]]
    executable: bool = False
    link: str = ""

    def below(self, folder: str) -> "Member":
        """Return the same member in a folder."""
        path = f"{folder}/{self.path}"
        return Member(path, self.size, self.read, self.executable, self.link)


@dataclass(frozen=True, slots=True)
class Code:
    """What a folder or a commit holds.

    Attributes:
        members: its files and links.
        left_out: names that the guard kept out.
        commit: of the repository; empty for a folder.
        submodules: path and commit of what lies in other repositories, and is not in here.
    """

    members: tuple[Member, ...]
    left_out: tuple[str, ...] = ()
    commit: str = ""
    submodules: tuple[tuple[str, str], ...] = ()


def file_of(path: str, data: bytes) -> Member:
    """Make a file of bytes that are in memory."""
    return Member(path, len(data), lambda: iter((data,)))


def link_to(path: str, target: str) -> Member:
    """Make a link, if it leads to a place inside of what it lies in, as those of code often do.

    It is safe whatever the other links are, if it goes up first and never again after a name, which
    might itself be a link.

    Raises:
        BlueprintRefused: it leads elsewhere, and so to other bytes on each machine.
    """
    names = [name for name in target.split("/") if name != "."]
    ups = next((at for at, name in enumerate(names) if name != ".."), len(names))
    leaves = ups > path.count("/") or (ups < len(names) and path_fault("/".join(names[ups:])))
    if leaves or len(target.encode()) > _LINK_BYTES:
        raise BlueprintRefused(
            f"{show(path)} is a link to {show(target)}, which may lie outside: put the file itself "
            "there, or a link that is relative and stays inside"
        )
    return Member(path, 0, lambda: iter(()), link=target)


def sorted_within_bounds(members: Iterable[Member]) -> list[Member]:
    """Sort members by their paths, code point by code point.

    Raises:
        BlueprintRefused: a path is none that every system takes, two are the same, or all
            together are too much.
    """
    found = sorted(members, key=lambda member: member.path)
    if len(found) > MAX_FILES:
        raise BlueprintRefused(f"more than {MAX_FILES:,} files: bundle the code alone")
    taken: set[str] = set()
    for member in found:
        if fault := path_fault(member.path):
            raise BlueprintRefused(f"{show(member.path)} cannot be bundled: {fault}")
        if member.path in taken:
            raise BlueprintRefused(f"{show(member.path)} is there twice")
        taken.add(member.path)
    size = sum(member.size for member in found)
    if size > MAX_BYTES:
        largest = max(found, key=lambda member: member.size)
        raise BlueprintRefused(
            f"{size:,} bytes are more than the {MAX_BYTES:,} that a bundle may have: leave data "
            f"out (the largest file is {show(largest.path)}, {largest.size:,} bytes)"
        )
    return found
