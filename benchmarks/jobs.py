"""One job for one process: so memory and processor time are those of that job alone.

The process is ready once it has imported everything and says so; then it reads its job from its
standard input, does it, and prints one report.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.engine import HOME, READY


def ask(module: str, job: Any) -> dict[str, Any]:
    """Have a process that runs ``module`` do a job, a dataclass; return what it reports.

    Raises:
        RuntimeError: it failed.
    """
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=HOME,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        told, _ = process.communicate(json.dumps(asdict(job)) + "\n")
    if process.returncode:
        raise RuntimeError(f"{module} failed; see above why")
    report: dict[str, Any] = json.loads(told)
    return report


def answer(do: Callable[[dict[str, Any]], Any]) -> None:
    """Be that process: ``do`` gets the job's fields, and returns a dataclass."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints, prints elsewhere
    print(READY, file=answers, flush=True)
    if line := sys.stdin.readline():
        print(json.dumps(asdict(do(json.loads(line)))), file=answers, flush=True)
