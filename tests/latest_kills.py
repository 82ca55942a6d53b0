"""Switches of the latest set that are killed at each boundary, and finished by the next attempt."""

import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from fleet.planning.latest import Manifest
from fleet.rehearsal.exchange import Asked
from fleet.rehearsal.s3.buckets import Object
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.strictness import AWS
from tests.latest_readers import Seen, serve
from tests.latest_support import bares, client, current, files, objects, order, serving
from tests.storage_kills import PHASES, killed
from tests.storage_support import AGENT, BUCKET, KEYS
from workers.lease import Lease
from workers.storage import latest
from workers.storage.contract import StorageError
from workers.storage.s3 import Bucket, Place

_fresh = multiprocessing.get_context("forkserver")
BOUNDARIES = 30  # that a switch has at least, of each phase
STRIDE = 7  # so that kills are spread over them


@dataclass
class Figures:
    """What came of all kills.

    Attributes:
        kills: how many there were.
        mixed: how often a killed switch left a manifest whose set is not one version's.
        missing: how often it left one that names what is not there.
        unfinished: next attempts that did not succeed.
        unlike: bare names that were not the manifest's set after that.
        lost: files of versions that were not at their own paths any more, or others.
    """

    kills: int = 0
    mixed: int = 0
    missing: int = 0
    unfinished: int = 0
    unlike: int = 0
    lost: int = 0


def every_boundary(home: Path) -> Figures:
    """Kill the switch to a second version at every boundary; finish it, or go on to a third."""
    figures = Figures()
    with serving(home, AWS) as server:
        bucket = client(server)
        latest.switch(bucket, order(1), Lease())
        before, own = dict(objects(server)), _own(server)
        for turn, phase in enumerate(PHASES):
            at = 1
            while killed(server, at, phase, switch, server.url, order(2)):
                at += 1
                figures.kills += 1
                _read(server, figures)
                # three boundaries leave the same behind: it is finished both ways
                _finish(server, bucket, order(2 + (at + turn) % 2), figures)
                figures.lost += _own(server) != own
                _restore(server, before)
            _restore(server, before)
    return figures


@dataclass
class Watched:
    """What came of switches that were read meanwhile, of which each was killed once.

    Attributes:
        switches: how many there were.
        kills: how many of them were killed and finished by the next attempt.
        unlike: whether bare names were not the last set in the end.
        seen: what the readers saw.
    """

    switches: int
    kills: int
    unlike: int
    seen: Seen


def watched(home: Path, readers: int, switches: int) -> Watched:
    """Switch many times, and kill each switch somewhere, while many read.

    Every second one is finished by the switch to the next version, not by the same again.
    """
    rules, kills = replace(AWS, public=frozenset({BUCKET})), 0
    with serving(home, rules, switches + 1) as server:
        bucket = client(server)
        latest.switch(bucket, order(1), Lease())
        with _readers(server, readers, switches + 1) as seen:
            for number in range(2, switches + 2):
                at, phase = 1 + number * STRIDE % BOUNDARIES, PHASES[number % len(PHASES)]
                given = (server.url, order(number))
                kills += killed(server, at, phase, switch, *given, ours=_signed)
                if number % 2 or number > switches:
                    latest.switch(bucket, order(number), Lease())
        unlike = bares(server) != files(switches + 1)
    return Watched(switches, kills, unlike, seen[0])


def _signed(asked: Asked) -> bool:
    """Whether it is asked by whoever switches; readers sign nothing."""
    return "authorization" in asked.headers


@contextmanager
def _readers(server: S3Server, count: int, versions: int) -> Iterator[list[Seen]]:
    """Let readers read; what they saw is in the list after that."""
    seen: list[Seen] = []
    enough, (here, there) = _fresh.Event(), _fresh.Pipe()
    parts = urlsplit(server.url)
    address = (parts.hostname, parts.port)
    process = _fresh.Process(target=serve, args=(address, count, versions, enough, there))
    process.start()
    there.close()
    try:
        yield seen
    finally:
        enough.set()
        seen.append(here.recv())
        process.join()


def switch(url: str, wanted: Manifest) -> None:
    """Switch to a set, in a process of its own."""
    bucket = Bucket(Place(url, BUCKET, "", "us-east-1"), lambda: KEYS, AGENT)
    latest.switch(bucket, wanted, Lease())


def _read(server: S3Server, figures: Figures) -> None:
    """Read the set as whoever goes by the manifest does."""
    found = current(server)
    truth = files(found.sequence)
    named = {name: objects(server).get(file.path) for name, file in found.files.items()}
    figures.missing += None in named.values()
    figures.mixed += {name: one and one.read() for name, one in named.items()} != truth


def _finish(server: S3Server, bucket: Bucket, wanted: Manifest, figures: Figures) -> None:
    try:
        latest.switch(bucket, wanted, Lease())
    except StorageError:
        figures.unfinished += 1
    same = current(server).files == wanted.files
    figures.unlike += not same or bares(server) != files(wanted.sequence)


def _own(server: S3Server) -> dict[str, str]:
    """The files that lie at versions' own paths."""
    return {k: one.etag for k, one in objects(server).items() if k.startswith("census/")}


def _restore(server: S3Server, state: Mapping[str, Object]) -> None:
    bucket = server.buckets[BUCKET]
    bucket.objects, bucket.keys = dict(state), sorted(state)
