"""Writes that are killed at each boundary of what they ask, and done again."""

import hashlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event

from fleet.places import ItemsPlace
from fleet.rehearsal.archive.server import Archive as ArchiveServer
from fleet.rehearsal.archive.server import Habits
from fleet.rehearsal.connection import Drop
from fleet.rehearsal.exchange import Asked
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS
from fleet.rehearsal.service import Moment, Phase, Service
from fleet.rehearsal.zenodo import Zenodo
from tests.storage_support import AGENT, ARCHIVE_KEYS, BUCKET, KEYS, PATIENCE, record
from tests.zenodo_support import Person
from workers.lease import Lease
from workers.storage.archive import Archive
from workers.storage.contract import Content
from workers.storage.s3 import Bucket, Place

PHASES: tuple[Phase, ...] = ("received", "done", "answered")
ENDS_WITHIN = 60.0  # seconds
_fresh = multiprocessing.get_context("forkserver")
_fresh.set_forkserver_preload(
    [
        "workers.storage.archive",
        "workers.storage.s3",
        "workers.storage.zenodo",
        __name__,
        "tests.publish_kills",
        "tests.test_catalogue_kills",
        "tests.warm",
    ]
)


@dataclass
class Figures:
    """What came of all kills.

    Attributes:
        kills: how many there were.
        incomplete: writes that did not succeed when they were done again.
        corrupt: objects whose bytes were not those written.
        double: objects, or items, beyond the one that was asked for.
        left: uploads that were begun and neither completed nor given up, or that still wait.
    """

    kills: int = 0
    incomplete: int = 0
    corrupt: int = 0
    double: int = 0
    left: int = 0


def s3_upload(home: Path, size: int) -> Figures:
    """Kill an upload to a bucket at every boundary in turn, and do it again."""
    figures, (content, data) = Figures(), _content(home, size)
    folder = home / "bytes"
    folder.mkdir()
    with S3Server(folder, [BUCKET], {KEYS.key_id: Key(KEYS.secret)}, AWS) as server:
        for path in _at_every_boundary(figures, server, _write, lambda: server.url, content):
            found = server.buckets[BUCKET]
            figures.corrupt += found.objects[path].read() != data
            figures.double += len(found.objects) - 1
            figures.left += len(found.uploads)
            found.objects.clear()
    return figures


def archive_upload(home: Path, size: int) -> Figures:
    """Likewise to the Archive, which shows what it was sent only some requests later."""
    figures, (content, data) = Figures(), _content(home, size)
    keys, habits = {ARCHIVE_KEYS.key: ARCHIVE_KEYS.secret}, Habits(task_seconds=4)
    with ArchiveServer(
        home / "bytes", keys, habits, lambda: 1_800_000_000.0 + len(server.log)
    ) as server:
        for _ in _at_every_boundary(figures, server, _write_item, lambda: server.url, content):
            files = [file for item in server.items.values() for file in item.files.values()]
            figures.corrupt += [b"".join(one.read() for one in file.pieces) for file in files] != [
                data
            ]
            figures.corrupt += any(item.replaced for item in server.items.values())
            figures.double += len(server.made) - 1
            figures.left += sum(len(item.queue) for item in server.items.values())
            server.items.clear()
            server.made.clear()
    return figures


def zenodo_fill(home: Path, size: int) -> Figures:
    """Likewise of two files into a draft, which is a new one for each boundary."""
    figures, (content, data) = Figures(), _content(home, size)
    with Zenodo(
        home / "bytes", now=lambda: datetime.fromtimestamp(1_800_000_000 + len(server.log), UTC)
    ) as server:
        me, drafts = Person(server), list[str]()

        def draft() -> tuple[str, str]:
            drafts.append(me.create())
            return server.url, drafts[-1]

        for _ in _at_every_boundary(figures, server, _fill_draft, draft, content):
            files = server.records.records[drafts[-1]].files
            whole = [one.complete for one in files.values() if one.complete is not None]
            figures.left += len(files) - len(whole)
            figures.corrupt += sum(
                b"".join(piece.read() for piece in one.pieces) != data for one in whole
            )
            figures.double += abs(len(whole) - 2)
            me.discard(drafts[-1])
    return figures


KILLED: dict[str, Callable[[Path, int], Figures]] = {
    "s3": s3_upload,
    "archive": archive_upload,
    "zenodo": zenodo_fill,
}


def _content(home: Path, size: int) -> tuple[Content, bytes]:
    file = home / "staged"
    data = hashlib.shake_256(b"kills").digest(size)
    file.write_bytes(data)
    return Content(file, size, hashlib.sha256(data).hexdigest()), data


def _at_every_boundary(
    figures: Figures,
    server: Service,
    write: Callable[..., None],
    where: Callable[[], object],
    content: Content,
) -> Iterator[str]:
    """Kill a write at each boundary and do it again; give the path that it was to, each time.

    ``where`` is asked each time for the place to write to.
    """
    for phase in PHASES:
        at, died = 0, True
        while died:
            at += 1
            path, to = f"{phase}/{at}/a.bin", where()
            died = killed(server, at, phase, write, to, path, content)
            figures.kills += died
            done = run(write, to, path, content)
            figures.incomplete += done.exitcode != 0
            yield path


def _write_item(url: str, path: str, content: Content) -> None:
    place = ItemsPlace(endpoint=url, read=url, prefix="kills")
    Archive(place, ARCHIVE_KEYS, AGENT, patience=PATIENCE).write(path, content, Lease())


def _fill_draft(to: tuple[str, str], path: str, content: Content) -> None:
    storage = record(*to)
    storage.write(path, content, Lease())
    storage.write("papers/SHA256SUMS", content, Lease())


def _write(url: str, path: str, content: Content) -> None:
    bucket = Bucket(Place(url, BUCKET, "", "us-east-1"), _keys, AGENT)
    bucket.write(path, content, Lease())


def _keys() -> object:
    return KEYS


def run(call: Callable[..., None], *given: object) -> BaseProcess:
    """Run a call in a process of its own, to its end."""
    process = _fresh.Process(target=call, args=given)
    process.start()
    process.join(ENDS_WITHIN)
    return process


def killed(
    service: Service,
    at: int,
    phase: Phase,
    call: Callable[..., None],
    *given: object,
    ours: Callable[[Asked], bool] = lambda _: True,
) -> bool:
    """Run a call and kill it at one boundary of what is ``ours``; False if it never came to it."""
    process, ended = _fresh.Process(target=call, args=given), Event()
    with _watching(service, at, phase, process, ended, ours):
        process.start()
        process.join(ENDS_WITHIN)
        ended.set()
    return process.exitcode == -signal.SIGKILL


@contextmanager
def _watching(
    service: Service,
    at: int,
    phase: Phase,
    process: BaseProcess,
    ended: Event,
    ours: Callable[[Asked], bool],
) -> Iterator[None]:
    """Kill ``process`` at the boundary, and let nothing that it asks after that have an effect.

    Its end is waited for by one thread only: whoever else does is told nothing of how it ended.
    """
    came: list[int] = []  # the requests' numbers, in the order in which they came whole
    cut = Event()

    def watch(moment: Moment) -> None:
        if not ours(moment.asked):
            return
        with service.lock:
            if moment.phase == "received":
                came.append(moment.number)
            place = came.index(moment.number) + 1 if moment.number in came else 0
        if (place, moment.phase) == (at, phase):
            process.kill()
            cut.set()
            ended.wait(ENDS_WITHIN)
        if place > at and moment.phase == "received" and cut.is_set():
            raise Drop

    service.watch = watch
    try:
        yield
    finally:
        service.watch = lambda _: None
