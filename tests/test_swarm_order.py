"""What an order says of its swarm: hostile links, peers that can be dialled, runs of bytes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.messages import Item, Source
from fleet.torrent.metainfo import magnet
from tests.seeder_support import Shard
from workers.swarm import (
    MOST_PEERS,
    MOST_SPANS,
    Swarm,
    address,
    comes_first,
    dialled,
    joined,
    read_magnet,
)


def test_our_own_magnet_links_are_read_with_their_peers() -> None:
    meta = Shard("census", {"a": 1}).meta
    peers = [("seed.example", 6881), ("192.0.2.7", 1), ("2001:db8::1", 65535)]
    seeds = ("https://mirror.example/a%20b?c=d&e", "https://mirror.example/" + "x" * 2000)
    trackers = ("udp://tracker.example:1/announce",)
    link = magnet(meta, web_seeds=seeds, trackers=trackers, peers=peers)
    assert read_magnet(link) == Swarm(
        meta.infohash,
        ("seed.example:6881", "192.0.2.7:1", "[2001:db8::1]:65535"),
        ("https://mirror.example/a%20b?c=d&e",),
    )
    assert read_magnet(link).name == f"btih:{meta.infohash[:12]}"


@pytest.mark.parametrize(
    "link",
    [
        "",
        "magnet:",
        "magnet:?dn=x",
        "http://example.org/?xt=urn:btih:" + "a" * 40,
        "magnet:?xt=urn:btih:" + "g" * 40,
        "magnet:?xt=urn:btih:" + "a" * 41,
        "magnet:?xt=urn:btmh:1220" + "a" * 64,
    ],
)
def test_what_is_no_magnet_link_of_a_v1_torrent_is_refused(link: str) -> None:
    with pytest.raises(ValueError, match="no magnet link with a v1 infohash"):
        read_magnet(link)


@given(st.text(max_size=300))
def test_no_link_does_more_than_be_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no magnet link"):
        read_magnet(text)


NO_PEERS = ["", "host", "host:", ":1", "host:0", "host:65536", "host:1x", "a b:1", "host\n:1"]
NO_PEERS += ["[::1:1", "::1:1", "[host]:1", "-x:1", "host:\u0661", "x" * 300 + ":1"]


@pytest.mark.parametrize("peer", NO_PEERS)
def test_a_peer_that_cannot_be_dialled_is_left_out(peer: str) -> None:
    assert address(peer) is None
    assert dialled([peer, "good.example:1", "good.example:1"]) == ("good.example:1",)


def test_peers_are_bounded() -> None:
    assert len(dialled(f"h{at}:1" for at in range(1000))) == MOST_PEERS


def test_a_torrent_comes_first_only_before_every_http_source() -> None:
    http, torrent = Source(url="http://a/"), Source(url="magnet:?", kind="torrent")
    orders = [(torrent,), (torrent, http), (http, torrent), (http,), ()]
    items = [Item(artifact="a", path="a", sources=sources) for sources in orders]
    assert [comes_first(item) for item in items] == [True, True, False, False, False]


runs = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda run: (run[0], run[0] + run[1])),
    max_size=30,
)


@given(runs)
def test_joined_runs_hold_the_same_bytes_and_do_not_touch(
    given_runs: list[tuple[int, int]],
) -> None:
    spans = joined(given_runs)
    assert {at for run in given_runs for at in range(*run)} == {
        at for span in spans for at in range(*span)
    }
    assert all(start < end for start, end in spans)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(spans))


def test_too_many_runs_become_one() -> None:
    many = [(at * 2, at * 2 + 1) for at in range(MOST_SPANS + 1)]
    assert joined(many) == [(0, many[-1][1])]
    assert len(joined(many[1:])) == MOST_SPANS
