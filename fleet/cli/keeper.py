"""Ends what a supervisor leaves behind when it is killed itself.

Rules this module keeps:

- The supervisor holds the only write end of the keeper's standard input, so that end of file
  means that it is gone, however it died.  A line lists the process groups it runs; one that
  begins with ``+`` adds a group, which tells of itself before its program runs.
- By then the kernel has asked each group's leader to end.  The keeper gives them their time and
  kills what is left: grandchildren, and leaders that did not listen.
- It runs by its path and imports the standard library only, so that it starts at once.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class Keeper:
    """The supervisor's side of the keeper."""

    def __init__(self, grace: float) -> None:
        """Prepare a keeper that gives programs ``grace`` seconds to end."""
        self._grace = grace
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: set[int] = set()

    def watch(self, groups: set[int]) -> None:
        """Tell the keeper which groups there are; start it when it is not there."""
        words = " ".join(map(str, sorted(groups)))
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(self._grace), words],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                bufsize=0,
                start_new_session=True,
            )
        elif groups != self._watched:
            assert self._process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # it has just died: the next call sees it
                self._process.stdin.write(f"{words}\n".encode())
        self._watched = set(groups)

    def announce(self) -> None:
        """Tell the keeper of the process that calls this, which leads a group and runs nothing yet.

        Its parent can only tell of it later, and may be killed before.
        """
        if self._process is None or self._process.stdin is None:
            return
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        with contextlib.suppress(OSError):  # the keeper has just died: the parent sees it
            os.write(self._process.stdin.fileno(), f"+{os.getpid()}\n".encode())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as a program that is started finds it

    def forget(self) -> None:
        """Tell the keeper the groups anew at the next call: what announced itself never ran."""
        self._watched = {-1}

    def dismiss(self) -> None:
        """Let the keeper go, once nothing is left to watch."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def alive(pid: int) -> bool:
    """Whether process ``pid`` exists; one that has ended and awaits its parent does not count."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(b")")[2].split()[0] not in {b"Z", b"X"}


def kill_group(group: int) -> None:
    """Kill all that is left of a process group, if anything is and it is ours."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def main(grace: float, words: str) -> None:
    """Wait for the supervisor's end; then see its groups end within ``grace`` seconds."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups = {int(word) for word in words.split()}
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line))
        else:
            groups = {int(word) for word in line.split()}
    deadline = time.monotonic() + grace
    while groups:
        late = time.monotonic() > deadline
        for group in sorted(groups):
            if late or not alive(group):
                kill_group(group)
                groups.remove(group)
        time.sleep(0.05)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2])
