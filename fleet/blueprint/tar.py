"""An uncompressed tar whose bytes follow from the paths, bytes and executable bits alone.

Rules this module keeps:

- Members are sorted, belong to user and group 0 and date from 1970; modes are 644 or 755.  There
  are files and links, no folders, hard links or devices.
- A header is USTAR; a path or link that is longer than its field, or not ASCII, has a PAX record
  before it.  It is laid out here, because the standard library's has changed between versions.
- Nothing is compressed: what zlib makes of the same bytes differs from build to build.
"""

from collections.abc import Iterable, Iterator

from fleet.blueprint.members import Member, sorted_within_bounds
from fleet.blueprint.refused import BlueprintRefused, show

_BLOCK = 512
_FIELD = 100  # bytes of a path, and of what a link points to
_FILE, _LINK, _PAX = b"0", b"2", b"x"


def archive(members: Iterable[Member]) -> Iterator[bytes]:
    """Give the bytes of the archive of ``members``, whatever their order.

    Raises:
        BlueprintRefused: they cannot be archived, or a file changed while it was read.
    """
    for member in sorted_within_bounds(members):
        yield _header(member)
        done = 0
        for chunk in member.read():
            done += len(chunk)
            yield chunk
        if done != member.size:
            raise BlueprintRefused(
                f"{show(member.path)} gave {done:,} bytes where it had {member.size:,}: it changed "
                "meanwhile; try again"
            )
        yield bytes(-done % _BLOCK)
    yield bytes(2 * _BLOCK)


def _header(member: Member) -> bytes:
    records = b"".join(
        _record(key, value)
        for key, value in (("linkpath", member.link), ("path", member.path))
        if not value.isascii() or len(value) > _FIELD
    )
    before = b""
    if records:
        before = _block("././@PaxHeader", _PAX, len(records))
        before += records + bytes(-len(records) % _BLOCK)
    kind = _LINK if member.link else _FILE
    mode = 0o755 if member.executable or member.link else 0o644
    return before + _block(member.path, kind, member.size, mode, member.link)


def _record(key: str, value: str) -> bytes:
    """Write a PAX record: its length, which counts itself, then what it says."""
    said = f" {key}={value}\n".encode()
    length = len(said)
    while len(str(length)) + len(said) != length:
        length = len(str(length)) + len(said)
    return str(length).encode() + said


def _block(path: str, kind: bytes, size: int, mode: int = 0o644, link: str = "") -> bytes:
    parts = (
        _text(path),
        b"%07o\0" % mode,
        b"%07o\0" % 0,  # user
        b"%07o\0" % 0,  # group
        b"%011o\0" % size,
        b"%011o\0" % 0,  # date
        b" " * 8,  # the checksum, which counts itself as spaces
        kind,
        _text(link),
        b"ustar\x0000",
        bytes(32 + 32),  # names of user and group
        b"%07o\0" % 0,  # device
        b"%07o\0" % 0,
        bytes(155 + 12),
    )
    block = b"".join(parts)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _text(value: str) -> bytes:
    """Fill a field; what does not fit stands whole in the PAX record before it."""
    return value.encode("ascii", "replace")[:_FIELD].ljust(_FIELD, b"\0")
