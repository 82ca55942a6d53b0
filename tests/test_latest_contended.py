"""Switches of the latest set that meet others of the same, are held back, or are killed."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from fleet.planning.latest import place
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.service import Moment
from tests.latest_kills import every_boundary, watched
from tests.latest_support import (
    RULES,
    bares,
    client,
    current,
    files,
    fill,
    objects,
    order,
    roads,
    serving,
)
from tests.storage_support import BUCKET
from workers.lease import Lease
from workers.storage import latest
from workers.storage.contract import StorageError, Unfit
from workers.storage.s3 import Bucket


@pytest.fixture(params=RULES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[S3Server]:
    with serving(tmp_path, RULES[request.param]) as running:
        yield running


@pytest.fixture
def bucket(server: S3Server) -> Bucket:
    return client(server)


def test_two_sets_switched_at_once_do_not_write_over_eachroads(
    server: S3Server, bucket: Bucket, tmp_path: Path
) -> None:
    """Neither saw the other's manifest when it decided; the later one to look has to give way."""
    other = roads(tmp_path, server, 1, "notes.txt")
    told: list[Exception] = []

    def later() -> None:
        try:
            latest.switch(client(server), order(1), Lease())
        except StorageError as error:
            told.append(error)

    _held(server, later, _switches, lambda: latest.switch(bucket, other, Lease()))
    assert [str(one) for one in told] == [
        "processed/notes.txt is in two sets: census v1 and roads v1"
    ]
    assert bares(server) == {"notes.txt": b"roads 1 notes.txt"}

    without = {name: data for name, data in files(2).items() if name != "notes.txt"}
    latest.switch(bucket, order(2, data=without), Lease())
    assert bares(server) == without | {"notes.txt": b"roads 1 notes.txt"}


def _switches(moment: Moment) -> bool:
    """Whether it is the write of the manifest."""
    path = f"/{BUCKET}/{place('census')}"
    return (moment.asked.method, moment.asked.path) == ("PUT", path)


def _held(
    server: S3Server,
    slow: Callable[[], object],
    when: Callable[[Moment], bool],
    meanwhile: Callable[[], object],
) -> bool:
    """Do something while a request of ``slow`` is held back; False if there was no such one."""
    held: list[int] = []

    def watch(moment: Moment) -> None:
        if moment.phase == "received" and not held and when(moment):
            held.append(moment.number)
            meanwhile()

    server.watch = watch
    with ThreadPoolExecutor(1) as thread:
        thread.submit(slow).result()
    server.watch = lambda _: None
    return bool(held)


OVERTAKING = {"others": order(3), "first": order(4, data=files(1))}


@pytest.mark.parametrize("bytes_of", OVERTAKING)
@pytest.mark.timeout(240)
def test_an_attempt_that_is_overtaken_at_any_step_undoes_nothing(
    server: S3Server, bucket: Bucket, bytes_of: str
) -> None:
    """It goes on after a newer version was switched to, with other bytes or those it replaced."""
    newer, data = OVERTAKING[bytes_of], files(1 if bytes_of == "first" else 3)
    fill(server, server.folder, newer, data)
    latest.switch(bucket, order(1), Lease())
    before, steps, held = dict(objects(server)), 0, True
    while held:
        found = server.buckets[BUCKET]
        found.objects, found.keys = dict(before), sorted(before)
        held = _held(
            server,
            lambda: _late(server),
            _request(steps),
            lambda: latest.switch(bucket, newer, Lease()),
        )
        steps += held
        assert not held or current(server).files == newer.files, steps
        assert not held or bares(server) == data, steps
    assert steps >= 30


def _late(server: S3Server) -> None:
    try:
        latest.switch(client(server), order(2), Lease())
    except Unfit as error:
        assert "cannot be the latest set" in str(error)  # noqa: PT017


def _request(place: int) -> Callable[[Moment], bool]:
    seen = count()
    return lambda _: next(seen) == place


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_switch_killed_at_any_boundary_is_finished_by_the_next(tmp_path: Path) -> None:
    figures = every_boundary(tmp_path)
    assert figures.kills >= 90
    assert (figures.mixed, figures.missing) == (0, 0)
    assert (figures.unfinished, figures.unlike, figures.lost) == (0, 0, 0)


def test_readers_of_the_manifest_see_whole_sets_while_switches_are_killed(tmp_path: Path) -> None:
    figures = watched(tmp_path, 100, 4)
    seen = figures.seen
    assert (figures.kills, figures.unlike) == (4, False)
    assert seen.fewest >= 1
    assert seen.spanned >= 1
    assert (seen.mixed, seen.missing, seen.backward, seen.torn) == (0, 0, 0, 0)
