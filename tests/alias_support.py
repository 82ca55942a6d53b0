"""Torrents as others make them, by libtorrent, of bytes that a test's centre holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from sqlmodel import select

from fleet.control import blobs
from fleet.control.mirror import mirror_dataset
from fleet.control.rules import RuleSpec
from fleet.messages import Order
from fleet.store.tables import Version
from fleet.torrent.bencode import decode, encode
from tests import centre_support
from tests.centre_support import Centre
from tests.seeder_support import content as noise
from workers.lease import Lease
from workers.storage.posix import PosixStorage
from workers.verify import verify

KIB = 1024
V1: Any = lt.create_torrent.v1_only
HYBRID = 0
REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "torrents_d4c"


def put(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)


def made(
    work: Path,
    name: str,
    files: Mapping[str, bytes],
    *,
    piece: int = 16 * KIB,
    flags: Any = V1,
    private: bool = False,
    links: bool = True,
) -> bytes:
    """Have libtorrent make a torrent of files in a folder ``name``; of a lone ``""``, of a file."""
    entries = []
    for path, data in files.items():
        full = f"{name}/{path}" if path else name
        put(work / full, data)
        entries.append(lt.create_file_entry(full, len(data)))
    maker = lt.create_torrent(entries, piece, flags)
    maker.set_priv(private)
    if links:
        maker.add_url_seed("http://dead.example/old/")
        maker.add_tracker("http://dead.example/announce")
    lt.set_piece_hashes(maker, str(work))
    return bytes(lt.bencode(maker.generate()))


def changed(torrent: bytes, **info: Any) -> bytes:
    """The torrent with other entries in its ``info``."""
    outer: Any = decode(torrent)
    outer[b"info"] |= {key.encode(): value for key, value in info.items()}
    return encode(outer)


def info_of(torrent: bytes) -> bytes:
    outer: Any = decode(torrent)
    return encode(outer[b"info"])


class Held:
    """A centre whose three sites hold one version, and those bytes on a disk."""

    def __init__(
        self, centre: Centre, root: Path, monkeypatch: pytest.MonkeyPatch, sizes: Mapping[str, int]
    ) -> None:
        self.centre = centre
        self.root = root
        self.files = {path: noise(path, size) for path, size in sizes.items()}
        monkeypatch.setattr(centre_support, "content", self.files.__getitem__)
        for path, data in self.files.items():
            put(centre.folder / "source" / path, data)
        mirror_dataset(centre.store, str(centre.folder / "source"), RuleSpec(), dataset="data")
        centre.work()
        with centre.store.read() as session:
            version = session.exec(select(Version)).one()
        self.version, self.label = version.id, version.label
        for path, data in self.files.items():
            put(root / "data" / self.label / path, data)

    def place(self, path: str) -> str:
        return f"data/{self.label}/{path}"

    def checks(self) -> list[Order]:
        """Carry out all that is announced, verifies by a real worker; return their orders."""
        orders: list[Order] = []
        self.centre.tick()
        while todo := self.centre.orders():
            for order in todo:
                if order.task != "verify":
                    self.centre.report(order)
                    continue
                work = verify(order, PosixStorage(self.root), Lease())
                for name, data in work.all_blobs.items():
                    blobs.keep(self.centre.store, name, data)
                self.centre.report(order, items=work.items, pieces=work.pieces_ref)
                orders.append(order)
            self.centre.tick()
        return orders
