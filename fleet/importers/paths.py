"""Paths of artifacts: contained, portable and never in each other's way.  Pure.

Rules this module keeps:

- A path is relative, in POSIX form and in NFC, and safe on every file system it may reach:
  nothing hostile is repaired, it is refused.
- No two paths of a dataset are equal when case is ignored, and no file stands where another
  path needs a folder.
- How colliding paths are told apart depends on the files alone, never on their order.
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from fleet.importers.draft import ItemRefused
from fleet.importers.groups import Groups

# Not what file systems take but what every BitTorrent client keeps as it is: 240 bytes in a name,
# and 1024 in a path, with the version's label before it.
MAX_PATH = 880
"""Most bytes of UTF-8 in a path."""
MAX_SEGMENT = 240
"""Most bytes of UTF-8 in one segment of a path."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_TAG = 12


def checked_path(path: str) -> str:
    """Return ``path`` in NFC, if it is a contained relative POSIX path.

    Raises:
        ItemRefused: it is not; the message reads on after the path itself.
    """
    normal = path if path.isascii() else unicodedata.normalize("NFC", path)
    if normal.startswith("/"):
        raise ItemRefused("is an absolute path")
    if "\\" in normal or not normal.isprintable():
        _check_characters(normal)
    if len(normal.encode()) > MAX_PATH:
        raise ItemRefused(f"is a path of more than {MAX_PATH} bytes")
    for segment in normal.split("/"):
        _check_segment(segment)
    return normal


def _check_characters(path: str) -> None:
    for character in path:
        if character == "\\" or unicodedata.category(character) in _UNSEEN:
            raise ItemRefused(f"holds the character U+{ord(character):04X}, unsafe in a path")


def _check_segment(segment: str) -> None:
    if not segment:
        raise ItemRefused("has an empty segment in its path")
    if segment[0] == ".":
        if segment in {".", ".."}:
            raise ItemRefused(f"has the segment '{segment}' in its path")
        raise ItemRefused("has a segment that begins with a dot, and those are reserved")
    if segment[-1] == "." or segment != segment.strip():
        raise ItemRefused("has a segment that ends in a dot, or begins or ends in a space")
    if len(segment.encode()) > MAX_SEGMENT:
        raise ItemRefused(f"has a segment of more than {MAX_SEGMENT} bytes")


def collision_key(path: str) -> str:
    """Return what equal paths have in common on a file system that ignores case.

    This is Unicode's canonical caseless match (The Unicode Standard, 3.13, D145).
    """
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


@dataclass(frozen=True, slots=True)
class Claim:
    """The path an artifact would like, and what may tell it apart from others.

    Attributes:
        path: what it would like, below ``folder``.
        folder: what stands before it in any case; may be empty.
        parents: what may be put between the two, the outermost first.
        identity: text that no other claim to the same path has.
        asked: a person chose this path, so a path taken from a URL gives way to it.
    """

    path: str
    folder: str = ""
    parents: tuple[str, ...] = ()
    identity: str = ""
    asked: bool = False

    def at(self, depth: int) -> str:
        """Return the path with its ``depth`` nearest parents."""
        near = self.parents[max(0, len(self.parents) - depth) :]
        below = "/".join((*near, self.path))
        return f"{self.folder}/{below}" if self.folder else below

    def tagged(self) -> str | None:
        """Return the path with a digest of the identity in its name; None if that is too long."""
        head, slash, name = self.at(0).rpartition("/")
        stem, dot, extension = name.rpartition(".")
        tag = sha256(self.identity.encode()).hexdigest()[:_TAG]
        tagged = f"{stem}-{tag}{dot}{extension}" if dot else f"{name}-{tag}"
        try:
            return checked_path(f"{head}{slash}{tagged}")
        except ItemRefused:
            return None


def settle(claims: Sequence[Claim]) -> tuple[str | None, ...]:
    """Give every claim a path of its own.

    Claims that collide form a group.  All members of a group get the least number of parents
    that tells them from each other and from everyone else; those that no number of parents tells
    apart get a digest of their identity instead.

    Returns:
        One path for each claim, in their order; None where there is no way to tell it apart.
    """
    asked = {index: claim for index, claim in enumerate(claims) if claim.asked}
    others = {index: claim for index, claim in enumerate(claims) if not claim.asked}
    settled = _separate(asked, _Taken(()))
    settled |= _separate(others, _Taken(path for path in settled.values() if path))
    return tuple(settled[index] for index in range(len(claims)))


class _Taken:
    """Paths that cannot move any more."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._files = {collision_key(path) for path in paths}
        self._sorted = sorted(self._files)

    def bars(self, key: str) -> bool:
        """Say whether ``key`` collides with any of them."""
        if key in self._files or any(folder in self._files for folder in _folders(key)):
            return True
        below = f"{key}/"
        at = bisect_left(self._sorted, below)
        return at < len(self._sorted) and self._sorted[at].startswith(below)


def _separate(claims: Mapping[int, Claim], taken: _Taken) -> dict[int, str | None]:
    paths = {index: claim.at(0) for index, claim in claims.items()}
    depths = dict.fromkeys(claims, 0)
    groups = Groups()
    while pairs := _collisions(paths, taken):
        for one, other in pairs:
            groups.join(one, other)
        members: dict[int, list[int]] = {groups.find(one): [] for one, _ in pairs}
        for index in claims:
            if (leader := groups.find(index)) in members:
                members[leader].append(index)
        exhausted = True
        for group in members.values():
            if any(depths[index] < len(claims[index].parents) for index in group):
                exhausted = False
            before = {depths[index] for index in group}
            depth = max(before) if len(before) > 1 else max(before) + 1
            for index in group:
                depths[index] = depth
                paths[index] = claims[index].at(depth)
        if exhausted:
            return _tag(claims, paths, pairs, taken)
    return dict(paths)


def _tag(
    claims: Mapping[int, Claim],
    paths: Mapping[int, str],
    pairs: Iterable[tuple[int, int]],
    taken: _Taken,
) -> dict[int, str | None]:
    """Tell the last ones apart by a digest; a file below another's path may stay where it is."""
    settled: dict[int, str | None] = dict(paths)
    moving = {one for one, _ in pairs}
    for one, other in pairs:
        if collision_key(paths[one]) == collision_key(paths[other]):
            moving.add(other)
    for index in moving:
        settled[index] = claims[index].tagged()
    named = {index: path for index, path in settled.items() if path is not None}
    for pair in _collisions(named, taken):
        for index in moving.intersection(pair):
            settled[index] = None
    return settled


def _collisions(paths: Mapping[int, str], taken: _Taken) -> list[tuple[int, int]]:
    """Return pairs that collide, the file first where the other lies below it.

    Pairs link all that collide: a path below several files is paired with the nearest one only.
    A claim that collides with a taken path is paired with itself.
    """
    keys = {index: collision_key(path) for index, path in paths.items()}
    owner: dict[str, int] = {}
    pairs: list[tuple[int, int]] = []
    for index, key in keys.items():
        first = owner.setdefault(key, index)
        if first != index or taken.bars(key):
            pairs.append((first, index))
    for index, key in keys.items():
        file = next((owner[folder] for folder in _folders(key) if folder in owner), None)
        if file is not None:
            pairs.append((file, index))
    return pairs


def _folders(key: str) -> Iterator[str]:
    """Yield the folders that ``key`` lies in, the nearest first."""
    end = key.rfind("/")
    while end != -1:
        yield key[:end]
        end = key.rfind("/", 0, end)
