"""Processes that are killed before each thing that they do to a disk, and done again."""

import os
import signal
import sys
from collections.abc import Callable, Iterator

from tests.storage_kills import run

CHANGES = {
    "os.chmod",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
    "tempfile.mkstemp",
}


def killed_at_each_change(
    call: Callable[..., None], *given: object, apart: int = 1
) -> Iterator[bool]:
    """Run a call in processes of their own, each killed some changes of the disk later.

    Tells of each whether it was killed; the last one was not.
    """
    at, died = 1 - apart, True
    while died:
        at += apart
        process = run(_killed, at, call, *given)
        died = process.exitcode == -signal.SIGKILL
        assert died or process.exitcode == 0, process.exitcode
        yield died


def _killed(at: int, call: Callable[..., None], *given: object) -> None:
    """Run a call, and kill this process before its change number ``at``."""
    count = 0

    def watch(event: str, details: tuple[object, ...]) -> None:
        nonlocal count
        if event in CHANGES or (event == "open" and _writes(details)):
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    call(*given)


def _writes(details: tuple[object, ...]) -> bool:
    flags = details[2] if len(details) > 2 else 0
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
