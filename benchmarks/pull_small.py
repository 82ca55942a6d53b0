"""Ten thousand small files: Fleet beside aria2, rclone and curl, each followed by sha256sum.

nginx serves 10,000 files of 16 KiB over loopback from memory; everyone writes them to memory, and
in the end each one's sha256 was compared.  Fleet does so in passing; after the others runs
`sha256sum --check`.  Then the same on a disk, beside curl: there the files, and their names, must
be durable in the end, for which the last command after curl is `sync`.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import peers
from benchmarks.contest import ROUNDS, Contest, missed, options, show
from benchmarks.engine import FOLDER, Engine, Task, item, order
from benchmarks.ground import DISK, empty, ground, require, scratch
from benchmarks.nginx import Nginx
from fleet.messages import Item

FILES = 10_000
FILE_SIZE = 16 * 1024
WANTED = {
    "vs_aria2": (">=", 2.0),
    "vs_rclone": (">=", 1.2),
    "vs_curl": (">=", 1.0),
}


@dataclass(frozen=True)
class Bucket:
    """Small files, as each contestant wants them listed."""

    base: str
    items: list[Item]
    folder: Path

    @property
    def curl_config(self) -> Path:
        """Curl's list."""
        return self.folder / "curl.txt"

    @property
    def aria2_list(self) -> Path:
        """aria2's list."""
        return self.folder / "aria2.txt"

    @property
    def sums(self) -> Path:
        """The list of sha256sum."""
        return self.folder / "sums.txt"

    def write(self) -> None:
        """Write the lists."""
        names = [item.path for item in self.items]
        urls = [item.sources[0].url for item in self.items]
        sums = "".join(f"{item.sha256}  {item.path}\n" for item in self.items)
        self.curl_config.write_text(peers.curl_config(urls, names), encoding="ascii")
        self.aria2_list.write_text(peers.aria2_list(urls, names), encoding="ascii")
        self.sums.write_text(sums, encoding="ascii")


def make_files(folder: Path, count: int) -> dict[str, str]:
    """Write ``count`` files; return their sha256 by name."""
    found = {}
    for number in range(count):
        body, name = os.urandom(FILE_SIZE), f"{number:06}.bin"
        (folder / name).write_bytes(body)
        found[name] = hashlib.sha256(body).hexdigest()
    return found


def ours(bucket: Bucket, folder: Path) -> float:
    """Pull all files with one call; what it reports as well is durable."""
    task = Task(order(bucket.items, ["sha256"]), str(folder / "site"))
    with Engine() as engine:
        seconds = engine.pull(task).seconds
    if len(list((folder / "site" / FOLDER).iterdir())) != len(bucket.items):
        raise RuntimeError("our pull left files out")
    return seconds


def theirs(bucket: Bucket, fetch: peers.Command, folder: Path) -> float:
    """Fetch all files with a peer, then check them."""
    return peers.timed(folder, fetch, peers.sha256sum_check(bucket.sums))


def curl_durably(bucket: Bucket, disk: Path, _: Path) -> float:
    """Fetch and check all files on a disk, then sync them."""
    folder = empty(disk / "curl")
    fetch, check = peers.curl_many(bucket.curl_config), peers.sha256sum_check(bucket.sums)
    return peers.timed(folder, fetch, check, peers.sync(folder))


def ours_durably(bucket: Bucket, disk: Path, _: Path) -> float:
    """Pull all files on a disk."""
    return ours(bucket, empty(disk / "ours"))


def enter(contest: Contest, bucket: Bucket, disk: Path) -> None:
    """Let everyone into the contest."""
    contest.add("fleet", partial(ours, bucket))
    contest.add("curl, sha256sum", partial(theirs, bucket, peers.curl_many(bucket.curl_config)))
    contest.add("aria2, sha256sum", partial(theirs, bucket, peers.aria2_many(bucket.aria2_list)))
    contest.add("rclone, sha256sum", partial(theirs, bucket, peers.rclone_many(bucket.base)))
    contest.add("fleet, durable on disk", partial(ours_durably, bucket, disk))
    contest.add("curl, sha256sum, sync on disk", partial(curl_durably, bucket, disk))


def found(contest: Contest, files: int) -> dict[str, object]:
    """Work out the figures."""
    return {
        "files": files,
        "file_size": FILE_SIZE,
        "vs_aria2": contest.ratio("aria2, sha256sum", "fleet"),
        "vs_rclone": contest.ratio("rclone, sha256sum", "fleet"),
        "vs_curl": contest.ratio("curl, sha256sum", "fleet"),
        "vs_curl_on_disk": contest.ratio("curl, sha256sum, sync on disk", "fleet, durable on disk"),
        "files_per_second": {name: round(files / taken) for name, taken in contest.medians.items()},
        "seconds": contest.medians,
    }


def main() -> None:
    """Hold the contest and print what it found."""
    given = options(__doc__, f"files ({FILES})").parse_args()
    require("nginx", "curl", "aria2c", "rclone", "sha256sum")
    files = given.size or FILES
    with ground(3 * files * FILE_SIZE) as folder, scratch(DISK) as disk:
        served = empty(folder / "www" / "bucket")
        sums = make_files(served, files)
        with Nginx(folder / "nginx", folder / "www") as server:
            base = server.url("bucket/")
            items = [
                item(name, base + name, size=FILE_SIZE, sha256=sha256)
                for name, sha256 in sums.items()
            ]
            bucket = Bucket(base, items, folder)
            bucket.write()
            contest = Contest(folder / "arena")
            enter(contest, bucket, disk)
            contest.hold(given.rounds or ROUNDS)
    result = found(contest, files)
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
