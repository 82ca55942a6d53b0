"""Torrents written anew: other links around the same infohash."""

from pathlib import Path
from typing import Any

import libtorrent as lt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.torrent.bencode import encode
from fleet.torrent.metainfo import Metainfo, MetainfoError, torrent_bytes
from fleet.torrent.parsed import parse
from fleet.torrent.reissue import reissue
from tests.lint_support import BASE, KIB, TRACKER, fields, folder, hybrid, single

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "torrents_d4c"


def test_without_a_wish_only_what_is_dead_goes() -> None:
    around = {"httpseeds": [b"x"], "creation date": 7, "nodes": [[b"a", 1]], "comment": b"c"}
    data = single(BASE, around=around, source=b"x", private=0)

    again = fields(reissue(data))

    assert again == {
        key: value
        for key, value in fields(data).items()
        if key not in {b"httpseeds", b"creation date"}
    }


def test_each_part_is_replaced_alone_and_removed_by_an_empty_list() -> None:
    data = single(BASE, around={"comment": b"old"})
    old = fields(data)

    seeds = fields(reissue(data, web_seeds=["https://b.example/a", "https://c.example/a"]))
    assert seeds == old | {b"url-list": [b"https://b.example/a", b"https://c.example/a"]}
    trackers = fields(reissue(data, trackers=["udp://t.example:1", "https://t.example/b"]))
    assert trackers == old | {
        b"announce": b"udp://t.example:1",
        b"announce-list": [[b"udp://t.example:1"], [b"https://t.example/b"]],
    }
    one = fields(reissue(encode(trackers), trackers=["https://t.example/b"]))
    assert one == old | {b"announce": b"https://t.example/b"}
    comment = fields(reissue(data, comments=["new"]))
    assert comment == old | {b"comment": b"new"}
    bare = fields(reissue(encode(trackers), web_seeds=[], trackers=[], comments=[]))
    assert bare == {b"info": old[b"info"]}


def test_both_languages_stand_in_one_comment_that_every_client_shows() -> None:
    data = single(around={"comment": b"old", "comment.utf-8": b"older"})
    assert parse(data).comment == "older"

    again = reissue(data, comments=["Census of 2021", "Recensement de 2021, à jour"])

    text = "Census of 2021 / Recensement de 2021, à jour"
    assert parse(again).comment == text
    assert lt.load_torrent_buffer(again).comment == text
    assert b"comment.utf-8" not in fields(again)


def test_it_writes_what_the_maker_of_torrents_would() -> None:
    meta = Metainfo("a", (("a", 5),), 16 * KIB, b"x" * 20)
    links: dict[str, Any] = {
        "web_seeds": ["https://a.example/a"],
        "trackers": ["https://t.example/a", "udp://t.example:1"],
    }

    assert reissue(torrent_bytes(meta), **links, comments=["c"]) == torrent_bytes(
        meta, **links, comment="c"
    )


def test_a_hybrid_keeps_both_infohashes_and_its_piece_layers(tmp_path: Path) -> None:
    data = hybrid(tmp_path)

    again = reissue(data, web_seeds=[], trackers=[TRACKER.decode()], comments=["c"])

    old, new = lt.load_torrent_buffer(data).ti, lt.load_torrent_buffer(again).ti
    assert (new.info_hashes().v1, new.info_hashes().v2) == (
        old.info_hashes().v1,
        old.info_hashes().v2,
    )
    assert new.info_hashes().has_v2()
    assert fields(again)[b"piece layers"] == fields(data)[b"piece layers"]
    assert len(fields(again)[b"piece layers"]) == 2


@pytest.mark.skipif(not REAL.is_dir(), reason="the real torrents are not on this machine")
def test_the_real_torrents_keep_their_infohash() -> None:
    paths = sorted(REAL.glob("*.torrent"))
    assert len(paths) == 9
    for path in paths:
        data = path.read_bytes()
        again = reissue(data, web_seeds=[BASE], trackers=[TRACKER.decode()], comments=["a", "b"])
        assert parse(again).infohash == str(lt.load_torrent_buffer(data).ti.info_hash())
        assert parse(again).info in again
        assert parse(again).web_seeds == (BASE,)


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ({"web_seeds": ["ftp://a.example/a"]}, "'ftp://a.example/a' begins with none of http://"),
        ({"web_seeds": [BASE, ""]}, "'' begins with none of"),
        ({"trackers": ["wss://t.example"]}, "begins with none of http://, https://, udp://"),
        ({"web_seeds": ["https://a/\udc80"]}, "a link is not UTF-8"),
        ({"comments": ["\ud800"]}, "the comment is not UTF-8"),
        ({"comments": ["x" * (33 << 20)]}, "too many to be read"),
    ],
)
def test_links_that_are_none_are_refused(links: dict[str, Any], said: str) -> None:
    with pytest.raises(MetainfoError, match=said) as refusal:
        reissue(single(), **links)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_what_is_no_torrent_is_refused() -> None:
    for data in (b"", b"de", folder(pieces=b"x" * 19)):
        with pytest.raises(MetainfoError):
            reissue(data)


texts = st.text(st.characters(codec="utf-8"), max_size=20)
urls = texts.map(lambda text: f"https://{text}")


@given(
    st.none() | st.lists(urls, max_size=3),
    st.none() | st.lists(urls, max_size=3),
    st.none() | st.lists(texts, max_size=2),
)
def test_whatever_is_wished_for_is_there_and_the_infohash_stays(
    seeds: list[str] | None, trackers: list[str] | None, comments: list[str] | None
) -> None:
    data = folder(BASE, source=b"x", around={"comment": b"c"})

    again = reissue(data, web_seeds=seeds, trackers=trackers, comments=comments)

    old, new = parse(data), parse(again)
    assert new.info == old.info
    assert new.web_seeds == (old.web_seeds if seeds is None else tuple(dict.fromkeys(seeds)))
    assert new.trackers == (old.trackers if trackers is None else tuple(dict.fromkeys(trackers)))
    assert new.comment == (old.comment if comments is None else " / ".join(comments))
    assert reissue(again, web_seeds=seeds, trackers=trackers, comments=comments) == again
