"""A shard moves between sites by torrent, as an order's sources say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.messages import ItemResult
from tests.fault_server import FaultServer
from tests.seeder_support import PIECE, Shard
from tests.swarm_support import Node, last_resort, node, ordered

LONE = {"raw/lone é.bin": 40 * PIECE + 7}
BUNDLE = {"a.bin": 3 * PIECE - 1, "empty": 0, "one": 1, "raw/b.bin": 20 * PIECE + 1, "z": PIECE}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def source(home: Path) -> Iterator[Node]:
    with node(home, "source") as running:
        yield running


@pytest.fixture
def target(home: Path) -> Iterator[Node]:
    with node(home, "target") as running:
        yield running


@pytest.mark.parametrize("files", [LONE, BUNDLE], ids=["lone file", "bundle"])
def test_a_shard_moves_by_torrent_alone(files: dict[str, int], source: Node, target: Node) -> None:
    shard = Shard("census", files, web_seeds=())
    source.hold(shard)
    target.know(shard)

    by_name = source.address.replace("127.0.0.1", "localhost")
    work = target.pull(ordered(shard, "no.such.host.invalid:1", by_name))

    assert [result.reason for result in work.items] == [""] * len(files)
    assert shard.lies_in(target.root)
    assert target.visible() == sorted(f"census/v1/{path}" for path in files)
    assert target.staged() == []
    (report,) = work.sources
    assert report.host == f"btih:{shard.infohash[:12]}"
    assert report.bytes == work.bytes_fetched >= shard.meta.size
    assert {result.source for result in work.items} == {report.host}
    target.seed(shard)


def reasons(items: tuple[ItemResult, ...]) -> set[str]:
    return {item.reason for item in items}


def test_without_a_seeder_http_is_asked_and_both_are_named_where_it_fails(
    home: Path, target: Node, server: FaultServer
) -> None:
    shard = Shard("census", BUNDLE)
    given = ordered(shard, after=(server.url("").rstrip("/"),))
    target.seeder.end()
    for path, data in shard.files.items():
        if path != "z":
            server.serve(f"census/v1/{path}", data)

    work = target.pull(given)

    assert [result.ok for result in work.items] == [True, True, True, True, False]
    assert "404" in work.items[-1].reason
    assert "by torrent: the seeder of target does not answer" in work.items[-1].reason


def test_as_a_last_resort_only_what_http_did_not_bring_is_fetched(
    source: Node, target: Node, server: FaultServer
) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    source.hold(shard)
    target.know(shard)
    for path, data in shard.files.items():
        if path != "one":
            server.serve(f"census/v1/{path}", data)
    given = last_resort(ordered(shard, source.address, after=(server.url("").rstrip("/"),)))

    work = target.pull(given)

    assert reasons(work.items) == {""}
    assert shard.lies_in(target.root)
    swarm = work.sources[-1]
    assert (swarm.host, swarm.bytes) == (f"btih:{shard.infohash[:12]}", PIECE)
    assert target.staged() == []


def test_http_is_not_asked_for_what_the_swarm_brought_nor_the_swarm_for_what_is_here(
    source: Node, target: Node, server: FaultServer
) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    source.hold(shard)
    target.know(shard)
    there = shard.place(target.root, "raw/b.bin")
    there.parent.mkdir(parents=True)
    there.write_bytes(shard.files["raw/b.bin"])

    work = target.pull(ordered(shard, source.address, after=(server.url("").rstrip("/"),)))

    assert reasons(work.items) == {""}
    assert shard.lies_in(target.root)
    assert server.requests == []
    assert work.bytes_fetched < 8 * PIECE


@pytest.mark.parametrize(
    ("torrent", "why"),
    [
        (None, "its torrent cannot be had: the centre answers 404"),
        (b"i1e", "its torrent cannot be had: not a torrent"),
        (Shard("other", LONE).torrent, "the centre sent the torrent"),
    ],
)
def test_a_torrent_that_the_centre_does_not_have_is_told(
    torrent: bytes | None, why: str, target: Node
) -> None:
    shard = Shard("census", LONE)
    if torrent:
        target.told.torrents[shard.infohash] = torrent

    (found,) = target.pull(ordered(shard, "127.0.0.1:9")).items

    assert (found.ok, found.fault) == (False, "source")
    assert why in found.reason


def test_without_a_peer_it_ends_in_time_and_says_so(home: Path) -> None:
    shard = Shard("census", LONE, web_seeds=())
    with node(home, "target", stall_seconds=1.0) as target:
        target.know(shard)
        (found,) = target.pull(ordered(shard, "127.0.0.1:9", "no.such.host.invalid:1")).items
    assert "by torrent: no byte came for 1 s" in found.reason
    assert target.visible() == []


def test_a_magnet_link_that_is_none_is_told(target: Node) -> None:
    shard = Shard("census", LONE)
    given = ordered(shard)
    (item,) = given.items
    bad = item.sources[0].model_copy(update={"url": "magnet:?xt=urn:btih:short"})
    given = given.model_copy(update={"items": (item.model_copy(update={"sources": (bad,)}),)})

    (found,) = target.pull(given).items

    assert "by torrent: 'magnet:?xt=urn:btih:short' is no magnet link" in found.reason


def test_what_the_torrent_holds_is_not_believed_without_the_sha256(
    source: Node, target: Node
) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    source.hold(shard)
    target.know(shard)
    given = ordered(shard, source.address)
    other = given.items[0].model_copy(update={"sha256": "0" * 64})
    given = given.model_copy(update={"items": (other, *given.items[1:])})

    work = target.pull(given)

    assert [result.ok for result in work.items] == [False, True, True, True, True]
    assert "what the torrent holds in its place is not it: sha256" in work.items[0].reason
    assert "census/v1/a.bin" not in target.visible()


def test_what_is_seeded_already_is_not_fetched(target: Node) -> None:
    shard = Shard("census", LONE)
    target.hold(shard)
    given = ordered(shard, "127.0.0.1:9")
    given = given.model_copy(update={"folder": "elsewhere/v2"})

    (found,) = target.pull(given).items

    assert "it lies here already, and is being seeded" in found.reason


def test_what_was_seeded_and_has_gone_is_fetched_again(source: Node, target: Node) -> None:
    shard = Shard("census", LONE, web_seeds=())
    source.hold(shard)
    target.hold(shard)
    shard.place(target.root, "raw/lone é.bin").unlink()

    work = target.pull(ordered(shard, source.address))

    assert reasons(work.items) == {""}
    assert shard.lies_in(target.root)


def test_where_the_swarm_lacks_a_piece_all_else_lands_and_http_brings_the_rest(
    home: Path, source: Node, server: FaultServer
) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    shard.put(source.root)
    rotten = shard.place(source.root, "raw/b.bin")
    rotten.write_bytes(b"rot" + rotten.read_bytes()[3 + 5 * PIECE :] + bytes(5 * PIECE))
    source.seed(shard)
    for path, data in shard.files.items():
        server.serve(f"census/v1/{path}", data)
    with node(home, "target", stall_seconds=3.0) as target:
        target.know(shard)
        work = target.pull(ordered(shard, source.address, after=(server.url("").rstrip("/"),)))

        assert reasons(work.items) == {""}
        assert shard.lies_in(target.root)
        assert target.staged() == []
    # the pieces at both its ends are its neighbours' too
    assert {asked.path for asked in server.requests} <= {
        f"census/v1/{path}" for path in ("one", "raw/b.bin", "z")
    }
    assert server.asked("census/v1/raw/b.bin")
    assert not server.asked("census/v1/a.bin")
