"""Our own engine as a contestant: a process of its own, ready before the clock starts.

An engine runs in a worker that has long been up, so its start is no part of what is measured;
of a peer the whole command is, since that is how it is used (they start within milliseconds).
"""

import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from fleet.messages import Digest, Item, Order, Source

HOME = Path(__file__).resolve().parent.parent
READY = "ready"
START_SECONDS = 60.0
PULL_SECONDS = 1200.0
FOLDER = "data"
STALL_SECONDS = 30.0


@dataclass(frozen=True)
class Task:
    """One pull: an order, as JSON, into ``root``.

    Attributes:
        known: v1 piece hashes end to end, as hex.
        cores: how many processor cores it may use, 0 for all.
        authority: a certificate to trust, in place of the usual authorities'.
        forgetful: where to keep what is durable, if the disk shall be one that forgets.
        boot: what this start of the machine is called, on such a disk.
    """

    order: Mapping[str, Any]
    root: str
    known: str = ""
    cores: int = 0
    authority: str = ""
    stall_seconds: float = STALL_SECONDS
    forgetful: str = ""
    boot: str = ""


@dataclass(frozen=True)
class Report:
    """What came of a task."""

    seconds: float
    peak_memory_mb: float
    bytes_fetched: int
    failed: list[str] = field(default_factory=list)
    sha256: list[str | None] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)


class Engine:
    """One process that pulls once; use it as a context manager."""

    def __enter__(self) -> Self:
        """Start the process and wait until it is ready.

        Raises:
            RuntimeError: it ended instead; what it complained of is on standard error.
        """
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("FLEET_")
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child"],
            cwd=HOME,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        if self._line(START_SECONDS) != READY:
            self.kill()
            raise RuntimeError("our own process did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def pull(self, task: Task) -> Report:
        """Do ``task`` to its end.

        Raises:
            RuntimeError: the process ended, or an item could not be had.
        """
        self.begin(task)
        report = self.report(PULL_SECONDS)
        if report is None:
            raise RuntimeError(f"our pull took more than {PULL_SECONDS:.0f} s")
        if report.failed:
            raise RuntimeError(f"our pull failed: {report.failed[0]}")
        return report

    def begin(self, task: Task) -> None:
        """Let the process begin ``task``."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(task)) + "\n")
        self._process.stdin.flush()

    def report(self, within: float) -> Report | None:
        """Wait for the task's end; None if ``within`` seconds do not see it.

        Raises:
            RuntimeError: the process ended without a report.
        """
        line = self._line(within)
        if line is None:
            return None
        if not line:
            raise RuntimeError("our own process ended before its pull did")
        return Report(**json.loads(line))

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()

    def _listen(self) -> None:
        """Hand over what the process prints, and an empty line at its end."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line.strip())
        self._lines.put("")

    def _line(self, within: float) -> str | None:
        try:
            return self._lines.get(timeout=within)
        except queue.Empty:
            return None


def item(path: str, *urls: str, size: int, sha256: str | None = None) -> Item:
    """Describe a file and where it can be had from."""
    return Item(
        artifact=hashlib.sha256(path.encode()).hexdigest()[:16],
        path=path,
        size=size,
        sha256=sha256,
        sources=tuple(Source(url=url) for url in urls),
    )


def order(items: Sequence[Item], digests: Sequence[Digest], **fields: Any) -> dict[str, Any]:
    """Order these items with these digests."""
    fields = {"shard": None, "piece_length": None, **fields}
    return Order(
        attempt="benchmark",
        fence=1,
        task="pull",
        site="here",
        lease_seconds=60.0,
        folder=FOLDER,
        items=tuple(items),
        digests=tuple(digests),
        max_bytes=1 << 50,
        **fields,
    ).model_dump(mode="json")
