"""What an Item says of how a version can be had, read as from anybody; and what follows from it."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.catalogue.client.lists import read_table
from fleet.catalogue.client.offer import File, Offer, OfferError, Torrent, read
from fleet.catalogue.client.picking import pick
from fleet.catalogue.listing import write_list
from fleet.cli.get.lots import LOT_BYTES, LOT_FILES, Lot, certain, cut, placed
from fleet.planning.states import VersionState
from fleet.torrent.parsed import ParsedTorrent, parse
from tests.catalogue_support import items_of, sample
from tests.get_support import MANIFEST, Made, made

DATASET = sample(1)
ITEM = items_of(DATASET)[-1]
SHA256 = "a" * 64

Change = Callable[[dict[str, Any]], None]


def changed(change: Change) -> dict[str, Any]:
    item = copy.deepcopy(ITEM)
    change(item)
    return item


def test_an_item_tells_the_files_their_digests_and_all_who_have_them() -> None:
    entry = DATASET.entries[-1]
    offer = read(ITEM)

    assert (offer.name, offer.whole) == (f"{DATASET.id}@{entry.label}", True)
    told = {(one.path, one.size, one.sha256) for one in offer.files}
    assert told == {(one.path, one.size, one.sha256) for one in entry.artifacts}
    for file in offer.files:
        assert offer.sources(file) == [(one.site, one.url(file.path)) for one in entry.mirrors]
    (torrent,) = (offer.torrents or {}).values()
    assert (torrent.infohash, torrent.magnet) == (entry.shards[0].infohash, entry.shards[0].magnet)
    assert torrent.url == entry.shards[0].torrent
    assert offer.centre == "https://fleet.example.org"


def test_what_was_withdrawn_is_offered_by_nobody() -> None:
    with pytest.raises(OfferError, match="was withdrawn by those who made it"):
        read(changed(lambda one: one["properties"].update({"fleet:state": "withdrawn"})))
    assert VersionState.WITHDRAWN == "withdrawn"


def _asset(**fields: Any) -> Change:
    return lambda item: item["assets"]["data"].update(fields)


def _mirror(**fields: Any) -> Change:
    return lambda item: item["properties"]["fleet:mirrors"][0].update(fields)


def _link(**fields: Any) -> Change:
    def change(item: dict[str, Any]) -> None:
        next(one for one in item["links"] if "fleet:infohash" in one).update(fields)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _asset(title="../../.ssh/authorized_keys"),
        _asset(title="/etc/passwd"),
        _asset(title=""),
        _asset(title="a\x00b"),
        _asset(title="a/" * 600 + "b"),
        _asset(title=MANIFEST.upper()),
        _asset(**{"file:size": -1}),
        _asset(**{"file:size": True}),
        _asset(**{"file:size": 2**63}),
        _asset(**{"file:size": "12"}),
        _asset(**{"file:checksum": "1220" + "g" * 64}),
        _asset(**{"file:checksum": "1114" + "a" * 40}),
        _mirror(url="file:///etc/{/path*}"),
        _mirror(url="https://a.example/the-same-for-all"),
        _mirror(url="https://a.example/\r\nHost: b{/path*}"),
        _mirror(url=None),
        _link(href="file:///etc/passwd"),
        _link(**{"fleet:infohash": "../x"}),
        lambda item: item.pop("assets"),
        lambda item: item.update(properties=None),
        lambda item: item.update(links=[{}]),
    ],
)
def test_what_no_honest_catalogue_says_is_refused(change: Change) -> None:
    with pytest.raises(OfferError):
        read(changed(change))


def test_a_list_may_not_contradict_the_entry() -> None:
    offer = read(ITEM)
    own = offer.files[0]

    with pytest.raises(OfferError, match="two digests are told of"):
        offer.with_files([File(own.path, own.size, SHA256)])
    with pytest.raises(OfferError, match="wants it as a folder"):
        offer.with_files([File(f"{own.path}/x", 1, SHA256)])
    assert offer.with_files([File("x", 1, SHA256)]).count == len(offer.files) + 1


def test_the_table_of_files_tells_where_each_lies_in_which_torrent() -> None:
    version = made({"a/x.csv": b"1" * 50_000, "a/y.csv": b"2" * 9}, [["a/x.csv", "a/y.csv"]])

    files = {file.path: file for file in read_table(write_list(version.entry))}

    assert files["a/y.csv"].infohash == version.infohash
    assert (files["a/y.csv"].offset, files["a/y.csv"].shard) == (50_000, 0)
    assert (files[MANIFEST].infohash, files[MANIFEST].offset) == ("", None)
    with pytest.raises(OfferError, match="cannot be read"):
        read_table(b"PAR1 and no more")


def at_hand(version: Made) -> dict[str, ParsedTorrent]:
    return {infohash: parse(data) for infohash, data in version.torrents.items()}


def offer_of(files: Iterable[File], version: Made) -> Offer:
    every = tuple(files)
    torrents = {infohash: Torrent(infohash) for infohash in version.torrents}
    return Offer("d", "1", superseded=False, count=len(every), files=every, torrents=torrents)


def bare(version: Made) -> Offer:
    """Offer a version of which nobody says which torrent its files lie in."""
    listed = version.entry.artifacts
    return offer_of((File(one.path, one.size, one.sha256) for one in listed), version)


@pytest.mark.parametrize("shards", [[["x.csv", "a/y.csv"]], [["x.csv"], ["a/y.csv"]]])
def test_without_the_table_the_torrents_tell_it(shards: list[list[str]]) -> None:
    version = made({"x.csv": b"1" * 50_000, "a/y.csv": b"2" * 9, "b/y.csv": b"3" * 8}, shards)
    known = {one.path: one for one in read_table(write_list(version.entry))}

    for file in placed(bare(version), at_hand(version)):
        assert (file.infohash, file.offset) == (known[file.path].infohash, known[file.path].offset)


def test_two_files_that_a_torrent_could_mean_are_placed_nowhere() -> None:
    version = made({"a/y.csv": b"2" * 9, "b/y.csv": b"3" * 9}, [["a/y.csv"]])
    offer = bare(version)

    assert placed(offer, at_hand(version)) == list(offer.files)


def test_while_a_torrent_is_not_at_hand_no_name_places_a_file() -> None:
    version = made({"x.csv": b"1" * 50_000, "y.csv": b"2" * 9}, [["x.csv"], ["y.csv"]])
    offer, (first, *_) = bare(version), version.torrents
    some = {first: parse(version.torrents[first])}

    assert placed(offer, some) == list(offer.files)


def test_what_the_table_tells_is_not_mended_by_names() -> None:
    version = made({"x.csv": b"1" * 50_000, "y.csv": b"2" * 9}, [["x.csv"], ["y.csv"]])
    told = read_table(write_list(version.entry))
    doubted = [replace(one, infohash="") if one.path == "y.csv" else one for one in told]

    assert placed(offer_of(doubted, version), at_hand(version)) == doubted


def test_pieces_prove_a_file_only_where_no_other_can_be_meant() -> None:
    alike = {"a/x.csv": b"1" * 50_000, "b/z.csv": b"2" * 50_000, "y.csv": b"3" * 9}
    version = made(alike, [["a/x.csv"], ["b/z.csv"], ["y.csv"]])
    torrents = at_hand(version)
    y = version.entry.shards[2].infohash

    assert list(certain(bare(version), torrents)) == [y]
    told = offer_of(read_table(write_list(version.entry)), version)
    assert certain(told, torrents) == torrents


FILES = st.lists(
    st.builds(
        File,
        path=st.uuids().map(str),
        size=st.integers(0, 2 * LOT_BYTES),
        sha256=st.just(SHA256),
        infohash=st.sampled_from(["", "1" * 40, "2" * 40]),
        offset=st.none() | st.integers(0, 2**40),
    ),
    max_size=40,
    unique_by=lambda file: file.path,
)


@given(FILES, st.sets(st.sampled_from(["1" * 40, "2" * 40])))
def test_every_file_is_in_one_lot_and_of_its_own_torrent(
    files: list[File], swarms: set[str]
) -> None:
    lots = cut(files, {}, swarms)

    assert sorted(file.path for lot in lots for file in lot.files) == sorted(
        file.path for file in files
    )
    for lot in lots:
        assert len(lot.files) == 1 or lot.size <= LOT_BYTES
        if lot.infohash:
            assert lot.infohash in swarms
            assert {file.infohash for file in lot.files} == {lot.infohash}
            assert all(file.offset is not None for file in lot.files)


def test_no_lot_has_more_files_than_are_to_be_held_at_once() -> None:
    files = [File(f"{number}.csv", 1, SHA256) for number in range(2 * LOT_FILES + 1)]

    lots = cut(files, {}, ())

    assert [len(lot.files) for lot in lots] == [LOT_FILES, LOT_FILES, 1]
    assert [file for lot in lots for file in lot.files] == files


def test_a_lone_file_of_a_torrent_has_its_pieces() -> None:
    version = made({"x.csv": b"1" * 50_000}, [["x.csv"]])
    torrents = at_hand(version)
    files = read_table(write_list(version.entry))

    rest, lone = cut(files, torrents, ())

    parsed = torrents[version.infohash]
    assert [file.path for file in rest.files] == [MANIFEST]
    assert lone == Lot(lone.files, "", parsed.pieces, parsed.piece_length)


def test_picking_takes_paths_folders_and_patterns_and_keeps_the_order() -> None:
    paths = ["a.csv", "b/c.csv", "b/d.parquet", "bc"]
    files = [File(path, 1, SHA256) for path in paths]

    def picked(*asked: str) -> list[str]:
        return [file.path for file in pick(files, asked)]

    assert picked() == paths
    assert picked("bc", "a.csv") == ["a.csv", "bc"]
    assert picked("b") == picked("b/") == ["b/c.csv", "b/d.parquet"]
    assert picked("*.csv") == ["a.csv", "b/c.csv"]


def test_an_offer_of_nobody_has_no_sources() -> None:
    offer = Offer("x", "1", superseded=False, count=1)
    assert offer.sources(File("a", 1, SHA256)) == []
