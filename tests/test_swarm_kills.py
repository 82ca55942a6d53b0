"""A fetch whose seeder or pull is killed midway: what is here is kept, and the next completes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from fleet.messages import Budget
from tests.seeder_support import PIECE, Shard, eventually, running
from tests.swarm_support import Node, Talk, node, ordered
from tests.test_pull_kills import PULLER

SIZE = 300 * PIECE + 7
SLOWLY = Budget(bytes_per_second=100 * PIECE)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "source") as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "target") as running:
        yield running


def uploaded(source: Node, shard: Shard) -> int:
    source.seeder.sync()
    count: int = source.seeder.torrent(shard.infohash)["uploaded"]
    return count


def test_what_a_fetch_had_when_its_client_went_is_kept_for_the_next(
    source: Node, target: Node
) -> None:
    shard = Shard("census", {"a": SIZE}, web_seeds=())
    source.hold(shard)
    target.know(shard)
    asked = {"do": "fetch", "infohash": shard.infohash, "want": [[0, SIZE]]}
    with Talk(target.settings) as talk:
        talk.say(asked | {"peers": [source.address], "limit": 100 * PIECE})
        while (had := talk.hear()["done"]) < SIZE // 2:
            pass
    with Talk(target.settings) as talk:
        talk.say(asked | {"peers": []})
        assert talk.until(state="fetching")["done"] >= had


@pytest.fixture(params=["lone file", "bundle"])
def shard(request: pytest.FixtureRequest, source: Node, target: Node) -> Shard:
    lone = request.param == "lone file"
    files = {"a": SIZE} if lone else {"a": 100 * PIECE + 1, "b": SIZE - 100 * PIECE - 1}
    made = Shard("census", files, web_seeds=())
    source.hold(made)
    target.know(made)
    return made


def test_after_a_killed_pull_the_next_one_goes_on(shard: Shard, source: Node, target: Node) -> None:
    given = ordered(shard, source.address, budget=SLOWLY)
    arguments = [
        target.settings.model_copy(update={"site_token": SecretStr("")}).model_dump_json(),
        given.model_dump_json(),
    ]
    with subprocess.Popen([sys.executable, "-c", PULLER, *arguments]) as process:
        eventually(lambda: uploaded(source, shard) > SIZE // 2, "half of it has come")
        process.kill()
    assert target.visible() == []

    work = target.pull(ordered(shard, source.address))

    assert all(result.ok for result in work.items), work.items
    assert shard.lies_in(target.root)
    assert work.bytes_fetched < SIZE
    assert target.staged() == []


def test_after_a_killed_seeder_the_pull_says_so_and_the_next_one_goes_on(
    shard: Shard, source: Node, target: Node
) -> None:
    with ThreadPoolExecutor() as apart:
        working = apart.submit(target.pull, ordered(shard, source.address, budget=SLOWLY))
        eventually(lambda: uploaded(source, shard) > SIZE // 2, "half of it has come")
        target.seeder.end(signal.SIGKILL)
        reasons = {result.reason for result in working.result().items}
    assert len(reasons) == 1
    assert "by torrent: the seeder of target does not answer: it ended" in reasons.pop()
    assert target.visible() == []

    with running(target.settings, target.told.url, **target.more):
        work = target.pull(ordered(shard, source.address))

    assert all(result.ok for result in work.items), work.items
    assert shard.lies_in(target.root)
    assert work.bytes_fetched < SIZE
    assert target.staged() == []
