"""One process of a supervised tree: how it is started, and how its end is seen.

Rules this module keeps:

- A process runs in a session of its own, so that Ctrl-C in a terminal does not reach it, and so
  that what is left of it can be killed as one group.
- The kernel asks it to end when the process that started it dies (PR_SET_PDEATHSIG, prctl(2)).
"""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from fleet.cli.keeper import kill_group

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def spawn(
    argv: tuple[str, ...], env: Mapping[str, str], log: Path, announce: Callable[[], None]
) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one; append its output to ``log``.

    It calls ``announce`` itself, before it runs ``argv``.

    Raises:
        RuntimeError: called outside the main thread, whose end the kernel watches.
        OSError: it cannot be started, or its log cannot be written.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("programs must be started from the main thread")
    parent = os.getpid()

    def end_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)
        announce()

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Nothing in it takes a lock, so that other threads of this process cannot block it.
            preexec_fn=end_with_parent,  # noqa: PLW1509 - see above
        )


def reap(process: subprocess.Popen[bytes]) -> str | None:
    """How a process ended, with what is left of its group killed; None while it runs.

    The group is killed before its leader is reaped: until then its number cannot be another's.
    """
    if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        return None
    kill_group(process.pid)
    code = process.wait()
    return f"exited with code {code}" if code >= 0 else f"killed by {_name(-code)}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
