"""The tasks of a site on orders that name a torrent: what is done, reported and seeded."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.seeder_support import PIECE, Shard
from tests.swarm_support import Node, node, ordered
from workers.tasks import register


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "source") as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Node]:
    with node(tmp_path, "target") as running:
        yield running


def test_what_is_pulled_by_torrent_is_seeded_at_once_and_mended_when_it_rots(
    source: Node, target: Node
) -> None:
    shard = Shard("census", {"a": 50 * PIECE, "b": 10}, web_seeds=())
    source.hold(shard)
    target.know(shard)
    told = target.told
    told.orders = {
        task: ordered(shard, source.address, attempt=task, task=task) for task in ("pull", "verify")
    }
    told.reported = lambda: told.seeds.extend([] if told.seeds else [shard.seed()])
    app = Celery("site", set_as_current=False)
    register(app, target.settings.model_copy(update={"centre_url": told.url}))

    app.tasks["pull"]("pull")

    (pulled,) = told.outcomes
    assert [item.ok for item in pulled.items] == [True, True]
    assert {one.host for one in pulled.sources} == {f"btih:{shard.infohash[:12]}"}
    assert target.seeder.status()["seeding"] == 1

    with shard.place(target.root, "a").open("r+b") as file:
        file.write(b"rot")
    app.tasks["verify"]("verify")

    verified = told.outcomes[-1]
    assert [item.ok for item in verified.items] == [True, True]
    assert verified.items[0].reason == "pieces fetched anew by torrent: 1"
    assert verified.bytes_fetched == verified.sources[0].bytes == PIECE
    assert shard.lies_in(target.root)


def test_a_worker_that_forks_never_loads_libtorrent() -> None:
    """A session hangs in a process that was forked: only the seeder has one."""
    program = "import sys, workers.tasks; sys.exit('libtorrent' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
