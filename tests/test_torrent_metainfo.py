"""The canonical torrent, held against libtorrent's own maker and reader of torrents."""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.metainfo import Metainfo, MetainfoError, magnet, torrent_bytes
from fleet.torrent.parsed import parse
from fleet.torrent.paths import clash, path_fault
from fleet.torrent.pieces import PieceHasher, piece_count
from fleet.torrent.shard import save_folder, shard_metainfo, web_seed

KIB = 1024
names = st.text(
    st.characters(exclude_categories=("Cc", "Cf", "Cs"), exclude_characters="/\\"),
    min_size=1,
    max_size=12,
).filter(lambda name: name not in {".", ".."})
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
near = st.sampled_from([0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 64 * KIB - 1, 64 * KIB + 1])
layouts = st.lists(
    st.tuples(paths, near | st.integers(0, 1 << 24)), min_size=1, max_size=12
).filter(lambda files: sum(size for _, size in files) and not clash(path for path, _ in files))


def fake_pieces(size: int, length: int) -> bytes:
    return b"".join(
        hashlib.sha1(b"%d" % index).digest() for index in range(piece_count(size, length))
    )


def made_by_libtorrent(meta: Metainfo) -> Any:
    entries = [
        lt.create_file_entry(path if meta.single else f"{meta.name}/{path}", size)
        for path, size in meta.files
    ]
    maker = lt.create_torrent(entries, meta.piece_length, lt.create_torrent.v1_only)
    for index in range(maker.num_pieces()):
        maker.set_hash(index, meta.pieces[index * 20 : index * 20 + 20])
    return maker.generate()[b"info"]


def loaded(data: bytes) -> Any:
    return lt.load_torrent_buffer(data).ti


@given(names, layouts, st.sampled_from([16 * KIB, 64 * KIB, 1024 * KIB]))
def test_info_is_byte_for_byte_what_libtorrent_makes(name: str, files: Any, length: int) -> None:
    size = sum(size for _, size in files)
    if len(files) == 1:
        name = files[0][0].rpartition("/")[2]
        files = [(name, size)]
    meta = Metainfo(name, tuple(files), length, fake_pieces(size, length))
    assert lt.bencode(made_by_libtorrent(meta)) == meta.info
    torrent = loaded(torrent_bytes(meta))
    assert str(torrent.info_hash()) == meta.infohash
    layout = torrent.layout()
    assert [
        (layout.file_path(index), layout.file_size(index)) for index in range(layout.num_files())
    ] == list(parse(torrent_bytes(meta)).content)


def test_pieces_are_what_libtorrent_hashes_from_disk(tmp_path: Path) -> None:
    length = 16 * KIB
    sizes = [0, 1, length - 1, length, length + 1, 5 * length + 7, 0, 3] + [11] * 200
    files, hasher = [], PieceHasher(length)
    for index, size in enumerate(sizes):
        path = f"v1/é {index}.bin"
        data = hashlib.shake_128(b"%d" % index).digest(size)
        target = tmp_path / "dataset" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        hasher.update(data)
        files.append((f"é {index}.bin", size))
    meta = shard_metainfo("dataset", "v1", files, length, hasher.finish())
    entries = [lt.create_file_entry(f"dataset/{path}", size) for path, size in meta.files]
    maker = lt.create_torrent(entries, length, lt.create_torrent.v1_only)
    lt.set_piece_hashes(maker, str(tmp_path))
    assert lt.bencode(maker.generate()[b"info"]) == meta.info


def test_the_infohash_of_a_published_shard_never_changes() -> None:
    lone = shard_metainfo("d", "v1", [("raw/a.bin", 5)], 256 * KIB, b"\x01" * 20)
    bundle = shard_metainfo("d", "v1", [("a", 5), ("b/c", 0)], 256 * KIB, b"\x01" * 20)
    assert lone.infohash == "1927177815aa091f4658c16ce0201ee70f677083"
    assert bundle.infohash == "d8e4aad43b3e22cf82d586f98ade7d7acd68faf9"


def test_mirrors_trackers_and_comments_do_not_touch_the_infohash() -> None:
    meta = shard_metainfo("d", "v1", [("a", 5), ("b", 6)], 256 * KIB, b"\x01" * 20)
    bare = torrent_bytes(meta)
    full = torrent_bytes(
        meta,
        web_seeds=["https://a.example/", "https://b.example/é/"],
        trackers=["udp://t.example:6969/announce", "https://t.example/announce"],
        comment="Données ouvertes",
    )
    assert torrent_bytes(meta) == bare
    assert b"creation date" not in full
    assert str(loaded(full).info_hash()) == str(loaded(bare).info_hash()) == meta.infohash
    read = parse(full)
    assert read.info == meta.info
    assert read.web_seeds == ("https://a.example/", "https://b.example/é/")
    assert read.trackers == ("udp://t.example:6969/announce", "https://t.example/announce")
    assert read.comment == "Données ouvertes"
    assert lt.load_torrent_buffer(full).tracker_tiers == [0, 1]


def test_a_magnet_is_read_by_libtorrent() -> None:
    meta = shard_metainfo("d", "v1", [("a b&c#é.bin", 5)], 256 * KIB, b"\x01" * 20)
    link = magnet(
        meta,
        web_seeds=["https://a.example/d/v1/a%20b.bin"],
        trackers=["https://t.example/announce?x=1&y=2"],
        peers=[("127.0.0.1", 6881), ("::1", 6882)],
    )
    read = lt.parse_magnet_uri(link)
    assert str(read.info_hashes.v1) == meta.infohash
    assert read.name == "a b&c#é.bin"
    assert read.url_seeds == ["https://a.example/d/v1/a%20b.bin"]
    assert read.trackers == ["https://t.example/announce?x=1&y=2"]
    assert read.peers == [("127.0.0.1", 6881), ("::1", 6882)]
    assert dict(parse_qsl(link.removeprefix("magnet:?")))["xl"] == "5"


def test_a_lone_artifact_is_seeded_where_it_lies() -> None:
    meta = shard_metainfo("ds", "v1", [("raw/é #1.bin", 5)], 256 * KIB, b"\x01" * 20)
    folder = save_folder("ds", "v1", meta, "raw/é #1.bin")
    assert (meta.name, folder) == ("é #1.bin", "ds/v1/raw")
    assert web_seed("https://m.example/data/", folder, meta) == (
        "https://m.example/data/ds/v1/raw/%C3%A9%20%231.bin"
    )
    shallow = shard_metainfo("ds", "v1", [("a.bin", 5)], 256 * KIB, b"\x01" * 20)
    assert save_folder("ds", "v1", shallow, "a.bin") == "ds/v1"


def test_a_bundle_is_seeded_where_it_lies() -> None:
    meta = shard_metainfo("ds", "v1", [("a.bin", 5), ("raw/b", 6)], 256 * KIB, b"\x01" * 20)
    folder = save_folder("ds", "v1", meta, "a.bin")
    assert folder == ""
    assert [path for path, _ in parse(torrent_bytes(meta)).content] == [
        "ds/v1/a.bin",
        "ds/v1/raw/b",
    ]
    assert web_seed("https://m.example", folder, meta) == "https://m.example/"
    assert web_seed("https://m.example/data", folder, meta) == "https://m.example/data/"


@pytest.mark.parametrize(
    "base", ["", "m.example", "ftp://m.example/", "https://", "https://m.example/?a=b", "http:///x"]
)
def test_a_web_seed_wants_a_base_that_paths_can_follow(base: str) -> None:
    meta = shard_metainfo("ds", "v1", [("a.bin", 5)], 256 * KIB, b"\x01" * 20)
    with pytest.raises(MetainfoError, match="no base for web seeds"):
        web_seed(base, "ds/v1", meta)


@pytest.mark.parametrize(
    ("files", "length", "pieces", "why"),
    [
        ([("a", 5), ("b", 0)], 256 * KIB, b"", "wants 20 bytes of piece hashes"),
        ([("a", 5), ("b", 0)], 256 * KIB, b"x" * 21, "wants 20 bytes of piece hashes"),
        ([("a", 0), ("b", 0)], 256 * KIB, b"", "0 bytes, which no client takes"),
        ([], 256 * KIB, b"", "0 bytes, which no client takes"),
        ([("a", -1), ("b", 9)], 256 * KIB, b"x" * 20, "cannot have -1 bytes"),
        ([("a", 5), ("b", 5)], 1000_000, b"x" * 20, "power of two"),
        ([("a", 5), ("b", 5)], 8 * KIB, b"x" * 20, "power of two"),
        ([("a", 5), ("b", 5)], 0, b"x" * 20, "power of two"),
        ([("a", 5), ("a", 5)], 256 * KIB, b"x" * 20, "same file to some clients"),
        ([("é", 5), ("E\N{COMBINING ACUTE ACCENT}", 5)], 256 * KIB, b"x" * 20, "same file"),
        ([("a", 5), ("A/b", 5)], 256 * KIB, b"x" * 20, "wants it as a folder"),
        ([("../a", 5), ("b", 5)], 256 * KIB, b"x" * 20, "is not a name"),
        ([("/a", 5), ("b", 5)], 256 * KIB, b"x" * 20, "is not a name"),
        ([("a\\b", 5), ("b", 5)], 256 * KIB, b"x" * 20, "slash"),
        ([("a\nb", 5), ("b", 5)], 256 * KIB, b"x" * 20, "invisible"),
        ([("a\N{RIGHT-TO-LEFT OVERRIDE}b", 5), ("b", 5)], 256 * KIB, b"x" * 20, "invisible"),
        ([("x" * 241, 5), ("b", 5)], 256 * KIB, b"x" * 20, "longer than 240"),
        ([("d/" * 512 + "a", 5), ("b", 5)], 256 * KIB, b"x" * 20, "longer than 1024"),
    ],
)
def test_what_not_every_client_takes_is_refused(
    files: Any, length: int, pieces: bytes, why: str
) -> None:
    with pytest.raises(MetainfoError, match=why):
        shard_metainfo("ds", "v1", files, length, pieces)


def test_a_lone_file_in_a_folder_is_refused() -> None:
    with pytest.raises(MetainfoError, match="carries that file's name"):
        Metainfo("ds", (("v1/a", 5),), 256 * KIB, b"x" * 20)


@given(st.text(max_size=20))
def test_libtorrent_keeps_every_accepted_name(name: str) -> None:
    if path_fault(name) or clash([name, "other"]):
        return
    meta = Metainfo("n", ((name, 1), ("other", 1)), 16 * KIB, b"x" * 20)
    layout = loaded(torrent_bytes(meta)).layout()
    assert layout.file_path(0) == f"n/{name}"
