"""Torrents from outside: real ones are read, hostile ones refused."""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.bencode import decode, encode
from fleet.torrent.metainfo import MetainfoError, torrent_bytes
from fleet.torrent.parsed import parse
from fleet.torrent.shard import shard_metainfo

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "torrents_d4c"
KIB = 1024


def by_libtorrent(data: bytes) -> Any:
    """What libtorrent reads."""
    return lt.load_torrent_buffer(data).ti


def torrent(**changes: Any) -> bytes:
    """A sound torrent of two files with changes to ``info``; None takes a key away."""
    info: dict[bytes, Any] = {
        b"name": b"ds",
        b"piece length": 16 * KIB,
        b"pieces": b"x" * 20,
        b"files": [{b"length": 5, b"path": [b"a"]}, {b"length": 6, b"path": [b"b", b"c"]}],
    }
    for key, value in changes.items():
        info[key.replace("_", " ").encode()] = value
    return encode({b"info": {key: value for key, value in info.items() if value is not None}})


def read_back(data: bytes) -> Any:
    """Decode without a type to argue about."""
    return decode(data)


def one(**file: Any) -> list[Any]:
    return [{b"length": 11, b"path": [b"a"]} | {key.encode(): value for key, value in file.items()}]


@pytest.mark.skipif(not REAL.is_dir(), reason="the real torrents are not on this machine")
def test_real_torrents_keep_their_infohash() -> None:
    found = sorted(REAL.glob("*.torrent"))
    assert len(found) == 9
    for path in found:
        data = path.read_bytes()
        read, theirs = parse(data), by_libtorrent(data)
        assert read.infohash == str(theirs.info_hash())
        assert read_back(read.info)[b"source"] == b"Data for Canada"
        assert read.single
        assert read.content == ((theirs.name(), theirs.total_size()),)
        assert len(read.web_seeds) == 3
        assert read.web_seeds[0].startswith("https://data.source.coop/")
        assert read.trackers == ("https://tracker.labs.dataforcanada.org/announce",)
        assert read.comment


def test_foreign_keys_count_for_the_infohash() -> None:
    data = torrent(source=b"us", private=1)
    assert parse(data).infohash == str(by_libtorrent(data).info_hash())
    assert parse(data).infohash != parse(torrent()).infohash


def test_a_hybrid_torrent_is_read_as_v1_and_its_padding_is_known(tmp_path: Path) -> None:
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / "a").write_bytes(b"a" * 5)
    (tmp_path / "ds" / "b").write_bytes(b"b" * 20 * KIB)
    entries = [lt.create_file_entry("ds/a", 5), lt.create_file_entry("ds/b", 20 * KIB)]
    maker = lt.create_torrent(entries, 16 * KIB)
    lt.set_piece_hashes(maker, str(tmp_path))
    data = lt.bencode(maker.generate())
    read = parse(data)
    assert read.infohash == str(by_libtorrent(data).info_hashes().v1)
    assert [path for at, (path, _) in enumerate(read.files) if at not in read.padding] == ["a", "b"]
    assert read.files[1][1] == 16 * KIB - 5


def test_a_v2_only_torrent_is_refused_by_name() -> None:
    with pytest.raises(MetainfoError, match="v2-only"):
        parse(torrent(pieces=None, files=None, file_tree={}, meta_version=2))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>404</html>", id="a web page"),
        pytest.param(b"le", id="a list"),
        pytest.param(b"de", id="no info"),
        pytest.param(b"d4:infoi1ee", id="info is a number"),
        pytest.param(b"d4:info" + b"l" * 5000 + b"e" * 5001, id="bomb"),
        pytest.param(torrent() + b"\n", id="a byte too many"),
        pytest.param(torrent()[:-1], id="cut short"),
        pytest.param(torrent(name=None), id="no name"),
        pytest.param(torrent(name=7), id="name is a number"),
        pytest.param(torrent(name=b".."), id="name climbs"),
        pytest.param(torrent(name=b"a/b"), id="name is a path"),
        pytest.param(torrent(name=b"\xff"), id="name is not UTF-8"),
        pytest.param(torrent(pieces=None), id="no pieces"),
        pytest.param(torrent(pieces=b"x" * 19), id="ragged pieces"),
        pytest.param(torrent(pieces=b"x" * 40), id="too many pieces"),
        pytest.param(torrent(piece_length=0), id="no piece length"),
        pytest.param(torrent(piece_length=-16384), id="negative piece length"),
        pytest.param(torrent(piece_length=16385), id="odd piece length"),
        pytest.param(torrent(piece_length=1 << 40), id="absurd piece length"),
        pytest.param(torrent(length=5), id="both a file and files"),
        pytest.param(torrent(files=None), id="neither a file nor files"),
        pytest.param(torrent(files=None, length=-1), id="negative size"),
        pytest.param(torrent(files=None, length=1 << 60), id="absurd size"),
        pytest.param(torrent(files={}), id="files is a dictionary"),
        pytest.param(torrent(files=[]), id="no files"),
        pytest.param(torrent(files=[b"a"]), id="a file is a string"),
        pytest.param(torrent(files=one(path=[])), id="no path"),
        pytest.param(torrent(files=one(path=b"a")), id="path is a string"),
        pytest.param(torrent(files=one(path=[1])), id="path of numbers"),
        pytest.param(torrent(files=one(path=[b"..", b"a"])), id="path climbs"),
        pytest.param(torrent(files=one(path=[b"a", b"..", b"..", b"b"])), id="path climbs later"),
        pytest.param(torrent(files=one(path=[b"", b"etc", b"passwd"])), id="absolute path"),
        pytest.param(torrent(files=one(path=[b"../a"])), id="a name climbs"),
        pytest.param(torrent(files=one(path=[b"b/c"])), id="slash in a name"),
        pytest.param(torrent(files=one(path=[b"..\\a"])), id="backslash in a name"),
        pytest.param(torrent(files=one(path=[b"a\0b"])), id="null in a name"),
        pytest.param(torrent(files=one(path=[b"x"] * 600)), id="very deep path"),
        pytest.param(torrent(files=one(attr=b"l")), id="symbolic link"),
        pytest.param(torrent(files=one(attr=1)), id="attributes are a number"),
        pytest.param(torrent(files=one(length=b"11")), id="size is a string"),
        pytest.param(torrent(files=one(length=-5) + one(length=16)), id="one negative size"),
        pytest.param(torrent(files=one() + one()), id="the same path twice"),
        pytest.param(torrent(files=one() + one(path=[b"A"])), id="the same path but for case"),
        pytest.param(torrent(files=one() + one(path=[b"a", b"b"])), id="a file as a folder"),
    ],
)
def test_hostile_torrents_are_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(MetainfoError) as refusal:
        parse(data)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_a_torrent_too_large_to_be_one_is_refused_unread() -> None:
    with pytest.raises(MetainfoError, match="more than"):
        parse(b"i" * (33 << 20))


def test_links_that_are_none_are_left_out() -> None:
    fields = read_back(torrent())
    fields[b"url-list"] = [
        b"https://a.example/",
        7,
        b"",
        b"ftp://a.example/",
        b"https://a.example/",
    ]
    fields[b"announce"] = b"wss://t.example"
    fields[b"announce-list"] = [[b"udp://t.example:1"], b"x", [[], b"udp://t.example:1"]]
    fields[b"comment"] = [b"no text"]
    read = parse(encode(fields))
    assert read.web_seeds == ("https://a.example/",)
    assert read.trackers == ("udp://t.example:1",)
    assert read.comment == ""


anything = st.recursive(
    st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=30) | st.just(b"x" * 20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([b"path", b"length", b"attr"]) | st.binary(max_size=4), inner
        )
    ),
    max_leaves=8,
)
keys = st.sampled_from(
    [b"name", b"piece length", b"pieces", b"files", b"length", b"file tree", b"private"]
)


@given(st.dictionaries(keys, anything), st.dictionaries(st.binary(max_size=12), anything))
def test_no_torrent_raises_anything_but_our_error(
    changes: dict[bytes, Any], around: dict[bytes, Any]
) -> None:
    info = read_back(torrent())[b"info"] | changes
    data = encode(around | {b"info": info})
    try:
        read = parse(data)
    except MetainfoError:
        return
    assert read.infohash == hashlib.sha1(encode(info)).hexdigest()


@given(st.data())
def test_no_damage_raises_anything_but_our_error(data: Any) -> None:
    meta = shard_metainfo("ds", "v1", [("a", 5), ("b", 6)], 16 * KIB, b"x" * 20)
    good = torrent_bytes(meta, web_seeds=["https://a.example/"], comment="c")
    at = data.draw(st.integers(0, len(good)))
    until = data.draw(st.integers(at, len(good)))
    with contextlib.suppress(MetainfoError):
        parse(good[:at] + data.draw(st.binary(max_size=8)) + good[until:])
