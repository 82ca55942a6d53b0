"""A corrupt file is mended where it lies: its failed pieces and nothing else are fetched anew."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fleet.messages import Order
from fleet.torrent.metainfo import torrent_bytes
from fleet.torrent.shard import web_seed
from tests.fault_server import FaultServer
from tests.seeder_support import PIECE, Shard, eventually
from tests.swarm_support import Node, Talk, node, ordered
from workers.lease import Lease, Stopped
from workers.seeder.fetch import fetch
from workers.storage.posix import PosixStorage

LONE = {"a.bin": 60 * PIECE + 7}
BUNDLE = {"a.bin": 3 * PIECE - 1, "empty": 0, "one": 1, "raw/b.bin": 20 * PIECE + 1, "z": PIECE}


@pytest.fixture
def good(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "good") as running:
        yield running


@pytest.fixture
def bad(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "bad", stall_seconds=3.0) as running:
        yield running


def flip(place: Path, *offsets: int) -> None:
    """Let a disk rot, which no file's time tells: a byte at each of these places."""
    about = place.stat()
    with place.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 0xFF]))
    os.utime(place, ns=(about.st_atime_ns, about.st_mtime_ns))


def to_verify(shard: Shard, *peers: str, **fields: object) -> Order:
    return ordered(shard, *peers, task="verify", **fields)


def test_flipped_bytes_are_mended_and_only_their_pieces_are_fetched(good: Node, bad: Node) -> None:
    shard = Shard("census", LONE, web_seeds=())
    good.hold(shard)
    bad.hold(shard)
    place = shard.place(bad.root, "a.bin")
    inode = place.stat().st_ino
    flip(place, 5, 7 * PIECE, 7 * PIECE + 1, 60 * PIECE + 3)

    work = bad.verify(to_verify(shard, good.address))

    (found,) = work.items
    assert (found.ok, found.reason) == (True, "pieces fetched anew by torrent: 3")
    assert shard.lies_in(bad.root)
    assert place.stat().st_ino == inode
    assert 2 * PIECE + 7 <= work.bytes_fetched <= 3 * PIECE
    (report,) = work.sources
    assert (report.host, report.bytes) == (f"btih:{shard.infohash[:12]}", work.bytes_fetched)
    assert bad.files("") == ["census/v1/a.bin"]
    bad.seeder.sync()
    assert bad.seeder.torrent(shard.infohash)["state"] == "seeding"


def test_a_piece_that_several_files_share_is_mended_and_no_sound_file_is_touched(
    good: Node, bad: Node
) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    good.hold(shard)
    bad.hold(shard)
    flip(shard.place(bad.root, "one"), 0)
    before = {path: shard.place(bad.root, path).stat() for path in BUNDLE}

    work = bad.verify(to_verify(shard, good.address))

    told = {result.artifact: result.reason for result in work.items if result.reason}
    assert all(result.ok for result in work.items)
    assert told == {"census-2": "pieces fetched anew by torrent: 1"}
    assert shard.lies_in(bad.root)
    assert work.bytes_fetched <= PIECE
    after = {path: shard.place(bad.root, path).stat() for path in BUNDLE}
    assert {path for path in BUNDLE if after[path].st_mtime_ns != before[path].st_mtime_ns} == {
        "one"
    }


def test_a_web_seed_that_lies_in_a_mend_changes_no_published_byte(
    bad: Node, server: FaultServer
) -> None:
    """libtorrent writes what comes before it checks the piece; that must not be in our files."""
    files = {"a.bin": 3 * PIECE - 100, "b.bin": 3 * PIECE}
    shard = Shard("census", files, web_seeds=())
    for path, data in shard.files.items():
        server.serve(f"census/v1/{path}", data, "wrong_bytes")
    seed = web_seed(server.url("").rstrip("/"), shard.folder, shard.meta)
    bad.hold(shard)
    flip(shard.place(bad.root, "a.bin"), 3 * PIECE - 200)
    before = {path: shard.place(bad.root, path).read_bytes() for path in files}
    asked = {"do": "mend", "infohash": shard.infohash, "ws": [seed], "want": [[0, files["a.bin"]]]}

    with Talk(bad.settings) as talk:
        talk.say(asked)
        while (told := talk.until(state="fetching"))["payload"] < PIECE:
            pass
        assert told["written"] == [[2 * PIECE, files["a.bin"]]]
        assert {path: shard.place(bad.root, path).read_bytes() for path in files} == before

    eventually(lambda: not list(bad.root.glob(".staging/*")), "what was staged is gone")
    work = bad.verify(to_verify(shard, web_seeds=(seed,)))
    assert [(one.ok, one.fault) for one in work.items] == [(False, "corrupt"), (True, "")]
    assert shard.place(bad.root, "b.bin").read_bytes() == shard.files["b.bin"]


def test_a_web_seed_of_the_order_is_enough_and_no_other_is_asked(
    bad: Node, server: FaultServer
) -> None:
    """The torrent's own list may name this site's door, which gives the bad bytes."""
    shard = Shard("census", LONE)
    server.serve("census/v1/a.bin", shard.files["a.bin"])
    own = web_seed(f"http://127.0.0.1:{bad.seeder.ready()['door']}", shard.folder, shard.meta)
    other = web_seed(server.url("").rstrip("/"), shard.folder, shard.meta)
    shard.torrent = torrent_bytes(shard.meta, web_seeds=(own, other))
    bad.hold(shard)
    flip(shard.place(bad.root, "a.bin"), 9 * PIECE)

    (found,) = (work := bad.verify(to_verify(shard, web_seeds=(other,)))).items

    assert found.ok, found.reason
    assert shard.lies_in(bad.root)
    assert server.sent["census/v1/a.bin"] < 20 * PIECE
    assert {(one.host, one.evidence) for one in work.sources if one.bytes} == {(server.netloc, "")}
    assert all("127.0.0.1" not in one.host or one.host == server.netloc for one in work.sources)


def test_the_rest_is_served_while_it_is_mended(good: Node, bad: Node, tmp_path: Path) -> None:
    """It waits for a peer that comes late; meanwhile another client has all that is good."""
    shard = Shard("census", LONE, web_seeds=())
    bad.hold(shard)
    place = shard.place(bad.root, "a.bin")
    flip(place, 7 * PIECE)
    marks = place.read_bytes()

    with Talk(bad.settings) as talk:
        want = [[0, shard.meta.size]]
        peers = [good.address]
        talk.say({"do": "mend", "infohash": shard.infohash, "peers": peers, "want": want})
        told = talk.until(state="fetching")
        assert (told["mended"], told["written"]) == (1, [[7 * PIECE, 8 * PIECE]])
        peer = ("127.0.0.1", bad.seeder.ready()["bittorrent"])
        report = fetch(shard.torrent, tmp_path / "client", [peer], timeout=3)
        assert report.bytes_from_peers == shard.meta.size - PIECE, report
        assert bad.seeder.sync()["ok"]
        assert bad.seeder.torrent(shard.infohash)["state"] == "mending"
        good.hold(shard)
        assert talk.until(state="done")["mended"] == 1
    assert shard.lies_in(bad.root)
    assert [at for at, byte in enumerate(place.read_bytes()) if byte != marks[at]] == [7 * PIECE]


def test_what_nobody_can_mend_is_quarantined(bad: Node) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    bad.hold(shard)
    flip(shard.place(bad.root, "raw/b.bin"), 100_000)

    work = bad.verify(to_verify(shard, "127.0.0.1:9"))

    (found,) = [result for result in work.items if not result.ok]
    assert found.fault == "corrupt"
    assert found.reason.startswith("raw/b.bin is corrupt: sha256 ")
    assert "not mended by torrent: no byte came for 3 s, peers connected: 0" in found.reason
    assert "census/v1/raw/b.bin" not in bad.visible()
    assert any("not mended" in one.read_text() for one in bad.root.rglob("why.txt"))


@pytest.mark.parametrize("why", ["nobody seeds it", "no seeder", "another size"])
def test_what_is_not_seeded_here_is_quarantined_at_once(why: str, good: Node, bad: Node) -> None:
    shard = Shard("census", LONE, web_seeds=())
    good.hold(shard)
    bad.know(shard)
    shard.put(bad.root)
    place = shard.place(bad.root, "a.bin")
    flip(place, 7)
    if why == "no seeder":
        bad.seeder.end()
    if why == "another size":
        place.write_bytes(place.read_bytes()[:-1])

    (found,) = bad.verify(to_verify(shard, good.address)).items

    told = {
        "nobody seeds it": "not mended by torrent: it is not being seeded here",
        "no seeder": "not mended by torrent: the seeder of bad does not answer",
        "another size": "983046 bytes where 983047 were expected",
    }
    assert (found.ok, found.fault) == (False, "corrupt")
    assert told[why] in found.reason
    assert bad.visible() == []


def test_where_each_piece_matches_the_sha256_still_decides(bad: Node) -> None:
    shard = Shard("census", LONE, web_seeds=())
    bad.hold(shard)
    given = to_verify(shard)
    other = given.items[0].model_copy(update={"sha256": "0" * 64})

    (found,) = bad.verify(given.model_copy(update={"items": (other,)})).items

    assert not found.ok
    assert "pieces fetched anew by torrent: 0" in found.reason
    assert bad.visible() == []


def test_a_seeder_killed_meanwhile_leaves_it_as_it_was(good: Node, bad: Node) -> None:
    """It is slow, so that it is killed with some of the failed pieces here and others not."""
    shard = Shard("census", LONE, web_seeds=())
    good.hold(shard)
    bad.hold(shard)
    place = shard.place(bad.root, "a.bin")
    flip(place, *range(0, 50 * PIECE, PIECE))
    before = place.read_bytes()
    with Talk(bad.settings) as talk:
        asked = {"do": "mend", "infohash": shard.infohash, "peers": [good.address]}
        talk.say(asked | {"want": [[0, shard.meta.size]], "limit": 10 * PIECE})
        while talk.hear()["payload"] < 5 * PIECE:
            pass
        bad.seeder.end(signal.SIGKILL)
    assert place.read_bytes() == before
    (found,) = bad.verify(to_verify(shard, good.address)).items
    assert "not mended by torrent: the seeder of bad does not answer" in found.reason
    assert bad.visible() == []


def test_a_keeper_does_not_disturb_a_mend_and_a_client_that_goes_ends_it(bad: Node) -> None:
    shard = Shard("census", LONE, web_seeds=())
    bad.hold(shard)
    flip(shard.place(bad.root, "a.bin"), 7 * PIECE)
    asked = {"do": "mend", "infohash": shard.infohash, "peers": [], "want": [[0, 8 * PIECE]]}
    with Talk(bad.settings) as talk:
        talk.say(asked)
        talk.until(state="fetching")
        with Talk(bad.settings) as second:
            second.say(asked)
            assert second.hear()["error"] == "it is being fetched or mended already"
        # not even a centre that wants it no more
        seeds, bad.told.seeds = bad.told.seeds, []
        assert bad.seeder.sync()["ok"]
        assert talk.until(state="fetching")["peers"] == 0
        bad.told.seeds = seeds
        assert bad.seeder.sync()["ok"]

    def state() -> str:
        bad.seeder.sync()
        state: str = bad.seeder.torrent(shard.infohash)["state"]
        return state

    eventually(lambda: state() == "corrupt", "it is seeded on, and its fault is told")


def test_where_another_file_has_gone_nothing_is_written(good: Node, bad: Node) -> None:
    """A shared piece must not bring back the bytes of a file that is missing."""
    shard = Shard("census", BUNDLE, web_seeds=())
    good.hold(shard)
    bad.hold(shard)
    flip(shard.place(bad.root, "a.bin"), 3 * PIECE - 2)
    shard.place(bad.root, "one").unlink()

    work = bad.verify(to_verify(shard, good.address))

    assert [result.fault for result in work.items] == ["corrupt", "", "missing", "", ""]
    assert "not mended by torrent: 'census/v1/one' is not in place" in work.items[0].reason
    assert work.bytes_fetched == 0
    assert not any(path.endswith(("a.bin", "one")) for path in bad.visible())


def test_what_libtorrent_has_found_corrupt_itself_is_mended(
    good: Node, bad: Node, tmp_path: Path
) -> None:
    shard = Shard("census", LONE, web_seeds=())
    good.hold(shard)
    bad.hold(shard)
    flip(shard.place(bad.root, "a.bin"), 7 * PIECE)
    peer = ("127.0.0.1", bad.seeder.ready()["bittorrent"])
    assert not fetch(shard.torrent, tmp_path / "client", [peer], timeout=3).ok

    def corrupt() -> bool:
        bad.seeder.sync()
        return bool(bad.seeder.torrent(shard.infohash)["state"] == "corrupt")

    eventually(corrupt, "it has left seed mode")

    (found,) = bad.verify(to_verify(shard, good.address)).items

    assert (found.ok, found.reason) == (True, "pieces fetched anew by torrent: 1")
    bad.seeder.sync()
    assert bad.seeder.torrent(shard.infohash)["state"] == "seeding"


class Ended(Lease):
    """A lease that ends while a mend waits."""

    def check(self) -> None:
        if self.note:
            raise Stopped("the worker is restarted")


def test_no_door_offers_what_a_stopped_verify_found_corrupt_until_one_finds_it_right(
    good: Node, bad: Node
) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    good.hold(shard)
    bad.hold(shard)
    flip(shard.place(bad.root, "a.bin"), 7)
    url = f"http://127.0.0.1:{bad.seeder.ready()['door']}/census/v1"
    assert httpx.get(f"{url}/a.bin").status_code == 200

    with pytest.raises(Stopped):
        bad.verify(to_verify(shard), Ended())

    assert httpx.get(f"{url}/a.bin").status_code == 503
    assert httpx.get(f"{url}/raw/b.bin").content == shard.files["raw/b.bin"]

    work = bad.verify(to_verify(shard, good.address))

    assert [result.reason for result in work.items if not result.ok] == []
    assert httpx.get(f"{url}/a.bin").content == shard.files["a.bin"]


def test_what_replaces_a_file_in_doubt_is_offered(bad: Node) -> None:
    shard = Shard("census", LONE, web_seeds=())
    bad.hold(shard)
    place = shard.place(bad.root, "a.bin")
    flip(place, 7)
    url = f"http://127.0.0.1:{bad.seeder.ready()['door']}/census/v1/a.bin"
    with pytest.raises(Stopped):
        bad.verify(to_verify(shard), Ended())
    assert httpx.get(url).status_code == 503

    part = PosixStorage(bad.root).staging("a")
    part.write_bytes(shard.files["a.bin"])
    PosixStorage(bad.root).publish(part, place)

    assert httpx.get(url).content == shard.files["a.bin"]


def test_where_no_doubt_can_be_noted_it_is_quarantined_at_once(good: Node, bad: Node) -> None:
    shard = Shard("census", LONE, web_seeds=())
    good.hold(shard)
    bad.hold(shard)
    flip(shard.place(bad.root, "a.bin"), 7)
    (bad.root / ".quarantine").mkdir()
    (bad.root / ".quarantine" / "doubted").write_bytes(b"")

    (found,) = bad.verify(to_verify(shard, good.address)).items

    assert (found.ok, found.fault) == (False, "corrupt")
    assert bad.visible() == []
