"""Torrents to be linted and reissued, sound but for what a test changes."""

from pathlib import Path
from typing import Any

import libtorrent as lt

from fleet.torrent.bencode import decode, encode

KIB = 1024
PIECE = 256 * KIB
TRACKER = b"https://t.example/announce"
BASE = "https://a.example/data/"


def fields(data: bytes) -> Any:
    """Decode without a type to argue about."""
    return decode(data)


def single(*seeds: str, around: dict[str, Any] | None = None, **info: Any) -> bytes:
    """A torrent of one file with these web seeds; ``info`` changes its info (None: not there)."""
    return _torrent(seeds, around, {"name": b"a.zip", "length": 300 * KIB, **info})


def folder(*seeds: str, around: dict[str, Any] | None = None, **info: Any) -> bytes:
    """A torrent of two files in the folder ``ID``."""
    files = [file(b"v1", b"a.csv", length=299 * KIB), file(b"v1", b"b.csv", length=KIB)]
    return _torrent(seeds, around, {"name": b"ID", "files": files, **info})


def file(*path: bytes, length: int = 1, **more: Any) -> Any:
    """An entry of ``files``."""
    return {b"length": length, b"path": list(path)} | {
        key.encode(): value for key, value in more.items()
    }


def hybrid(home: Path) -> bytes:
    """A hybrid torrent of a folder with padding, as libtorrent makes it; it has piece layers."""
    (home / "ID").mkdir()
    (home / "ID" / "a").write_bytes(b"a" * 40 * KIB)
    (home / "ID" / "b").write_bytes(b"b" * 50 * KIB)
    entries = [lt.create_file_entry("ID/a", 40 * KIB), lt.create_file_entry("ID/b", 50 * KIB)]
    maker = lt.create_torrent(entries, 16 * KIB)
    lt.set_piece_hashes(maker, str(home))
    maker.add_url_seed(BASE)
    return bytes(lt.bencode(maker.generate()))


def _torrent(seeds: tuple[str, ...], around: dict[str, Any] | None, info: dict[str, Any]) -> bytes:
    changed = {key.replace("_", " ").encode(): value for key, value in info.items()}
    outer: dict[bytes, Any] = {
        b"announce": TRACKER,
        b"info": _without_none({b"piece length": PIECE, b"pieces": b"x" * 40} | changed),
    }
    if seeds:
        outer[b"url-list"] = [seed.encode() for seed in seeds]
    for key, value in (around or {}).items():
        outer[key.encode()] = value
    return encode(_without_none(outer))


def _without_none(values: dict[bytes, Any]) -> dict[bytes, Any]:
    return {key: value for key, value in values.items() if value is not None}
