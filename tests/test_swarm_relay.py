"""Sites that nobody can dial meet at one that can be; and no peer's lie lands."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import libtorrent as lt

from tests.seeder_support import PIECE, Shard, eventually
from tests.swarm_support import Talk, node, ordered
from tests.test_torrent_faulty_seeds import _SETTINGS
from workers.seeder.dialling import AGAIN_SECONDS, AT_ONCE, Rounds

BUNDLE = {"a.bin": 30 * PIECE - 1, "one": 1, "raw/b.bin": 50 * PIECE + 1}


def test_two_sites_without_inbound_ports_sync_through_a_third(tmp_path: Path) -> None:
    """Nobody is told where the holder or the seeker listens: they dial the third."""
    shard = Shard("census", BUNDLE, web_seeds=())
    with (
        node(tmp_path, "holder") as holder,
        node(tmp_path, "seeker", stall_seconds=20.0) as seeker,
        node(tmp_path, "third", stall_seconds=20.0) as third,
        ThreadPoolExecutor() as apart,
    ):
        for one in (seeker, third):
            one.know(shard)
        holder.hold(shard)
        relaying = apart.submit(third.pull, ordered(shard))
        # as it does in a fleet; else what it had not given on when it was done would never come
        relaying.add_done_callback(lambda _: third.seed(shard))
        folder = third.root / ".staging" / f"btih-{shard.infohash}"
        eventually(folder.exists, "the third fetches it")
        with Talk(seeker.settings) as talk:
            asked = {"do": "fetch", "infohash": shard.infohash, "peers": [third.address]}
            talk.say(asked | {"want": [[0, shard.meta.size]]})
            assert talk.until(state="fetching", peers=1)["payload"] == 0
            holder.seed(shard, third.address)
            most = 0
            while (told := talk.hear())["state"] != "done":
                most = max(most, told["peers"])
            assert most <= 1
            # what it has not landed yet it gives on
        assert relaying.result().items[0].ok
        assert shard.lies_in(third.root)
        work = seeker.pull(ordered(shard, third.address))
        assert all(result.ok for result in work.items)
        assert work.bytes_fetched == 0
        assert shard.lies_in(seeker.root)


@contextmanager
def liar(shard: Shard, folder: Path) -> Iterator[str]:
    """A peer that has everything, all of it wrong."""
    for path, data in shard.files.items():
        place = shard.place(folder, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bytes(byte ^ 0xFF for byte in data))
    session = lt.session(_SETTINGS)
    params = lt.load_torrent_buffer(shard.torrent)
    params.save_path = str(folder / shard.folder)
    params.have_pieces = [True] * params.ti.num_pieces()
    params.flags |= lt.torrent_flags.no_verify_files | lt.torrent_flags.upload_mode
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    session.add_torrent(params)
    yield f"127.0.0.1:{session.listen_port()}"
    del session


def test_a_lying_peer_never_lands_and_is_named_with_proof(tmp_path: Path) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    with (
        liar(shard, tmp_path / "liar") as lies,
        node(tmp_path, "target", stall_seconds=3.0) as target,
    ):
        target.know(shard)
        work = target.pull(ordered(shard, lies))
        assert not any(result.ok for result in work.items)
        assert target.visible() == []
        assert all("by torrent: no byte came" in result.reason for result in work.items)
        (report,) = work.sources
        assert "does not match the torrent" in report.evidence


def test_beside_a_lying_peer_a_good_one_is_enough(tmp_path: Path) -> None:
    shard = Shard("census", BUNDLE, web_seeds=())
    with (
        liar(shard, tmp_path / "liar") as lies,
        node(tmp_path, "good") as good,
        node(tmp_path, "target") as target,
    ):
        good.hold(shard)
        target.know(shard)
        work = target.pull(ordered(shard, lies, good.address))
        assert all(result.ok for result in work.items), work.items
        assert shard.lies_in(target.root)


def test_new_peers_are_dialled_at_once_and_old_ones_now_and_then() -> None:
    rounds, peers = Rounds(), {"a": ("x:1",), "b": ("y:1",)}
    assert rounds.next(peers, 0.0) == ["a", "b"]
    assert rounds.next(peers, 1.0) == []
    assert rounds.next(peers | {"b": ("y:1", "z:1")}, 2.0) == ["b"]
    assert rounds.next(peers, AGAIN_SECONDS + 1.0) == ["b", "a"]
    assert rounds.next({}, 1e6) == []


def test_dialling_is_bounded_and_everybody_has_a_turn() -> None:
    rounds, peers = Rounds(), {f"{at:03}": ("x:1",) for at in range(3 * AT_ONCE)}
    turns = [rounds.next(peers, float(at)) for at in range(4)]
    assert [len(turn) for turn in turns] == [AT_ONCE, AT_ONCE, AT_ONCE, 0]
    assert sorted(one for turn in turns for one in turn) == sorted(peers)
