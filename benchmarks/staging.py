"""A shard of 3 GiB into a bucket, through a node that lends it 256 MiB of its disk.

What the node has on its disk is asked of the disk, every few milliseconds as long as it works, and
not of the code that keeps to it.  One artifact takes all that is lent, and another 1 MiB more: it
is refused before a byte of it is asked for.  The bucket is of our strict server, and each object is
read back.
"""

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.contest import missed, options, show
from benchmarks.engine import FOLDER, item, order
from benchmarks.ground import MIB, ground, make_file, require, say
from benchmarks.jobs import ask
from benchmarks.nginx import Nginx
from benchmarks.stager import AGENT, Job, Report
from fleet.messages import Item
from tests.storage_support import BUCKET, KEYS, Buckets, strict
from workers.storage.s3 import Bucket, Place

SIZE = 3072 * MIB
SCRATCH = 256 * MIB
BESIDE = 12 * 1024  # what is kept of a file that comes
LARGEST = (SCRATCH - BESIDE, BESIDE + 128 * MIB, 128 * MIB, *(100 * MIB for _ in range(8)))
USUAL = 16 * MIB
LOOK_SECONDS = 0.005
WANTED = {
    "incomplete": ("<=", 0.0),
    "asked_of_the_refused": ("<=", 0.0),
    "scratch_peak": ("<=", float(SCRATCH)),
    "peak_memory_mb": ("<=", 256.0),
}


@dataclass
class Disk:
    """What lies in a folder at most, in bytes that the disk has given to files there."""

    folder: Path
    most: int = 0
    looks: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at it again and again."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(LOOK_SECONDS):
                self.most = max(self.most, self.used())
                self.looks += 1

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def used(self) -> int:
        """Say what lies there now."""
        blocks = dict[int, int]()
        for above, _, names in os.walk(self.folder):
            for name in names:
                try:
                    found = os.lstat(Path(above, name))
                except FileNotFoundError:  # it went meanwhile
                    continue
                blocks[found.st_ino] = found.st_blocks * 512
        return sum(blocks.values())


def artifacts(folder: Path, size: int, web: Nginx) -> Iterator[Item]:
    """Make the files of the shard, ``size`` bytes together, and one that is too large beside."""
    sizes = [one for one in LARGEST if sum(LARGEST) <= size]
    sizes += [USUAL] * ((size - sum(sizes)) // USUAL)
    for number, length in enumerate([*sizes, SCRATCH + MIB]):
        path = folder / f"{number}.bin"
        sha256 = make_file(path, length)
        yield item(path.name, web.url(path.name) + f"?run={number}", size=length, sha256=sha256)


def measure(folder: Path, size: int) -> dict[str, object]:
    """Stage it, and read back what came of it."""
    source, home, kept = folder / "source", folder / "home", folder / "bucket"
    source.mkdir()
    kept.mkdir()
    with Nginx(folder / "nginx", source, log=True) as web, strict(kept) as server:
        assert isinstance(server, Buckets)
        say(f"making {size // MIB} MiB")
        *good, large = artifacts(source, size, web)
        job = Job(
            order=order([*good, large], ("sha256",), shard="shard"),
            home=str(home),
            scratch=SCRATCH,
            endpoint=server.endpoint,
            bucket=BUCKET,
            key_id=KEYS.key_id,
            secret=KEYS.secret,
        )
        say("staging it")
        disk = Disk(home)
        with disk.watched():
            report = Report(**ask("benchmarks.stager", job))
        say("reading it back")
        incomplete = lacking(server.endpoint, good)
        asked = web.sent()[urlsplit(large.sources[0].url).query.removeprefix("run=")]
    return {
        "bytes": sum(one.size or 0 for one in good),
        "artifacts": len(good),
        "largest": max(one.size or 0 for one in good),
        "scratch": SCRATCH,
        "scratch_peak": disk.most,
        "looks": disk.looks,
        "left_in_scratch": disk.used(),
        "seconds": round(report.seconds, 2),
        "cpu_seconds": round(report.cpu_seconds, 2),
        "mb_per_second": round(report.bytes_fetched / 1e6 / report.seconds),
        "peak_memory_mb": round(report.peak_memory_mb, 1),
        "incomplete": incomplete,
        "refused": report.failed.get(large.artifact, ""),
        "asked_of_the_refused": asked,
    }


def lacking(endpoint: str, wanted: Sequence[Item]) -> int:
    """Count the files that the bucket does not have as they are."""
    bucket = Bucket(Place(endpoint, BUCKET, "", "us-east-1"), lambda: KEYS, AGENT)
    found = 0
    for one in wanted:
        digest = hashlib.sha256()
        for block in bucket.read(f"{FOLDER}/{one.path}"):
            digest.update(block)
        found += digest.hexdigest() == one.sha256
    return len(wanted) - found


def main() -> None:
    """Measure, and print what was found."""
    given = options(__doc__, f"bytes of the shard ({SIZE})").parse_args()
    size = given.size or SIZE
    require("nginx")
    with ground(2 * size + 2 * SCRATCH) as folder:
        result = measure(folder, size)
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
