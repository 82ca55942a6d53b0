"""What the S3 server holds: buckets of objects and of uploads under way."""

import bisect
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.rehearsal.exchange import Piece
from fleet.rehearsal.s3.errors import Refused


@dataclass(frozen=True)
class Object:
    """One object; it never changes, another takes its place."""

    pieces: tuple[Piece, ...]
    etag: str
    modified: float
    headers: Mapping[str, str]
    checksums: Mapping[str, str]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(piece.length for piece in self.pieces)

    @property
    def tag(self) -> str:
        """Its ETag without quotes, which conditions may leave out."""
        return self.etag.strip('"')

    def read(self) -> bytes:
        """Give it whole, in memory."""
        return b"".join(piece.read() for piece in self.pieces)


@dataclass(frozen=True)
class Part:
    """One part of an upload."""

    pieces: tuple[Piece, ...]
    md5: bytes
    modified: float
    checksums: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(piece.length for piece in self.pieces)

    @property
    def etag(self) -> str:
        """Its MD5, as S3 quotes it."""
        return f'"{self.md5.hex()}"'


@dataclass
class Upload:
    """A multipart upload under way; ``algorithm`` is of the checksums that its parts have."""

    key: str
    started: float
    headers: Mapping[str, str]
    algorithm: str | None
    parts: dict[int, Part] = field(default_factory=dict)
    id: str = field(default_factory=lambda: secrets.token_urlsafe(48))


@dataclass
class Bucket:
    """Objects by key, with the keys in order; ``written`` are (key, ETag) of every write so far."""

    objects: dict[str, Object] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    uploads: dict[str, Upload] = field(default_factory=dict)
    written: list[tuple[str, str]] = field(default_factory=list)
    contested: set[str] = field(default_factory=set)
    """Keys whose next conditional write meets another one under way: 409, then never again."""

    def put(self, key: str, new: Object) -> None:
        """Set an object in its place."""
        if key not in self.objects:
            bisect.insort(self.keys, key)
        self.objects[key] = new
        self.written.append((key, new.etag))

    def get(self, key: str) -> Object:
        """Find an object."""
        if key not in self.objects:
            raise Refused("NoSuchKey")
        return self.objects[key]

    def delete(self, key: str) -> None:
        """Take an object away, if it is there."""
        if self.objects.pop(key, None) is not None:
            del self.keys[bisect.bisect_left(self.keys, key)]

    def last_written(self, key: str) -> float:
        """When a key was last written, as far as it still exists."""
        return self.objects[key].modified if key in self.objects else 0.0
