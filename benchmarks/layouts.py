"""Layouts of files that torrents get wrong, and whether ours are libtorrent's for them.

Sizes lie around nothing, a leaf of BEP 52 and a piece; names are of many scripts; a lone file and
folders of many files.  The same seed gives the same layouts.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libtorrent

from fleet.torrent.merkle import LEAF
from fleet.torrent.metainfo import Metainfo
from workers.hashing import hash_trees
from workers.regions import Part

NAMES = ("census", "données", "ᐃᓄᒃᑎᑐᑦ", "地図", "карта", "a b", "100%", "x#y", "🗺", "é+è")
PIECES = (LEAF, 2 * LEAF, 4 * LEAF, 16 * LEAF)
MOST_FILES = 12
SEED = 52


@dataclass(frozen=True)
class Layout:
    """A torrent to be: its name, paths and sizes in order, and the piece length."""

    name: str
    files: tuple[tuple[str, int], ...]
    piece_length: int

    @property
    def single(self) -> bool:
        """Whether it is a lone file."""
        return len(self.files) == 1

    def paths(self) -> list[str]:
        """Where the files lie below the folder that all layouts are written to."""
        return [path if self.single else f"{self.name}/{path}" for path, _ in self.files]

    def write(self, folder: Path) -> None:
        """Write the files, each of its own bytes."""
        for number, (path, (_, size)) in enumerate(zip(self.paths(), self.files, strict=True)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            dice = random.Random(number)  # noqa: S311 - to be repeated, no secret
            (folder / path).write_bytes(dice.randbytes(size))


def layouts(count: int, seed: int = SEED) -> Iterator[Layout]:
    """Draw so many layouts; every third is a lone file, and none is all empty."""
    draw = random.Random(seed)  # noqa: S311 - not a secret
    for number in range(count):
        piece = draw.choice(PIECES)
        near = [0, 1, LEAF - 1, LEAF, LEAF + 1, piece - 1, piece, piece + 1]
        near += [3 * piece, 3 * piece + LEAF + 1, draw.randrange(1, 5 * piece)]
        name = f"{draw.choice(NAMES)} {number}"
        if number % 3 == 0:
            yield Layout(name, ((name, draw.choice(near[1:])),), piece)
            continue
        paths = [_path(draw, file) for file in range(draw.randrange(2, MOST_FILES))]
        sizes = [draw.choice(near[1:]), *(draw.choice(near) for _ in paths[1:])]
        draw.shuffle(sizes)
        yield Layout(name, tuple(zip(sorted(paths), sizes, strict=True)), piece)


def differences(layout: Layout, folder: Path) -> list[str]:
    """Say which hashes of the files of ``layout`` below ``folder`` are not libtorrent's."""
    parts = [Part(path, size) for path, (_, size) in zip(layout.paths(), layout.files, strict=True)]
    pieces, trees = hash_trees(folder, parts, layout.piece_length)
    infohash = Metainfo(layout.name, layout.files, layout.piece_length, pieces).infohash
    roots, layers = _v2(layout, folder)
    wrong = [] if infohash == _v1_infohash(layout, folder) else ["v1 infohash"]
    for (path, _), tree in zip(layout.files, trees, strict=True):
        if tree.root != roots[path]:
            wrong.append(f"v2 root of {path}")
        if tree.layer != layers.get(tree.root or "", b""):
            wrong.append(f"v2 layer of {path}")
    return wrong


def _path(draw: random.Random, file: int) -> str:
    folders = [draw.choice(NAMES)] * draw.randrange(3)
    return "/".join([*folders, f"{draw.choice(NAMES)}-{file}.bin"])


def _made(layout: Layout, folder: Path, flags: Any) -> Any:
    """Let libtorrent hash the files; entries made here hold neither a mode nor a date."""
    sizes = (size for _, size in layout.files)
    pairs = zip(layout.paths(), sizes, strict=True)
    entries = [libtorrent.create_file_entry(path, size) for path, size in pairs]
    torrent = libtorrent.create_torrent(entries, layout.piece_length, flags)
    libtorrent.set_piece_hashes(torrent, str(folder))
    return torrent.generate()


def _v1_infohash(layout: Layout, folder: Path) -> str:
    made = _made(layout, folder, libtorrent.create_torrent.v1_only)
    return str(libtorrent.torrent_info(libtorrent.bencode(made)).info_hashes().v1)


def _v2(layout: Layout, folder: Path) -> tuple[dict[str, str | None], dict[str, bytes]]:
    """Give each file's root, by its path, and the layers by their root."""
    made = _made(layout, folder, libtorrent.create_torrent.v2_only)
    layers = {root.hex(): layer for root, layer in made.get(b"piece layers", {}).items()}
    return dict(_roots(made[b"info"][b"file tree"], "")), layers


def _roots(tree: dict[bytes, Any], folder: str) -> Iterator[tuple[str, str | None]]:
    for name, below in tree.items():
        if not name:
            root = below.get(b"pieces root")
            yield folder, None if root is None else root.hex()
        else:
            yield from _roots(below, f"{folder}/{name.decode()}" if folder else name.decode())
