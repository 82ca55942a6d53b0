"""Torrents as sources: their files, sizes and md5s, from their web seeds."""

from typing import Any

import pytest

from fleet.importers.draft import ImportRefused
from fleet.importers.torrent import read_torrent
from fleet.torrent.bencode import decode, encode
from tests.real_data import DATA, real, wanted

MD5 = "0123456789abcdef" * 2
REAL = sorted(path.name for path in DATA.glob("torrents_d4c/*.torrent"))


def torrent(info: dict[bytes, Any], *seeds: str) -> bytes:
    details = {b"name": b"roads", b"piece length": 16384, b"pieces": bytes(20)} | info
    return encode({b"info": details, b"url-list": [seed.encode() for seed in seeds]})


def file(path: str, length: int, **more: Any) -> dict[bytes, Any]:
    named = {b"length": length, b"path": [name.encode() for name in path.split("/")]}
    return named | {key.encode(): value for key, value in more.items()}


@wanted
def test_the_real_torrents_are_here() -> None:
    assert len(REAL) == 9


@pytest.mark.parametrize("name", REAL)
def test_a_real_torrent_gives_its_file_from_its_web_seeds(name: str) -> None:
    data = real(f"torrents_d4c/{name}")
    outer: Any = decode(data)
    draft = read_torrent(data)
    (one,) = draft.artifacts
    assert (one.path, one.size) == (name.removesuffix(".torrent"), outer[b"info"][b"length"])
    assert one.md5 == outer[b"info"][b"md5sum"].decode()
    assert [source.encode() for source in one.sources] == outer[b"url-list"]
    assert draft.kind == "torrent"
    assert "fleet torrent adopt" in draft.notes[-1]


def test_a_folder_is_asked_for_as_clients_do_and_padding_is_none_of_it() -> None:
    files = [
        file("a b.csv", 10, md5sum=MD5.encode()),
        file(".pad/6", 6, attr=b"p"),
        file("sub/c.csv", 4, md5sum=b"no digest"),
    ]
    draft = read_torrent(torrent({b"files": files}, "https://a.example/d", "https://b.example/"))
    assert [(one.path, one.size, one.md5) for one in draft.artifacts] == [
        ("a b.csv", 10, MD5),
        ("sub/c.csv", 4, None),
    ]
    assert draft.artifacts[0].sources == (
        "https://a.example/d/roads/a%20b.csv",
        "https://b.example/roads/a%20b.csv",
    )
    assert draft.name == "roads"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (torrent({b"length": 5}), "names no web seed"),
        (torrent({b"length": 5}, "ftp://a.example/x"), "names no web seed"),
        (torrent({b"length": -5}, "https://a.example/x"), "cannot have -5 bytes"),
        (torrent({b"files": [file("../x", 5)]}, "https://a.example/"), "not a name"),
        (b"d1:ae", "not a torrent"),
    ],
)
def test_a_torrent_that_gives_nothing_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ImportRefused, match=reason):
        read_torrent(data)
