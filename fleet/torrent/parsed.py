"""Torrents that somebody else made (BEP 3).

What comes from outside is checked as strictly as what is made here, and its ``info`` is kept byte
for byte, whatever else its maker put into it.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from fleet.torrent.bencode import Bencoded, BencodeError, decode, encode
from fleet.torrent.metainfo import Files, MetainfoError, check_names, check_pieces, sha1
from fleet.torrent.paths import path_fault

MAX_TORRENT: Final = 32 * 1024 * 1024
SEED_SCHEMES: Final = ("http://", "https://")
TRACKER_SCHEMES: Final = ("http://", "https://", "udp://")

Dictionary: TypeAlias = dict[bytes, Bencoded]


@dataclass(frozen=True, slots=True)
class ParsedTorrent:
    """A torrent that somebody made, checked.

    Attributes:
        name: the file's name, or the folder's that holds the files.
        single: whether it is a lone file, without a folder around it.
        files: path below the folder (a lone file's is ``name``), and size in bytes, in order.
        padding: which of ``files``, counted from 0, only align the next one (BEP 47).
        piece_length: in bytes.
        pieces: the 20-byte SHA-1 of each piece, joined.
        info: the ``info`` dictionary exactly as it was read.
        infohash: the v1 infohash, in lowercase hex.
        hybrid: whether it has a v2 part as well (BEP 52), and so another infohash beside this one.
        private: whether clients may ask its trackers only (BEP 27).
        web_seeds: HTTP and HTTPS ones (BEP 19).
        trackers: every HTTP, HTTPS and UDP tracker once, in the order of their tiers.
        left_out: web seeds and trackers of other schemes.
        comment: free text.
    """

    name: str
    single: bool
    files: Files
    padding: frozenset[int]
    piece_length: int
    pieces: bytes
    info: bytes
    infohash: str
    hybrid: bool
    private: bool
    web_seeds: tuple[str, ...]
    trackers: tuple[str, ...]
    left_out: tuple[str, ...]
    comment: str

    @property
    def size(self) -> int:
        """The content's size in bytes, padding included."""
        return sum(size for _, size in self.files)

    @property
    def content(self) -> Files:
        """Each file's path below the folder that a client saves to, and its size."""
        if self.single:
            return self.files
        return tuple((f"{self.name}/{path}", size) for path, size in self.files)


def parse(data: bytes) -> ParsedTorrent:
    """Read a v1 torrent, or the v1 half of a hybrid one.

    Raises:
        MetainfoError: the data is not a torrent, has no v1 part, or breaks a rule.
    """
    return checked(dictionary(data))


def dictionary(data: bytes) -> Dictionary:
    """Read what a ``.torrent`` file holds, ``info`` and all that is around it, unchecked.

    Raises:
        MetainfoError: the data is no dictionary in canonical bencoding.
    """
    try:
        outer = decode(data, max_bytes=MAX_TORRENT)
    except BencodeError as error:
        raise MetainfoError(f"not a torrent: {error}") from error
    if not isinstance(outer, dict):
        raise MetainfoError("not a torrent: it is no dictionary")
    return outer


def checked(outer: Dictionary) -> ParsedTorrent:
    """Check what a ``.torrent`` file holds.

    Raises:
        MetainfoError: it has no v1 part, or breaks a rule.
    """
    info = _dict(outer, b"info")
    if b"pieces" not in info and b"file tree" in info:
        raise MetainfoError("a v2-only torrent, which few clients can use; a v1 one is needed")
    name = _text(_bytes(info, b"name"), "the torrent's name")
    single = b"files" not in info
    files, padding = _lone_file(name, info) if single else _files(info)
    real = [path for index, (path, _) in enumerate(files) if index not in padding]
    if not real:
        raise MetainfoError(f"{name[:80]!r} holds no file but padding")
    check_names(name, real)
    # many paddings may share a name, but none may lead out of the folder
    for index in padding:
        if fault := path_fault(files[index][0]):
            raise MetainfoError(f"a padding file of {name!r}: {fault}")
    piece_length, pieces = _int(info, b"piece length"), _bytes(info, b"pieces")
    check_pieces(name, files, piece_length, pieces)
    raw = encode(info)
    seeds, trackers = _texts(outer.get(b"url-list")), _announced(outer)
    return ParsedTorrent(
        name=name,
        single=single,
        files=files,
        padding=padding,
        piece_length=piece_length,
        pieces=pieces,
        info=raw,
        infohash=sha1(raw),
        hybrid=b"file tree" in info or b"meta version" in info,
        private=info.get(b"private") == 1,
        web_seeds=tuple(seed for seed in seeds if seed.startswith(SEED_SCHEMES)),
        trackers=tuple(link for link in trackers if link.startswith(TRACKER_SCHEMES)),
        left_out=(
            *(seed for seed in seeds if not seed.startswith(SEED_SCHEMES)),
            *(link for link in trackers if not link.startswith(TRACKER_SCHEMES)),
        ),
        comment=_comment(outer),
    )


def _lone_file(name: str, info: Dictionary) -> tuple[Files, frozenset[int]]:
    return ((name, _int(info, b"length")),), frozenset()


def _files(info: Dictionary) -> tuple[Files, frozenset[int]]:
    """Read the paths and sizes under ``files``, and which of them are padding."""
    entries = info[b"files"]
    if b"length" in info or not isinstance(entries, list):
        raise MetainfoError("a torrent has either a length or a list of files")
    files: list[tuple[str, int]] = []
    padding: set[int] = set()
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise MetainfoError(f"file {index} of the torrent is no dictionary")
        names = entry.get(b"path")
        if not isinstance(names, list) or not names:
            raise MetainfoError(f"file {index} of the torrent has no path")
        attributes = entry.get(b"attr", b"")
        if not isinstance(attributes, bytes) or b"l" in attributes:
            raise MetainfoError(f"file {index} of the torrent is a symbolic link, or malformed")
        if b"p" in attributes:
            padding.add(index)
        path = "/".join(_segment(name, index) for name in names)
        files.append((path, _int(entry, b"length")))
    return tuple(files), frozenset(padding)


def _segment(name: Bencoded, index: int) -> str:
    if not isinstance(name, bytes) or b"/" in name:
        raise MetainfoError(f"file {index} of the torrent has a slash or a number as a name")
    return _text(name, f"the path of file {index}")


def _announced(outer: Dictionary) -> tuple[str, ...]:
    """List the trackers of ``announce`` and of each tier (BEP 12)."""
    found = [outer.get(b"announce", b"")]
    tiers = outer.get(b"announce-list")
    for tier in tiers if isinstance(tiers, list) else ():
        found += tier if isinstance(tier, list) else ()
    return _texts(found)


def _texts(value: Bencoded | None) -> tuple[str, ...]:
    """Read one text or a list of texts, each once; what is none is nobody's loss."""
    found = value if isinstance(value, list) else [value]
    texts = [text.decode("utf-8", "replace") for text in found if isinstance(text, bytes)]
    return tuple(dict.fromkeys(text for text in texts if text))


def _comment(outer: Dictionary) -> str:
    """Read the comment as clients do: ``comment.utf-8``, which some makers add, comes first."""
    comment = outer.get(b"comment.utf-8", outer.get(b"comment", b""))
    return comment.decode("utf-8", "replace") if isinstance(comment, bytes) else ""


def _dict(holder: Dictionary, key: bytes) -> Dictionary:
    value = holder.get(key)
    if not isinstance(value, dict):
        raise MetainfoError(f"the torrent has no dictionary {key.decode()!r}")
    return value


def _int(holder: Dictionary, key: bytes) -> int:
    value = holder.get(key)
    if not isinstance(value, int):
        raise MetainfoError(f"the torrent has no number {key.decode()!r}")
    return value


def _bytes(holder: Dictionary, key: bytes) -> bytes:
    value = holder.get(key)
    if not isinstance(value, bytes):
        raise MetainfoError(f"the torrent has no string {key.decode()!r}")
    return value


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise MetainfoError(f"{what} is not UTF-8: {raw[:40]!r}") from error
