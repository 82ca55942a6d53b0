"""Versions of a dataset whose sets are to be the latest, one after the other, in a bucket."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fleet.planning.latest import FOLDER, MANIFESTS, File, Manifest, bare, decode, place
from fleet.rehearsal.s3.buckets import Object
from fleet.rehearsal.s3.server import S3Server
from fleet.rehearsal.s3.sigv4 import Key
from fleet.rehearsal.s3.strictness import AWS, R2, Strictness
from tests.storage_support import AGENT, BUCKET, KEYS
from workers.lease import Lease
from workers.storage.contract import Content
from workers.storage.s3 import Bucket, Place

# no switch writes a key twice, so nothing is missed of R2's second between writes to one
RULES = {"aws": AWS, "r2": replace(R2, seconds_a_write=0.0)}
DATASET = "census"
SIZE = 3000


def files(number: int) -> dict[str, bytes]:
    """What a version has: names that stay, that come and go, and bytes that stay."""
    found = {
        "boundaries.json": _bytes("boundaries", number),
        f"census_v{number}.csv": _bytes("census", number),
        "notes.txt": _bytes("notes", number // 2),
    }
    if number % 2:
        found["lookup.bin"] = _bytes("lookup", number)
    return found


def order(number: int, dataset: str = DATASET, data: Mapping[str, bytes] | None = None) -> Manifest:
    """The set of a version."""
    version = f"v{number}"
    found = {
        name: File(
            f"{dataset}/{version}/data/{name}",
            len(one),
            hashlib.sha256(one).hexdigest(),
            hashlib.md5(one, usedforsecurity=False).hexdigest(),
        )
        for name, one in (files(number) if data is None else data).items()
    }
    return Manifest(dataset, version, number, found)


def roads(home: Path, server: S3Server, number: int, *names: str) -> Manifest:
    """Have a version of another dataset at its own path, with these names."""
    data = {name: f"roads {number} {name}".encode() for name in names}
    made = order(number, "roads", data)
    fill(server, home, made, data)
    return made


@contextmanager
def serving(home: Path, rules: Strictness, versions: int = 3) -> Iterator[S3Server]:
    """Run a server with so many versions' files at their own paths."""
    folder = home / "bytes"
    folder.mkdir(parents=True)
    with S3Server(folder, [BUCKET], {KEYS.key_id: Key(KEYS.secret)}, rules) as server:
        for number in range(1, versions + 1):
            fill(server, home, order(number), files(number))
        yield server


def client(server: S3Server) -> Bucket:
    return Bucket(Place(server.url, BUCKET, "", "us-east-1"), lambda: KEYS, AGENT)


def fill(server: S3Server, home: Path, one: Manifest, data: Mapping[str, bytes]) -> None:
    """Have a version's files at their own paths."""
    bucket, staged = client(server), home / "staged"
    for name, file in one.files.items():
        staged.write_bytes(data[name])
        content = Content(staged, file.size, file.sha256, file.md5)
        bucket.write(file.path, content, Lease())


def objects(server: S3Server) -> dict[str, Object]:
    return server.buckets[BUCKET].objects


def current(server: S3Server, dataset: str = DATASET) -> Manifest:
    return decode(objects(server)[place(dataset)].read())


def bares(server: S3Server) -> dict[str, bytes]:
    """What lies under bare names."""
    below = f"{FOLDER}/{MANIFESTS}/"
    return {
        key.removeprefix(bare("")): one.read()
        for key, one in objects(server).items()
        if key.startswith(bare("")) and not key.startswith(below)
    }


def _bytes(what: str, number: int) -> bytes:
    return hashlib.shake_256(f"{what} {number}".encode()).digest(SIZE)
