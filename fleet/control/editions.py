"""Public versions as they are held in memory: compact, and each replaced as a whole.

A file costs some 300 bytes with its path, whatever its version has; shards whose copies are
alike share what is known of them, in one version and among all (``Shelf``).
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Self
from weakref import WeakValueDictionary

from sqlmodel import Session, select

from fleet.control import reading
from fleet.planning.latest import bare, bare_name
from fleet.planning.reading import RECORDS, Reading
from fleet.planning.redirect import Copy
from fleet.planning.states import ReplicaState, VersionState
from fleet.store import offers, versioning
from fleet.store.offers import CopyRow
from fleet.store.tables import Dataset, Site, Version

SERVED: Final = (VersionState.PUBLISHED, VersionState.SUPERSEDED)
_SHA256_BYTES = 32
_REPOSITORIES = select(Site).where(Site.driver == RECORDS)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Copies:
    """The copies of a shard; the same object for all shards whose copies are alike."""

    every: tuple[Copy, ...] = ()


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a version: their numbers by path, and what is known of each by its number.

    ``shards`` has the number of each one's shard, and of each shard ``positions`` and
    ``infohashes`` tell more.  ``bare`` has the numbers by bare name.
    """

    numbers: Mapping[str, int] = field(default_factory=dict)
    sizes: Sequence[int] = ()
    digests: bytes = b""
    shards: Sequence[int] = ()
    bare: Mapping[str, int] = field(default_factory=dict)
    positions: Sequence[int] = ()
    infohashes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Edition:
    """A public version; ``copies`` are those of its shards, in their order.

    ``records`` says how it is read at the repositories that have it, and ``concept`` is the DOI
    that stands for all versions of its dataset.
    """

    id: str
    dataset: str
    label: str
    state: str
    doi: str
    concept: str
    sequence: int
    since: datetime
    folder: str
    files: Files
    records: Mapping[str, Reading]
    copies: tuple[Copies, ...] = ()

    def find(self, path: str) -> "Found | None":
        """Return its file at a path; None if it has none there."""
        number = self.files.numbers.get(path)
        return None if number is None else self._file(path, number)

    def bare(self, name: str) -> "Found | None":
        """Return its file of a bare name; None if it has none."""
        number = self.files.bare.get(name)
        if number is None:
            return None
        return self._file(name if self.files.numbers.get(name) == number else bare(name), number)

    def _file(self, path: str, number: int) -> "Found":
        files, shard = self.files, self.files.shards[number]
        digest = files.digests[number * _SHA256_BYTES : (number + 1) * _SHA256_BYTES]
        size, infohash = files.sizes[number], files.infohashes[shard]
        return Found(self, path, size, digest, infohash, self.copies[shard])


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a version, and the copies of its shard."""

    edition: Edition
    path: str
    size: int
    sha256: bytes
    infohash: str
    copies: Copies


@dataclass(frozen=True, slots=True)
class Records:
    """A version's records, by the repository that has each, of all repositories."""

    repositories: frozenset[str]
    readings: Mapping[str, Reading]

    @classmethod
    def of(cls, session: Session, version: str) -> Self:
        """Read those of a version."""
        rows = session.exec(_REPOSITORIES).all()
        return cls(frozenset(row.id for row in rows), reading.of(session, version, rows))

    def has(self, copy: CopyRow) -> bool:
        """Whether a copy is at no repository, or in a record that is there to be read."""
        return copy.site not in self.repositories or copy.site in self.readings


class Shelf:
    """Reads versions, and keeps one object for all copies that are alike."""

    def __init__(self) -> None:
        """Have nothing read yet."""
        self._alike: WeakValueDictionary[tuple[Copy, ...], Copies] = WeakValueDictionary()

    def read(self, session: Session, row: Version, known: Edition | None) -> Edition:
        """Read a version; its files, which never change, only where it is not ``known``."""
        files, copies = Files(), []
        records = Records.of(session, row.id)
        if row.state in SERVED:
            files = known.files if known and known.files.numbers else _files(session, row.id)
            held: dict[int, list[CopyRow]] = {}
            for copy in offers.copies(session, row.id):
                held.setdefault(copy.position, []).append(copy)
            copies = [self._shared(held.get(one, ()), records) for one in files.positions]
        return Edition(
            id=row.id,
            dataset=row.dataset_id,
            label=row.label,
            state=row.state,
            doi=row.doi or "",
            concept=session.get_one(Dataset, row.dataset_id).doi or "",
            sequence=row.sequence or 0,
            since=row.published_at or row.created_at,
            folder=versioning.folder(row),
            files=files,
            records=records.readings,
            copies=tuple(copies),
        )

    def mended(self, session: Session, known: Edition, shards: Sequence[str]) -> Edition:
        """Read the copies of some shards of a version, by id, and leave the others as they are."""
        every, records = list(known.copies), Records.of(session, known.id)
        for position, held in offers.copies_of(session, known.id, shards).items():
            every[bisect_left(known.files.positions, position)] = self._shared(held, records)
        return replace(known, copies=tuple(every), records=records.readings)

    def _shared(self, rows: Iterable[CopyRow], records: Records) -> Copies:
        every = tuple(
            Copy(row.site, ReplicaState(row.state), row.proved) for row in rows if records.has(row)
        )
        return self._alike.setdefault(every, Copies(every))


def _files(session: Session, version: str) -> Files:
    """Read and pack the files of a version."""
    shards = offers.shards(session, version)
    order = {shard.id: number for number, shard in enumerate(shards)}
    numbers: dict[str, int] = {}
    names: dict[str, int] = {}
    sizes, of, digests = array("q"), array("I"), bytearray()
    for number, row in enumerate(offers.files(session, version)):
        numbers[row.path] = number
        sizes.append(row.size)
        of.append(order[row.shard])
        digests += bytes.fromhex(row.sha256)
        name = bare_name(row.path) if row.role == "data" else ""
        if name and (name not in names or name != row.path):
            names[name] = number  # of two files the one in the folder of processed ones
    positions = array("I", [shard.position for shard in shards])
    infohashes = [shard.infohash or "" for shard in shards]
    return Files(numbers, sizes, bytes(digests), of, names, positions, infohashes)
