"""A web seed at fault beside a good peer: the fetch completes, no lie lands, the fault is told."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fleet.messages import Budget, Order, SourceReport
from fleet.torrent.metainfo import torrent_bytes
from fleet.torrent.shard import web_seed
from tests.fault_server import FaultServer
from tests.seeder_support import PIECE, Shard, eventually
from tests.swarm_support import Node, node, ordered
from workers.work import Work

FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "404": ("status", {"code": 404}, "404 "),
    "403": ("status", {"code": 403}, "403 "),
    "429": ("status", {"code": 429}, "429"),
    "503": ("status", {"code": 503}, "503 "),
    "redirect": ("redirect", {}, "came for 4 s"),
    "truncating ranges": ("short_ranges", {"most": 1000}, "invalid HTTP range"),
    "cut": ("truncated", {"cuts": (1000,)}, "End of file"),
    "wrong bytes": ("wrong_bytes", {}, "it sent wrong bytes: piece "),
    "stall": ("stalling", {"after": 1000}, "no byte came for 4 s"),
}
SLOWLY = Budget(bytes_per_second=15 * PIECE)
numbers = count()


@dataclass
class Scene:
    """A site that fetches, one that holds, and the web server that is at fault."""

    good: Node
    target: Node
    web: FaultServer
    shard: Shard

    def serve(self, kind: str, **options: Any) -> None:
        self.web.serve(self.path, self.shard.files["a.bin"], kind, **options)
        seed = web_seed(self.web.url("").rstrip("/"), self.shard.folder, self.shard.meta)
        self.shard.torrent = torrent_bytes(self.shard.meta, web_seeds=(seed,))
        self.target.know(self.shard)

    @property
    def path(self) -> str:
        return f"{self.shard.dataset}/v1/a.bin"

    def report(self, work: Work) -> SourceReport:
        """How the web server behaved."""
        (found,) = [one for one in work.sources if one.host == self.web.netloc]
        return found


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    home = tmp_path_factory.mktemp("sites")
    with node(home, "good") as good, node(home, "target", stall_seconds=8.0) as target:
        yield good, target


@pytest.fixture
def scene(sites: tuple[Node, Node], server: FaultServer) -> Scene:
    return Scene(*sites, server, Shard(f"census-{next(numbers)}", {"a.bin": 90 * PIECE + 7}))


@pytest.fixture
def apart() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fetch_completes_from_the_peer_and_the_fault_is_told(
    fault: str, scene: Scene, apart: ThreadPoolExecutor
) -> None:
    kind, options, told = FAULTS[fault]
    scene.serve(kind, **options)
    # what is only noticed after a while must not be over before
    given = ordered(scene.shard, budget=SLOWLY if told.endswith("for 4 s") else Budget())
    working: Future[Work] = apart.submit(scene.target.pull, given)
    eventually(lambda: scene.web.asked(scene.path), "the web seed is asked")
    scene.good.hold(scene.shard, scene.target.address)

    work = working.result()

    scene.web.released.set()
    assert [item.reason for item in work.items] == [""]
    assert scene.shard.lies_in(scene.target.root)
    report = scene.report(work)
    assert told in report.last_error, report
    assert bool(report.evidence) == (fault == "wrong bytes")
    assert report.errors


@pytest.mark.parametrize(("code", "times"), [(429, 1), (503, 2)])
def test_one_that_was_busy_is_asked_again_and_is_enough(
    code: int, times: int, scene: Scene, tmp_path: Path
) -> None:
    scene.serve("status", code=code, times=times, headers={"Retry_After": "1"})
    # it rests for longer than a second
    with node(tmp_path, "patient", stall_seconds=10.0) as patient:
        patient.know(scene.shard)
        work = patient.pull(ordered(scene.shard))

        assert [item.reason for item in work.items] == [""]
        assert scene.shard.lies_in(patient.root)
    assert str(code) in scene.report(work).last_error
    assert len(scene.web.asked(scene.path)) == times + 1


def test_a_liar_alone_never_lands_and_is_soon_left_alone(scene: Scene, tmp_path: Path) -> None:
    scene.serve("wrong_bytes")
    with node(tmp_path, "alone", stall_seconds=6.0) as alone:
        alone.know(scene.shard)
        (found,) = (work := alone.pull(ordered(scene.shard))).items
        assert not found.ok
        assert alone.visible() == []
    assert scene.report(work).evidence.endswith("does not match the torrent")
    # libtorrent alone asks each second; it may do so once before a lie is seen
    assert 2 <= len(scene.web.asked(scene.path)) <= 4


class _NoText(BaseHTTPRequestHandler):
    """Says no in Latin-1, which is no UTF-8."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(404, "introuv\xe9")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_an_answer_that_is_no_utf_8_fails_its_web_seed_alone(
    scene: Scene, apart: ThreadPoolExecutor
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _NoText) as web:
        serving = apart.submit(web.serve_forever, 0.02)
        url = f"http://127.0.0.1:{web.server_port}/"
        scene.shard.torrent = torrent_bytes(scene.shard.meta, web_seeds=(url,))
        scene.target.know(scene.shard)
        scene.good.hold(scene.shard)
        given = ordered(scene.shard, scene.good.address, budget=SLOWLY)

        work = scene.target.pull(given)

        web.shutdown()
        serving.result()
    assert [item.reason for item in work.items] == [""]
    (report,) = [one for one in work.sources if one.host == f"127.0.0.1:{web.server_port}"]
    assert "404 " in report.last_error


def test_a_web_seed_in_a_private_network_is_not_asked(scene: Scene, tmp_path: Path) -> None:
    scene.serve("none")
    with node(tmp_path, "strict", allow_networks="", stall_seconds=1.0) as strict:
        strict.know(scene.shard)
        (found,) = (work := strict.pull(ordered(scene.shard))).items
    assert not found.ok
    assert "its address 127.0.0.1 is not public" in scene.report(work).last_error
    assert scene.web.requests == []


def test_where_requests_are_budgeted_no_web_seed_is_asked(scene: Scene) -> None:
    scene.serve("none")
    given: Order = ordered(scene.shard, budget=Budget(source_requests_per_second=1.0))
    (found,) = scene.target.pull(given).items
    assert not found.ok
    assert scene.web.requests == []


def test_a_web_seed_of_a_site_is_counted_as_that_site(scene: Scene) -> None:
    scene.serve("none")
    given = ordered(scene.shard, after=(scene.web.url("").rstrip("/"),))
    (item,) = given.items
    torrent, http = item.sources
    sources = (torrent, http.model_copy(update={"site": "toronto"}))
    given = given.model_copy(update={"items": (item.model_copy(update={"sources": sources}),)})

    work = scene.target.pull(given)

    assert work.items[0].ok
    assert {(one.host, one.site) for one in work.sources} >= {(scene.web.netloc, "toronto")}
    assert (scene.web.netloc, None) not in {(one.host, one.site) for one in work.sources}


def test_an_innocent_web_seed_at_a_liars_address_gets_no_evidence(
    scene: Scene, tmp_path: Path
) -> None:
    scene.serve("none")
    scene.web.serve("liar.bin", scene.shard.files["a.bin"], "wrong_bytes")
    port = scene.web.netloc.rpartition(":")[2]
    seeds = (scene.web.url(scene.path), f"http://localhost:{port}/liar.bin")
    scene.shard.torrent = torrent_bytes(scene.shard.meta, web_seeds=tuple(reversed(seeds)))
    with node(tmp_path, "target", allow_networks="127.0.0.0/8,::1/128") as target:
        target.know(scene.shard)
        work = target.pull(ordered(scene.shard))

    assert [item.reason for item in work.items] == [""]
    assert scene.web.asked("liar.bin")
    told = {one.host: one.evidence for one in work.sources}
    assert told[scene.web.netloc] == ""
    assert "does not match the torrent" in told[f"localhost:{port}"]


def test_a_web_seed_without_an_address_fails_and_hinders_no_other(scene: Scene) -> None:
    scene.serve("none")
    seeds = ("http://nowhere.invalid/a.bin", scene.web.url(scene.path))
    scene.shard.torrent = torrent_bytes(scene.shard.meta, web_seeds=seeds)
    scene.target.know(scene.shard)

    work = scene.target.pull(ordered(scene.shard))

    assert [item.reason for item in work.items] == [""]
    told = {one.host: one.last_error for one in work.sources}
    assert "nowhere.invalid has no address" in told["nowhere.invalid"]
    assert told[scene.web.netloc] == ""
