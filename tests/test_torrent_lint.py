"""What clients ask of web seeds, and what is found to be wrong with a torrent."""

import contextlib
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.bencode import encode
from fleet.torrent.lint import MOST_SEEDS, Finding, lint
from fleet.torrent.metainfo import Metainfo, MetainfoError, torrent_bytes
from fleet.torrent.parsed import parse
from fleet.torrent.pieces import piece_spans
from fleet.torrent.reissue import reissue
from fleet.torrent.webseeds import file_url, first_url, proof
from tests.fault_server import FaultServer
from tests.lint_support import BASE, KIB, PIECE, fields, file, folder, hybrid, single
from tests.pull_support import noise, until, v1_pieces

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "torrents_d4c"


def codes(data: bytes) -> dict[str, str]:
    """What was found, and how bad it is."""
    return {one.code: one.severity for one in lint(data).findings}


def found(data: bytes, code: str) -> Finding:
    (one,) = [one for one in lint(data).findings if one.code == code]
    return one


@pytest.mark.parametrize(
    ("seed", "path", "alone", "url"),
    [
        ("https://a.example/x/a.zip", "a.zip", True, "https://a.example/x/a.zip"),
        ("https://a.example/a%20b?download=1", "c", True, "https://a.example/a%20b?download=1"),
        ("https://a.example/x/", "a b.zip", True, "https://a.example/x/a%20b.zip"),
        ("https://a.example/x/", "ID/v1/a.csv", False, "https://a.example/x/ID/v1/a.csv"),
        ("https://a.example/x", "ID/v1/a.csv", False, "https://a.example/x/ID/v1/a.csv"),
        ("https://a.example", "ID/é#?.csv", False, "https://a.example/ID/%C3%A9%23%3F.csv"),
        ("https://a.example/ID/", "ID/a.csv", False, "https://a.example/ID/ID/a.csv"),
    ],
)
def test_a_web_seed_is_asked_for(seed: str, path: str, alone: bool, url: str) -> None:
    assert file_url(seed, path, single=alone) == url


@pytest.mark.parametrize("base", ["data/", "data", "data/ID/"])
@pytest.mark.parametrize("paths", [("a b.csv", "é+(1).csv"), ()])
@pytest.mark.parametrize("client", ["libtorrent", "aria2"])
def test_clients_really_ask_so(
    server: FaultServer, tmp_path: Path, client: str, paths: tuple[str, ...], base: str
) -> None:
    files = tuple((path, 10 * KIB) for path in paths) or (("ID", 20 * KIB),)
    meta = Metainfo("ID", files, 16 * KIB, v1_pieces(noise(20 * KIB), 16 * KIB))
    data = torrent_bytes(meta, web_seeds=[server.url(base)])
    torrent = parse(data)

    with CLIENTS[client](data, tmp_path):
        until(lambda: server.requests)

    asked = {server.url(request.path) for request in server.requests}
    assert asked <= {
        file_url(torrent.web_seeds[0], path, single=torrent.single) for path, _ in torrent.content
    }


@contextlib.contextmanager
def by_libtorrent(data: bytes, home: Path) -> Iterator[None]:
    session = lt.session({"listen_interfaces": "127.0.0.1:0", "enable_dht": False})
    wanted = lt.load_torrent_buffer(data)
    wanted.save_path = str(home)
    session.add_torrent(wanted)
    yield


@contextlib.contextmanager
def by_aria2(data: bytes, home: Path) -> Iterator[None]:
    if not shutil.which("aria2c"):
        pytest.skip("needs aria2c (Debian package aria2)")
    (home / "a.torrent").write_bytes(data)
    command = ["aria2c", "--no-conf", "--enable-dht=false", "--dir", str(home)]
    with subprocess.Popen([*command, f"{home}/a.torrent"], stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


CLIENTS = {"libtorrent": by_libtorrent, "aria2": by_aria2}


@pytest.mark.parametrize(("base", "asked"), [("data/", "data/ID/a.csv"), ("data", "data")])
def test_whether_libtorrent_appends_the_path_of_a_lone_file_hangs_on_a_slash(
    server: FaultServer, tmp_path: Path, base: str, asked: str
) -> None:
    data = folder(server.url(base), files=[file(b"a.csv", length=300 * KIB)])

    with by_libtorrent(data, tmp_path):
        until(lambda: server.requests)

    assert {request.path for request in server.requests} == {asked}
    assert found(data, "seed-lone-file").asks == server.url("data/ID/a.csv")


def test_a_base_that_ends_in_the_name_is_an_error_with_the_url_asked_for() -> None:
    one = found(folder(BASE + "ID/"), "seed-named-twice")

    assert one.severity == "error"
    assert one.seed == BASE + "ID/"
    assert one.asks == BASE + "ID/ID/v1/a.csv"
    assert f"give {BASE}" in one.text
    assert codes(folder(BASE)) == {}


def test_what_is_named_twice_is_seen_through_encoding_and_a_missing_slash() -> None:
    data = folder(BASE + "I%44", name=b"ID")

    assert codes(data) == {"seed-named-twice": "error", "seed-slash": "warning"}
    assert "names" not in codes(single(BASE + "a.zip"))


ZENODO = "https://zenodo.org/records/15333781/"
FILES = [file(b"a.csv", length=299 * KIB), file(b"b.csv", length=KIB)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(single(BASE + "a.zip"), {}, id="a sound file"),
        pytest.param(single(ZENODO + "files/a.zip?download=1"), {}, id="a file at Zenodo"),
        pytest.param(folder(BASE), {}, id="a sound folder"),
        pytest.param(folder(BASE[:-1]), {"seed-slash": "warning"}, id="no slash"),
        pytest.param(single(BASE), {"seed-folder": "warning"}, id="a folder for a file"),
        pytest.param(
            single("https://a.example"), {"seed-folder": "warning"}, id="a host for a file"
        ),
        pytest.param(
            folder("https://a.example/?list=/"), {"seed-query": "error"}, id="query in a base"
        ),
        pytest.param(folder(BASE + "#/"), {"seed-fragment": "error"}, id="fragment in a base"),
        pytest.param(single(BASE + "a#b"), {"seed-fragment": "error"}, id="fragment in a file"),
        pytest.param(single(BASE + "a b"), {"seed-url": "error"}, id="not encoded"),
        pytest.param(single(BASE + "é"), {"seed-url": "error"}, id="not ASCII"),
        pytest.param(single(BASE + "%zz"), {"seed-url": "error"}, id="half encoded"),
        pytest.param(single("https://"), {"seed-url": "error"}, id="no host"),
        pytest.param(single("https://[::1/a"), {"seed-url": "error"}, id="half an address"),
        pytest.param(single("https://a:0x50/a"), {"seed-url": "error"}, id="no port"),
        pytest.param(
            single("https://me:secret@a.example/a"), {"seed-password": "error"}, id="password"
        ),
        pytest.param(single("http://a.example/a"), {"seed-http": "note"}, id="plain http"),
        pytest.param(folder(ZENODO + "files/"), {"seed-zenodo": "error"}, id="a folder at Zenodo"),
        pytest.param(folder(ZENODO, name=b"files"), {"seed-zenodo": "error"}, id="deep at Zenodo"),
        pytest.param(folder(ZENODO, name=b"files", files=FILES), {}, id="what fits Zenodo"),
        pytest.param(
            folder("https://archive.org/download/"), {"seed-redirects": "warning"}, id="redirects"
        ),
        pytest.param(single("https://archive.org/download/x/a.zip"), {}, id="redirects one file"),
        pytest.param(
            folder(BASE, files=[file(b"a", length=300 * KIB)]),
            {"seed-lone-file": "error"},
            id="a lone file in a folder",
        ),
        pytest.param(single(around={"httpseeds": [b"x"]}), {"httpseeds": "warning"}, id="BEP 17"),
        pytest.param(single(private=1), {"private": "warning"}, id="private"),
        pytest.param(single(private=0), {"foreign-keys": "warning"}, id="needlessly public"),
        pytest.param(
            single(private=1, around={"announce": None}),
            {"private": "warning", "no-sources": "error"},
            id="private and alone",
        ),
        pytest.param(single(around={"announce": None}), {"no-sources": "warning"}, id="DHT only"),
        pytest.param(single(source=b"x"), {"foreign-keys": "warning"}, id="source"),
        pytest.param(
            folder(BASE, files=[*FILES[:1], file(b"b.csv", length=KIB, attr=b"x")]),
            {"foreign-keys": "warning"},
            id="executable",
        ),
        pytest.param(
            single(piece_length=512 * KIB, pieces=b"x" * 20), {"piece-length": "note"}, id="rule"
        ),
        pytest.param(
            single(piece_length=32 << 20, pieces=b"x" * 20),
            {"piece-length": "note", "long-pieces": "error"},
            id="pieces too long",
        ),
        pytest.param(single(name="é.zip".encode()), {"names": "warning"}, id="accent"),
        pytest.param(
            folder(BASE, files=[*FILES[:1], file(b"c d", length=KIB)]),
            {"names": "warning"},
            id="gap",
        ),
        pytest.param(
            folder(BASE, files=[*FILES[:1], file(b"c#1", length=KIB)]), {"names": "error"}, id="#"
        ),
        pytest.param(
            single(around={"announce-list": [[b"wss://t.example"]], "url-list": b"ftp://a/b"}),
            {"schemes": "note"},
            id="other schemes",
        ),
        pytest.param(
            single(around={"creation date": 1, "created by": b"me", "encoding": b"UTF-8"}),
            {},
            id="who and when",
        ),
        pytest.param(b"de", {"refused": "error"}, id="no torrent"),
        pytest.param(
            folder(files=[file(b"..", b"a", length=300 * KIB)]), {"refused": "error"}, id="climbs"
        ),
        pytest.param(
            folder(files=[*FILES[:1], file(b"..", b"p", length=KIB, attr=b"p")]),
            {"refused": "error"},
            id="padding climbs",
        ),
        pytest.param(
            folder(files=[file(b"p", length=300 * KIB, attr=b"p")]),
            {"refused": "error"},
            id="nothing but padding",
        ),
        pytest.param(
            single(pieces=None, length=None, file_tree={}), {"refused": "error"}, id="v2 only"
        ),
    ],
)
def test_each_thing_that_is_wrong_has_its_code(data: bytes, expected: dict[str, str]) -> None:
    assert codes(data) == expected


def test_every_finding_is_one_line_and_says_what_to_do() -> None:
    seeds = ["http://me@zenodo.org/ID?a#b", "http://archive.org/x", "https://a/ID", "https://é"]
    files = [file(b"a#" * 100, length=300 * KIB, md5sum=b"x"), file(b"p", attr=b"p", length=1)]
    data = folder(
        *seeds, files=files, private=1, around={"announce": b"wss://a", "httpseeds": [b"x"]}
    )
    linted = lint(data)

    assert len(linted.findings) > 12
    for one in linted.findings:
        assert "\n" not in one.text
        assert len(one.text) < 400
        assert (one.asks != "") == (one.seed != "")
    ranks = ["error warning note".index(one.severity) for one in linted.findings]
    assert ranks == sorted(ranks)
    assert {one.severity for one in linted.errors} == {"error"}


def test_a_hybrid_is_an_error_and_its_padding_is_named(tmp_path: Path) -> None:
    data = hybrid(tmp_path)

    assert codes(data) == {"hybrid": "error", "padding": "error", "piece-length": "note"}
    assert ".pad" in found(data, "padding").text
    assert parse(data).hybrid


def test_a_file_larger_than_libtorrent_reads_is_an_error(tmp_path: Path) -> None:
    count = 500_001
    info = {"length": count * 16 * KIB, "piece_length": 16 * KIB, "pieces": bytes(20 * count)}
    data = single(**info)
    (tmp_path / "a.torrent").write_bytes(data)

    assert codes(data)["large-metadata"] == "error"
    with pytest.raises(RuntimeError, match="too large"):
        lt.load_torrent_file(str(tmp_path / "a.torrent"))


def test_no_more_web_seeds_are_looked_at_than_anybody_would_use() -> None:
    data = single(*(f"http://a.example/{number}" for number in range(MOST_SEEDS + 50)))
    linted = lint(data)

    assert sum(one.code == "seed-http" for one in linted.findings) == MOST_SEEDS
    assert "150 web seeds" in found(data, "many-seeds").text


@pytest.mark.skipif(not REAL.is_dir(), reason="the real torrents are not on this machine")
def test_the_real_torrents_have_foreign_keys_and_long_pieces() -> None:
    paths = sorted(REAL.glob("*.torrent"))
    assert len(paths) == 9
    for path in paths:
        data = path.read_bytes()
        assert codes(data) == {"foreign-keys": "warning", "piece-length": "note"}
        assert "md5sum, source" in found(data, "foreign-keys").text
        torrent = parse(data)
        assert [first_url(torrent, seed) for seed in torrent.web_seeds] == list(torrent.web_seeds)
        piece = proof(torrent)
        assert (piece.length, piece.size) == (16 << 20, torrent.size)
        assert piece.start // piece.length == torrent.size // piece.length - 1


@given(st.lists(st.integers(0, 100 * KIB), min_size=2, max_size=6).filter(any), st.booleans())
def test_a_web_seed_is_proved_by_a_piece_that_lies_in_one_file(
    sizes: list[int], alone: bool
) -> None:
    files = [("ID", sum(sizes))] if alone else [(f"{at}", size) for at, size in enumerate(sizes)]
    body = noise(sum(sizes))
    meta = Metainfo("ID", tuple(files), 16 * KIB, v1_pieces(body, 16 * KIB))
    torrent = parse(torrent_bytes(meta))

    piece = proof(torrent)

    spans = list(piece_spans(torrent.content, 16 * KIB))
    whole = {span for covered in spans if len(covered) == 1 for span in covered}
    offset = 0
    for path, size in torrent.content:
        if path == piece.path:
            at = offset + piece.start
            sent = body[at : at + piece.length]
            assert piece.size == size
        offset += size
    if piece.sha1 is None:
        assert not whole
        assert piece.size == max(sizes)
        assert len(sent) == piece.length
    else:
        assert (piece.path, piece.start, piece.length) in whole
        assert hashlib.sha1(sent).hexdigest() == piece.sha1
        assert piece.size == max(
            size for span in whole for name, size in torrent.content if name == span.path
        )


# -- nothing but a result or a MetainfoError ever comes out

anything = st.recursive(
    st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=30) | st.just(b"x" * 40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([b"path", b"length", b"attr"]) | st.binary(max_size=4), inner
        )
    ),
    max_leaves=8,
)
inside = st.sampled_from(
    b"name,piece length,pieces,files,length,file tree,private,source".split(b",")
)
outside = st.sampled_from(
    b"url-list,announce,announce-list,comment,comment.utf-8,httpseeds,info".split(b",")
)
urls = st.text(st.characters(codec="utf-8"), max_size=20).map(lambda text: f"https://{text}")


def only_refusals(data: bytes) -> None:
    linted = lint(data)
    assert (linted.torrent is None) == ("refused" in {one.code for one in linted.findings})
    with contextlib.suppress(MetainfoError):
        torrent = parse(data)
        proof(torrent)
        again = reissue(data, web_seeds=[BASE], trackers=[BASE], comments=["a", "b"])
        assert parse(again).infohash == torrent.infohash
        assert reissue(again) == again


@given(st.binary(max_size=200) | st.text("ilde0123456789:-ab").map(str.encode))
def test_no_bytes_raise_anything_but_our_error(data: bytes) -> None:
    only_refusals(data)


@given(st.dictionaries(inside, anything), st.dictionaries(outside, anything), st.booleans())
def test_no_dictionary_raises_anything_but_our_error(
    info: dict[bytes, Any], around: dict[bytes, Any], alone: bool
) -> None:
    sound = fields(single(BASE) if alone else folder(BASE))
    only_refusals(encode(sound | {b"info": sound[b"info"] | info} | around))


@given(st.data())
def test_no_damage_raises_anything_but_our_error(data: Any) -> None:
    good = folder(BASE, around={"comment": b"c", "httpseeds": [b"x"]}, private=1)
    at = data.draw(st.integers(0, len(good)))
    until_ = data.draw(st.integers(at, len(good)))
    only_refusals(good[:at] + data.draw(st.binary(max_size=8)) + good[until_:])


@given(st.lists(urls, min_size=1, max_size=3), st.booleans())
def test_no_web_seed_raises_anything(seeds: list[str], alone: bool) -> None:
    linted = lint(single(*seeds) if alone else folder(*seeds))

    assert linted.torrent is not None
    assert all(one.seed in seeds for one in linted.findings if one.seed)


def test_the_sound_torrents_of_these_tests_are_sound() -> None:
    assert parse(single()).size == parse(folder()).size == 300 * KIB
    assert parse(single()).piece_length == PIECE
