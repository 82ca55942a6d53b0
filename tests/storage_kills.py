"""Writes that are killed at each boundary of what they ask, and done again."""

import hashlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from fleet.rehearsal.connection import Drop
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS
from fleet.rehearsal.service import Moment, Phase, Service
from tests.storage_support import AGENT, BUCKET, KEYS
from workers.lease import Lease
from workers.storage.contract import Content
from workers.storage.s3 import Bucket, Place

PHASES: tuple[Phase, ...] = ("received", "done", "answered")
PATIENCE = 60.0
_fresh = multiprocessing.get_context("forkserver")
_fresh.set_forkserver_preload(["workers.storage.s3"])


@dataclass
class Figures:
    """What came of all kills.

    Attributes:
        kills: how many there were.
        incomplete: writes that did not succeed when they were done again.
        corrupt: objects whose bytes were not those written.
        double: objects beyond the one that was asked for.
        left: uploads that were begun and neither completed nor given up.
    """

    kills: int = 0
    incomplete: int = 0
    corrupt: int = 0
    double: int = 0
    left: int = 0


def s3_upload(home: Path, size: int) -> Figures:
    """Kill an upload to a bucket at every boundary in turn, and do it again."""
    figures = Figures()
    file = home / "staged"
    data = hashlib.shake_256(b"kills").digest(size)
    file.write_bytes(data)
    content = Content(file, size, hashlib.sha256(data).hexdigest())
    folder = home / "bytes"
    folder.mkdir()
    with S3Server(folder, [BUCKET], {KEYS.key_id: Key(KEYS.secret)}, AWS) as server:
        for phase in PHASES:
            at, killed = 0, True
            while killed:
                at += 1
                path = f"{phase}/{at}.bin"
                killed = _killed(server, at, phase, _write, server.url, path, content)
                if killed:
                    figures.kills += 1
                done = _run(_write, server.url, path, content)
                figures.incomplete += done.exitcode != 0
                found = server.buckets[BUCKET]
                figures.corrupt += found.objects[path].read() != data
                figures.double += len(found.objects) - 1
                figures.left += len(found.uploads)
                found.objects.clear()
    return figures


KILLED: dict[str, Callable[[Path, int], Figures]] = {"s3": s3_upload}


def _write(url: str, path: str, content: Content) -> None:
    bucket = Bucket(Place(url, BUCKET, "", "us-east-1"), _keys, AGENT)
    bucket.write(path, content, Lease())


def _keys() -> object:
    return KEYS


def _run(call: Callable[..., None], *given: object) -> BaseProcess:
    """Run a call in a process of its own, to its end."""
    process = _fresh.Process(target=call, args=given)
    process.start()
    process.join(PATIENCE)
    return process


def _killed(
    service: Service, at: int, phase: Phase, call: Callable[..., None], *given: object
) -> bool:
    """Run a call and kill it at one boundary; False if it never came to that."""
    process = _fresh.Process(target=call, args=given)
    with _watching(service, at, phase, process):
        process.start()
        process.join(PATIENCE)
    return process.exitcode == -signal.SIGKILL


@contextmanager
def _watching(service: Service, at: int, phase: Phase, process: BaseProcess) -> Iterator[None]:
    """Kill ``process`` at the boundary, and let nothing that it asks after that have an effect."""
    first = service.next_number() + 1

    def watch(moment: Moment) -> None:
        if (moment.number, moment.phase) == (first + at - 1, phase):
            process.kill()
            process.join()
        late = moment.number >= first + at and moment.phase == "received"
        if late and not process.is_alive():
            raise Drop

    service.watch = watch
    try:
        yield
    finally:
        service.watch = lambda _: None
