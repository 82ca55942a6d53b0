"""Downloads whose process is killed at a random moment, once each, and then started anew.

What was fetched twice is measured at the server: body bytes that nginx sent for a download, less
the file's size.  nginx counts what it gave to the kernel, so bytes on their way when the process
died count as fetched twice; its send buffers are kept small (``SNDBUF``), the receive buffers
are the engine's own.

After a power cut, which is a kill on a disk that forgets (``benchmarks.forgetful``), the machine
counts as started anew.  In every second download the sha256 is not known beforehand, as with an
ingest: then nothing but the journal keeps the engine from publishing a wrong file.
"""

import secrets
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from benchmarks.engine import FOLDER, Engine, Report, Task, item, order
from benchmarks.forgetful import Kind, cut_power
from benchmarks.ground import MIB, empty, make_file, say, sha256_of
from benchmarks.nginx import Nginx

NAME = "file.bin"
SNDBUF = 128 * 1024
SLOW = 8 * MIB  # bytes per second and connection before a power cut, so that there is time to sync
KINDS: tuple[Kind, ...] = ("lost", "garbled")


@dataclass(frozen=True)
class Downloads:
    """What came of them all: bytes sent for them by the server, and how many ended wrong."""

    count: int
    size: int
    sent: int
    wrong: int

    @property
    def twice(self) -> float:
        """Bytes fetched twice, by the bytes of all files."""
        whole = self.count * self.size
        return round((self.sent - whole) / whole, 5)


@dataclass(frozen=True)
class Course:
    """Where downloads are killed.

    Attributes:
        folder: for one download at a time.
        forgetful: whether a kill is a power cut.
    """

    server: Nginx
    folder: Path
    size: int
    sha256: str
    forgetful: bool
    dice: Random

    def task(self, number: int) -> Task:
        """Make the task of one download."""
        sha256 = self.sha256 if number % 2 else None
        url = f"{self.server.url(NAME)}?run={number}"
        wanted = order([item(NAME, url, size=self.size, sha256=sha256)], ["sha256"])
        empty(self.folder)
        task = Task(wanted, str(self.folder / "site"))
        if not self.forgetful:
            return task
        return replace(task, forgetful=str(empty(self.folder / "durable")), boot="first")

    def undisturbed(self) -> float:
        """Measure how long a download takes that nobody kills, in seconds."""
        with Engine() as engine:
            return engine.pull(self.task(1)).seconds

    def killed(self, task: Task, moment: float) -> bool:
        """Begin a download and kill it after ``moment`` seconds; False if it was done before."""
        with Engine() as engine:
            engine.begin(task)
            report = engine.report(moment)
        return report is None

    def resumed(self, task: Task) -> bool:
        """Finish a download that was killed; say whether what came is right."""
        final = Path(task.root) / FOLDER / NAME
        if self.forgetful:
            kind = self.dice.choice(KINDS)
            cut_power(Path(task.root), Path(task.forgetful), kind, self.dice)
            task = replace(task, boot="second")
        whole_before = not final.exists() or sha256_of(final) == self.sha256
        with Engine() as engine:
            report = engine.pull(task)
        return whole_before and self._right(report, final)

    def _right(self, report: Report, final: Path) -> bool:
        return report.sha256 == [self.sha256] and sha256_of(final) == self.sha256


def kill_each(folder: Path, size: int, count: int, *, forgetful: bool = False) -> Downloads:
    """Kill each of ``count`` downloads of ``size`` bytes once; ``folder`` is for all they need."""
    seed = secrets.randbits(32)
    say(f"{count} {'power cuts' if forgetful else 'kills'}, moments by seed {seed}")
    dice, wrong = Random(seed), 0  # noqa: S311 - to be repeated, no secret
    counted: list[str] = []
    sha256 = make_file(folder / "www" / NAME, size)
    rate = SLOW if forgetful else 0
    with Nginx(folder / "nginx", folder / "www", sndbuf=SNDBUF, rate=rate, log=True) as server:
        course = Course(server, folder / "course", size, sha256, forgetful, dice)
        usual, number = course.undisturbed(), 1
        while len(counted) < count:
            number += 1
            task, moment = course.task(number), dice.uniform(0.0, usual)
            if not course.killed(task, moment):
                continue
            right = course.resumed(task)
            wrong += not right
            counted.append(str(number))
            say(f"  killed after {moment:.2f} s of {usual:.2f}: {'right' if right else 'WRONG'}")
        sent = server.sent()
    return Downloads(count, size, sum(sent[run] for run in counted), wrong)
