"""A real seeder process seeds what a centre desires; real clients download from it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.torrent.parsed import parse
from tests.seeder_support import PIECE, Centre, Shard, aria2, eventually, running, site
from workers.seeder.fetch import differs, fetch

LONE = {"raw/lone #é.bin": 20 * PIECE + 7}
BUNDLE = {"a.bin": 3 * PIECE - 1, "empty": 0, "one": 1, "raw/b.bin": 2 * PIECE + 1, "z": PIECE}


@pytest.fixture
def told() -> Iterator[Centre]:
    """The centre that the seeder is told of."""
    centre = Centre()
    yield centre
    centre.close()


def test_libtorrent_downloads_a_lone_file_and_a_bundle_from_it(
    tmp_path: Path, told: Centre
) -> None:
    settings = site(tmp_path)
    shards = [Shard("lone", LONE), Shard("bundle", BUNDLE)]
    for shard in shards:
        shard.put(settings.store_root)
    told.want(*shards)
    with running(settings, told.url) as seeder:
        assert seeder.sync() == {"ok": True, "seeding": 2}
        peer = ("127.0.0.1", seeder.ready()["bittorrent"])
        for shard in shards:
            into = tmp_path / "peer" / shard.folder
            report = fetch(shard.torrent, into, [peer], timeout=20)
            assert report.ok, report
            assert report.bytes_from_peers >= shard.meta.size
            assert report.bytes_from_web_seeds == 0
            assert shard.lies_in(tmp_path / "peer")
        for shard in shards:

            def heard(infohash: str = shard.infohash, size: int = shard.meta.size) -> bool:
                assert seeder.sync()["ok"]
                # libtorrent may not count the last block, which the peer leaves upon
                return bool(told.last(infohash)["uploaded"] >= size // 2)

            eventually(heard, "the centre hears of the upload")
            assert told.last(shard.infohash)["state"] == "seeding"
        assert seeder.end() == 0
    assert told.unchanged > 0
    assert len([path for path in told.asked if path.endswith(".torrent")]) == len(shards)


@pytest.mark.skipif(not shutil.which("aria2c"), reason="needs aria2c (Debian package aria2)")
def test_aria2_downloads_from_it(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", BUNDLE, trackers=(told.tracker,), web_seeds=())
    shard.put(settings.store_root)
    told.want(shard)
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        told.peers = [("127.0.0.1", seeder.ready()["bittorrent"])]
        done = aria2(shard.torrent, tmp_path / "peer", shard.folder)
    assert done.returncode == 0, done.stdout
    assert shard.lies_in(tmp_path / "peer")


def test_a_seeder_never_writes_what_it_seeds(tmp_path: Path, told: Centre) -> None:
    """A damaged copy is told of, and is not repaired from peers behind the ledger's back."""
    shard = Shard("ds", {"a": 40 * PIECE})
    good, bad = site(tmp_path / "good"), site(tmp_path / "bad")
    told.want(shard)
    for settings in (good, bad):
        shard.put(settings.store_root)
    place = shard.place(bad.store_root, "a")
    damaged = bytearray(place.read_bytes())
    damaged[7 * PIECE] ^= 1
    place.write_bytes(damaged)
    with running(good, told.url) as healthy, running(bad, told.url) as sick:
        assert healthy.sync()["seeding"] == sick.sync()["seeding"] == 1
        peers = [("127.0.0.1", one.ready()["bittorrent"]) for one in (sick, healthy)]

        def noticed() -> bool:
            report = fetch(shard.torrent, tmp_path / "p1" / shard.folder, peers[:1], timeout=1)
            assert not report.ok
            assert "gave up" in report.reason
            assert sick.sync()["ok"]
            return bool(told.last(shard.infohash)["state"] == "corrupt")

        eventually(noticed, "the centre hears that the copy is corrupt")
        assert "39 pieces are good" in sick.torrent(shard.infohash)["error"]
        report = fetch(shard.torrent, tmp_path / "p2" / shard.folder, peers, timeout=20)
        assert report.ok, report
        assert place.read_bytes() == damaged
        fresh = place.with_name("fresh")
        fresh.write_bytes(shard.files["a"])
        fresh.replace(place)
        assert sick.sync()["seeding"] == 1
        assert sick.torrent(shard.infohash)["error"] == ""
        report = fetch(shard.torrent, tmp_path / "p3" / shard.folder, peers[:1], timeout=20)
        assert report.ok, report


def test_a_download_that_failed_is_taken_up_again(tmp_path: Path, told: Centre) -> None:
    settings = site(tmp_path)
    shard = Shard("ds", BUNDLE)
    shard.put(settings.store_root)
    told.want(shard)
    into = tmp_path / "peer"
    shard.put(into)
    shard.place(into, "a.bin").write_bytes(b"?" * (3 * PIECE - 1))
    assert "gave up" in fetch(shard.torrent, into, [("127.0.0.1", 9)], timeout=0.5).reason
    with running(settings, told.url) as seeder:
        assert seeder.sync()["seeding"] == 1
        peer = ("localhost", seeder.ready()["bittorrent"])
        report = fetch(shard.torrent, into, [peer], timeout=20)
    assert report.ok, report
    assert report.bytes_from_peers < shard.meta.size
    assert shard.lies_in(into)


def test_a_fetch_tells_why_it_cannot_be_done(tmp_path: Path) -> None:
    report = fetch(b"<html>", tmp_path, [], timeout=1)
    assert (report.ok, report.bytes_from_peers) == (False, 0)
    assert "not a torrent" in report.reason
    report = fetch(Shard("ds", BUNDLE).torrent, tmp_path, [("no.such.host.invalid", 1)], timeout=1)
    assert not report.ok
    assert report.reason


def test_what_is_on_disk_is_held_against_the_torrent(tmp_path: Path) -> None:
    shard = Shard("ds", BUNDLE)
    shard.put(tmp_path)
    parsed = parse(shard.torrent)
    assert differs(parsed, tmp_path) == ""
    place = shard.place(tmp_path, "z")
    place.write_bytes(place.read_bytes()[:-1] + b"?")
    assert "does not match" in differs(parsed, tmp_path)
    place.unlink()
    with pytest.raises(FileNotFoundError):
        differs(parsed, tmp_path)
