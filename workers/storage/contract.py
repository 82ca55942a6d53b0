"""The one contract of every storage, whatever service stands behind it.

Rules that each driver keeps, and that one conformance suite proves of all:

- A write is idempotent.  What is there with the same bytes is left as it is, and what is there with
  others is never written over.  Killed at any step, the same write done again completes it.
- Nothing is seen at its path before it is there whole, and once it is there the service's own
  strongest check agreed with the digests that it was written by.
- What a service does not take is refused before the first byte is sent.
- Paths are relative and of plain names (see ``paths``).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

from workers.lease import Lease
from workers.storage.paths import UnsafePathError, segments

BLOCK: Final = 1024 * 1024


class StorageError(Exception):
    """It cannot be done; the message says what, where and why.

    Attributes:
        final: trying again cannot help.
        wait: seconds that the service asked to be left alone.
    """

    final = False

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Absent(StorageError):
    """Nothing is there."""


class Taken(StorageError):
    """Other bytes are there already; a person has to say what shall become of them."""

    final = True


class Unfit(StorageError):
    """The service does not take it; nothing was sent."""

    final = True


class Denied(StorageError):
    """The service does not let us."""

    final = True


class Changed(StorageError):
    """What is there is not what was to be replaced: another was quicker, or it was done already."""


class Corrupt(StorageError):
    """The service has other bytes than it was sent, or did not get them all."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a service takes and does; sizes in bytes, None where there is no limit.

    Attributes:
        object_most: size of the largest object.
        parts_most: how many parts an object may be sent in; ``part_least`` and ``part_most`` say
            how large each but the last is, and that they are equal is taken for granted.
        files_most: how many files one container takes, where it is made of containers.
        total_most: how many bytes all files of one container may have.
        check: what the service checks a write by.
        removes: whether what was written can be removed again.
        at_once: how many writes to have under way, where each waits for the service for long.
    """

    object_most: int | None = None
    parts_most: int = 1
    part_least: int = 0
    part_most: int | None = None
    files_most: int | None = None
    total_most: int | None = None
    check: Literal["sha256", "md5"] = "sha256"
    removes: bool = True
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the service tells of it; digests are in lowercase hex where it knows them."""

    path: str
    size: int
    sha256: str | None = None
    md5: str | None = None
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """A verified file that is to be written.

    ``parts`` are the md5s of each ``part_length`` bytes of it, end to end (16 bytes each), where
    the ledger has them; None costs a reading.
    """

    file: Path
    size: int
    sha256: str
    md5: str | None = None
    parts: bytes | None = None
    part_length: int = 0
    media_type: str = "application/octet-stream"


class Readable(Protocol):
    """Where objects are read from, by path."""

    def stat(self, path: str) -> Stored | None:
        """Tell of the object at a path; None where there is none."""

    def read(self, path: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Read an object, or ``length`` bytes of it from ``start`` on; never more.

        Raises:
            Absent: nothing is there.
            StorageError: it cannot be read, or broke off.
        """


class Storage(Readable, Protocol):
    """Where objects lie, by path."""

    @property
    def capabilities(self) -> Capabilities:
        """Say what the service takes."""

    def list(self, folder: str = "") -> Iterator[Stored]:
        """Tell of every object below a folder, in the order of their paths."""

    def write(self, path: str, content: Content, lease: Lease) -> Stored:
        """Have ``content`` at ``path``.

        Raises:
            Taken: other bytes are there.
            Unfit: the service does not take it.
            StorageError: it could not be written; nothing is seen of it.
            Stopped: the lease ended.
        """

    def remove(self, path: str) -> None:
        """Remove an object; one that is not there is fine."""


@runtime_checkable
class Switchable(Storage, Protocol):
    """A storage where an object can be replaced on the condition that it is the one last seen.

    In both calls ``tag`` is of what is to be replaced, None for nothing, and readers see the old
    bytes or the new ones.
    """

    def fetch(self, path: str) -> tuple[bytes, str] | None:
        """Read a small object with its tag; None where there is none."""

    def swap(self, path: str, data: bytes, tag: str | None) -> None:
        """Put a small object, JSON, in the place of another.

        Raises:
            Changed: something else is there.
            Unfit: the service knows no such condition.
        """

    def copy(self, source: Stored, path: str, tag: str | None, lease: Lease) -> None:
        """Put a copy in the place of another object; on no condition where none is known.

        Args:
            source: what is copied: its path, and the size and digests that it has to have.
            path: where to.
            tag: of what is there.
            lease: asked now and then.

        Raises:
            Changed: something else is there.
            Absent: nothing is at the source.
            Corrupt: something else is.
        """


def checked(path: str) -> str:
    """Return a path from outside that may be used.

    Raises:
        Unfit: it may not.
    """
    try:
        return "/".join(segments(path))
    except UnsafePathError as error:
        raise Unfit(str(error)) from error


def refuse(able: Capabilities, path: str, content: Content) -> None:
    """Refuse what a service does not take, before anything is sent.

    Raises:
        Unfit: it does not take that.
    """
    if able.object_most is not None and content.size > able.object_most:
        raise Unfit(
            f"{path} has {content.size:,} bytes, and this storage takes at most "
            f"{able.object_most:,} in one object"
        )


def alike(found: Stored, wanted: Stored | Content) -> bool | None:
    """Whether what is there is what is wanted; None where it has the size, and no digest is known.

    Digests count where both sides know them.
    """
    told = [
        one == other
        for one, other in ((found.sha256, wanted.sha256), (found.md5, wanted.md5))
        if one is not None and other is not None
    ]
    if found.size != wanted.size or not all(told):
        return False
    return True if told else None


def same(path: str, found: Stored, content: Content) -> bool:
    """Whether what is there is what shall be; None of its digests known, it is not said to be.

    Raises:
        Taken: it has other bytes.
    """
    verdict = alike(found, content)
    if verdict is False:
        raise Taken(
            f"{path} is taken: {found.size:,} bytes are there already that are not the "
            f"{content.size:,} to be written; nothing was changed"
        )
    return bool(verdict)


def md5_of(content: Content, lease: Lease) -> str:
    """Return the md5 of a file: the ledger's, that of its only part, or by reading it."""
    if content.md5 is not None:
        return content.md5
    if content.parts is not None and content.size <= content.part_length:
        return content.parts.hex()
    digest = hashlib.md5(usedforsecurity=False)
    with content.file.open("rb", buffering=0) as file:
        while block := file.read(BLOCK):
            lease.check()
            digest.update(block)
    return digest.hexdigest()


def part_length(size: int, able: Capabilities, least: int) -> int:
    """Say how long each part but the last is, at least ``least``, so that the parts suffice.

    It depends on nothing but the size, so that whoever goes on with an upload cuts it alike.

    Raises:
        Unfit: no parts that the service takes suffice.
    """
    whole = 1024 * 1024
    length = max(least, able.part_least, -(-size // able.parts_most))
    length = -(-length // whole) * whole
    if able.part_most is not None and length > able.part_most:
        raise Unfit(
            f"{size:,} bytes do not fit into {able.parts_most:,} parts of at most "
            f"{able.part_most:,}"
        )
    return length
