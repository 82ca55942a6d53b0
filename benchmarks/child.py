"""The process that pulls when a benchmark measures us: `python -m benchmarks.child`.

It pulls what a ``Task`` says (see ``jobs``).
"""

import os
import signal
import time
from pathlib import Path

import certifi

from benchmarks.engine import Report, Task
from benchmarks.forgetful import watch_syncs
from benchmarks.jobs import answer
from fleet.messages import Order
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.pull import pull
from workers.storage.posix import PosixStorage


def main() -> None:
    """Do one task."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the benchmark decides when we end
    answer(lambda told: _do(Task(**told)))


def _do(task: Task) -> Report:
    root = Path(task.root)
    if task.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-task.cores :])
    if task.forgetful:
        watch_syncs(root, Path(task.forgetful), task.boot)
    if task.authority:
        certifi.where = lambda: task.authority
    order = Order.model_validate(task.order)
    settings = SiteSettings(
        site="here",
        home=root.parent,
        root=root,
        allow_networks="127.0.0.0/8",
        stall_seconds=task.stall_seconds,
    )
    storage, lease, known = PosixStorage(root), Lease(order.budget), bytes.fromhex(task.known)
    started = time.perf_counter()
    work = pull(order, storage, lease, settings=settings, known=known)
    seconds = time.perf_counter() - started
    return Report(
        seconds=seconds,
        peak_memory_mb=peak_memory() / 1e6,
        bytes_fetched=work.bytes_fetched,
        failed=[f"{item.artifact}: {item.reason}" for item in work.items if not item.ok],
        sha256=[item.sha256 for item in work.items],
        sources=[source.model_dump() for source in work.sources],
    )


def peak_memory() -> int:
    """Bytes of memory that this process held at most.

    Not ``ru_maxrss``: that one counts what our parent held when it started us.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    return 0


if __name__ == "__main__":
    main()
