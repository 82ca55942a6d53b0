"""One large file into a bucket, by a node that staged it, beside obstore alone.

Fleet sends each part with the md5 that the pull left, looks what is there before and after, and
could go on where it was broken off; obstore sends the file.  Both run as processes that are up,
with parts of 16 MiB, turn by turn, against our strict server, ``rclone serve s3`` and moto, which
keeps what it is sent in memory and gets an eighth of it.
"""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from benchmarks.contest import ROUNDS, Contest, missed, options, show
from benchmarks.ground import MIB, ground, say
from benchmarks.jobs import ask
from benchmarks.uploader import AGENT, PART, Job, Report
from tests.storage_support import BUCKET, KEYS, Buckets, aws, moto, rclone
from workers.storage.s3 import Bucket, Place

SIZE = 2048 * MIB
SERVERS = {"strict": aws, "rclone": rclone, "moto": moto}
IN_MEMORY = 8  # part of the file that moto gets
WANTED = {"vs_obstore": (">=", 0.9), "peak_memory_mb": ("<=", 200.0)}


@dataclass(frozen=True)
class Staged:
    """A file as a node has it before it is written to a bucket."""

    file: Path
    size: int
    sha256: str
    parts: str

    @classmethod
    def make(cls, file: Path, size: int) -> Self:
        """Make one of at least two parts."""
        whole, parts = hashlib.sha256(), []
        with file.open("wb") as made:
            for number in range(max(2, size // PART)):
                block = hashlib.shake_256(b"%d" % number).digest(PART)
                made.write(block)
                whole.update(block)
                parts.append(hashlib.md5(block, usedforsecurity=False).hexdigest())
        return cls(file, len(parts) * PART, whole.hexdigest(), "".join(parts))


def measure(folder: Path, size: int, rounds: int) -> dict[str, object]:
    """Upload to each server by both, turn by turn."""
    found: dict[str, dict[str, float]] = {}
    peaks: list[float] = []
    for name, serve in SERVERS.items():
        home = folder / name
        home.mkdir()
        staged = Staged.make(folder / "staged", size // IN_MEMORY if name == "moto" else size)
        say(f"{name}: {staged.size // MIB} MiB")
        with serve(home) as server:
            assert isinstance(server, Buckets)
            contest = Contest(folder / "ground")
            for who in ("fleet", "obstore"):
                contest.add(who, partial(_run, who, server.endpoint, staged, peaks))
            contest.hold(rounds)
        found[name] = {
            "vs_obstore": contest.ratio("obstore", "fleet"),
            "mb_per_second": round(staged.size / 1e6 / contest.median("fleet")),
            **contest.medians,
        }
    return {
        "size": size,
        "vs_obstore": min(one["vs_obstore"] for one in found.values()),
        "peak_memory_mb": round(max(peaks), 1),
        **found,
    }


def _run(who: str, endpoint: str, staged: Staged, peaks: list[float], _folder: Path) -> float:
    """Upload once, and remove what came of it."""
    path = f"{who}.bin"
    job = Job(
        who=who,
        endpoint=endpoint,
        bucket=BUCKET,
        key_id=KEYS.key_id,
        secret=KEYS.secret,
        path=path,
        file=str(staged.file),
        size=staged.size,
        sha256=staged.sha256,
        parts=staged.parts,
    )
    report = Report(**ask("benchmarks.uploader", job))
    if who == "fleet":
        peaks.append(report.peak_memory_mb)
    Bucket(Place(endpoint, BUCKET, "", "us-east-1"), lambda: KEYS, AGENT).remove(path)
    return report.seconds


def main() -> None:
    """Measure, and print what was found."""
    given = options(__doc__, f"bytes of the file ({SIZE})").parse_args()
    size = given.size or SIZE
    with ground(3 * size) as folder:
        result = measure(folder, size, given.rounds or ROUNDS)
    show({**result, "missed": missed(result, WANTED)}, WANTED, as_json=given.json)


if __name__ == "__main__":
    main()
