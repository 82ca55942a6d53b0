"""The control socket while fetches go on: hostile lines, bounds, wishes, and others' seeds."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fleet.messages import Budget
from tests.seeder_support import PIECE, Shard, eventually
from tests.swarm_support import Node, Talk, node, ordered
from workers.lease import Lease, Stopped
from workers.seeder.fetches import MOST

HASH = "a" * 40
GOOD = {"do": "fetch", "infohash": HASH, "peers": [], "want": [[0, 1]]}


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "source") as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "target") as running:
        yield running


def asked(shard: Shard, *peers: str) -> dict[str, Any]:
    want = [[0, shard.meta.size]]
    return {"do": "fetch", "infohash": shard.infohash, "peers": peers, "want": want}


@pytest.mark.parametrize("what", ["fetch", "mend"])
@pytest.mark.parametrize(
    "change",
    [
        {"infohash": None},
        {"infohash": "../" * 13 + "a"},
        {"infohash": "A" * 40},
        {"peers": "host:1"},
        {"peers": [1]},
        {"peers": ["x:1"] * 65},
        {"want": []},
        {"want": [[0]]},
        {"want": [[-1, 5]]},
        {"want": [[0, 1 << 63]]},
        {"want": [[0, 1]] * 1001},
        {"want": [[0, float("nan")]]},
    ],
)
def test_what_is_malformed_is_answered_and_makes_nothing(
    what: str, change: dict[str, Any], idle: Node
) -> None:
    with Talk(idle.settings) as talk:
        talk.say(GOOD | {"do": what} | change)
        answer = talk.hear()
        assert answer["ok"] is False
        assert "malformed" in answer["error"]
        assert talk.hear() == {}
    assert not idle.root.exists()
    assert idle.seeder.status()["ok"]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with node(tmp_path_factory.mktemp("idle"), "idle") as running:
        yield running


def test_bytes_that_the_torrent_does_not_have_are_refused(idle: Node) -> None:
    shard = Shard("census", {"a": PIECE})
    idle.know(shard)
    for span in ([0, PIECE + 1], [5, 5], [7, 3], [PIECE, PIECE + 1]):
        with Talk(idle.settings) as talk:
            talk.say(asked(shard) | {"want": [span]})
            assert "it has no bytes" in talk.hear()["error"]


def test_nonsense_in_a_talk_does_no_harm_and_a_line_without_end_ends_it(
    source: Node, target: Node
) -> None:
    shard = Shard("census", {"a": 100 * PIECE})
    target.know(shard)
    with Talk(target.settings) as talk:
        talk.say(asked(shard))
        talk.until(state="fetching")
        for line in (b"nonsense", b"[1]", b"[" * 50_000, b'{"limit": "x"}', b'{"limit": -1}'):
            talk.send(line + b"\n")
        talk.say({"limit": 1 << 70, "paused": [], "peers": ["x:1"] * 100, "do": "sync"})
        for _ in range(5):
            assert talk.hear()["state"] == "fetching"
        talk.send(b"x" * 100_000)
        while talk.hear():
            pass
    source.hold(shard)
    work = target.pull(ordered(shard, source.address))
    assert work.items[0].ok, work.items
    assert target.seeder.noise == []


def test_only_so_many_are_fetched_at_once_and_each_once(target: Node) -> None:
    shards = [Shard(f"census-{at}", {"a": PIECE}) for at in range(MOST + 1)]
    for shard in shards:
        target.know(shard)
    with ExitStack() as stack:
        talks = [stack.enter_context(Talk(target.settings)) for _ in shards]
        for talk, shard in zip(talks[:MOST], shards, strict=False):
            talk.say(asked(shard))
            talk.until(state="fetching")
        talks[MOST].say(asked(shards[MOST]))
        assert f"{MOST} torrents are being fetched or mended" in talks[MOST].hear()["error"]
        with Talk(target.settings) as again:
            again.say(asked(shards[0]))
            assert "it is being fetched or mended already" in again.hear()["error"]
    with Talk(target.settings) as talk:

        def begins() -> bool:
            with Talk(target.settings) as talk:
                talk.say(asked(shards[MOST]))
                return bool(talk.hear()["ok"])

        eventually(begins, "there is room again")


def test_seeds_come_and_go_within_a_second_while_fetches_go_on(target: Node) -> None:
    fetched = [Shard(f"census-{at}", {"a": 100 * PIECE}) for at in range(4)]
    seeds = [Shard(f"held-{at}", {"a": PIECE}) for at in range(100)]
    for shard in seeds:
        shard.put(target.root)
    with ExitStack() as stack:
        for shard in fetched:
            target.know(shard)
            talk = stack.enter_context(Talk(target.settings))
            talk.say(asked(shard, "127.0.0.1:9"))
            talk.until(state="fetching")
        target.told.want(*seeds)
        assert target.seeder.sync()["seeding"] == 100
        started = time.monotonic()
        target.told.want(*seeds[:99])
        assert target.seeder.sync()["seeding"] == 99
        target.told.want(*seeds)
        assert target.seeder.sync()["seeding"] == 100
        assert time.monotonic() - started < 2


def test_a_seeder_that_is_told_to_end_ends_its_fetches(target: Node) -> None:
    shard = Shard("census", {"a": 100 * PIECE})
    target.know(shard)
    with Talk(target.settings) as talk:
        talk.say(asked(shard, "127.0.0.1:9"))
        talk.until(state="fetching")
        assert target.seeder.end() == 0
        while talk.hear():
            pass
    assert target.seeder.log[-1]["event"] == "stopped"
    assert target.seeder.noise == []


def test_what_cannot_be_stored_ends_one_fetch_and_no_other(source: Node, target: Node) -> None:
    shard, other = Shard("census", {"a": PIECE}, web_seeds=()), Shard("other", {"a": PIECE})
    source.hold(other)
    for one in (shard, other):
        target.know(one)
    # a folder where its file belongs
    (target.root / ".staging" / f"btih-{shard.infohash}" / "0").mkdir(parents=True)
    (found,) = target.pull(ordered(shard, source.address)).items
    assert "by torrent: it cannot be stored: " in found.reason
    assert target.pull(ordered(other, source.address)).items[0].ok


class Held(Lease):
    """A lease that is paused for its first looks, and that stops a while after so many bytes."""

    def __init__(
        self, budget: Budget | None = None, *, pauses: int = 0, stop_at: int = 1 << 60
    ) -> None:
        super().__init__(budget)
        self._pauses = pauses
        self._stop_at = stop_at
        self._calm = 0

    @property
    def paused(self) -> bool:
        self._pauses -= 1
        return self._pauses > 0

    def check(self) -> None:
        self._calm += self.bytes_done >= self._stop_at
        if self._calm > 5:
            raise Stopped("the centre said so")


def test_a_budget_holds_for_a_fetch(source: Node, target: Node) -> None:
    shard = Shard("census", {"a": 60 * PIECE}, web_seeds=())
    source.hold(shard)
    target.know(shard)
    started = time.monotonic()
    budget = Budget(bytes_per_second=20 * PIECE)
    work = target.pull(ordered(shard, source.address, budget=budget))
    assert work.items[0].ok, work.items
    # a second's worth may come at once
    assert time.monotonic() - started > 1.5


def test_a_lease_that_ends_ends_the_fetch_and_what_came_is_kept(source: Node, target: Node) -> None:
    shard = Shard("census", {"a": 100 * PIECE}, web_seeds=())
    source.hold(shard)
    target.know(shard)
    lease = Held(Budget(bytes_per_second=10 * PIECE), stop_at=20 * PIECE)
    with pytest.raises(Stopped):
        target.pull(ordered(shard, source.address), lease)
    assert target.visible() == []
    assert target.staged() == [f"btih-{shard.infohash}/0"]
    work = target.pull(ordered(shard, source.address))
    assert work.items[0].ok, work.items
    assert work.bytes_fetched <= 81 * PIECE


def test_a_paused_fetch_asks_for_nothing_and_goes_on(source: Node, target: Node) -> None:
    shard = Shard("census", {"a": 100 * PIECE}, web_seeds=())
    source.hold(shard)
    target.know(shard)
    with Talk(target.settings) as talk:
        talk.say(asked(shard, source.address) | {"paused": True})
        for _ in range(15):
            assert talk.hear()["payload"] == 0
        talk.say({"paused": False})
        assert talk.until(state="done")["done"] == shard.meta.size


def test_a_lease_that_is_paused_for_longer_than_a_stall_is_no_stall(
    source: Node, tmp_path: Path
) -> None:
    shard = Shard("census", {"a": 100 * PIECE}, web_seeds=())
    source.hold(shard)
    with node(tmp_path, "target", stall_seconds=2.0) as target:
        target.know(shard)
        lease = Held(pauses=15)  # a look at it is a fifth of a second
        work = target.pull(ordered(shard, source.address), lease)
    assert work.items[0].ok, work.items
