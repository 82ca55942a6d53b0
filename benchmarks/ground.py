"""Where benchmarks run: folders that are always removed, tools that must be there, sample files.

Rules this module keeps:

- What a benchmark makes lies in one folder, which goes when the benchmark ends, however it ends
  (only SIGKILL and a power cut leave it behind).
- Files to be measured lie in memory, if there is room, so that no disk is measured by accident.
"""

import hashlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1024 * 1024
MEMORY = Path("/dev/shm")  # noqa: S108 - what lies below has a name of its own
DISK = Path("/var/tmp")  # noqa: S108 - what lies below has a name of its own
SPARE = 1024 * MIB  # what the machine needs besides our files
BLOCK = 16 * MIB
SHIFT = 4099
PACKAGES = {"aria2c": "aria2", "sha256sum": "coreutils", "md5sum": "coreutils"}


def require(*tools: str) -> None:
    """Leave with exit code 2 if a tool is missing, and say which package of Debian's has it."""
    missing = [tool for tool in tools if not tool_path(tool)]
    for tool in missing:
        package = PACKAGES.get(tool, tool)
        print(f"{tool} is missing; Debian has it: apt-get install {package}", file=sys.stderr)
    if missing:
        sys.exit(2)


def tool_path(tool: str) -> str | None:
    """Find a command, those that Debian keeps from the PATH of ordinary users included."""
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def ground(room: int) -> Iterator[Path]:
    """Lend a folder in memory, or where temporary files go if ``room`` bytes do not fit there."""
    fits = MEMORY.is_dir() and room + SPARE < min(shutil.disk_usage(MEMORY).free, _free_memory())
    if not fits:
        say(f"{MEMORY} has no room for {room // MIB} MiB: a disk takes part in what is measured")
    with scratch(MEMORY if fits else Path(tempfile.gettempdir())) as folder:
        yield folder


@contextmanager
def scratch(where: Path) -> Iterator[Path]:
    """Lend a folder below ``where``; Ctrl-C, SIGTERM and SIGHUP end the benchmark and remove it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(
        prefix="fleet-bench-", dir=where, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def make_file(path: Path, size: int) -> str:
    """Write ``size`` bytes that repeat nowhere at the same offset of a block.

    Returns:
        Their sha256, as hex.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    noise, digest = os.urandom(BLOCK), hashlib.sha256()
    with path.open("wb") as file:
        for number, at in enumerate(range(0, size, BLOCK)):
            turn = number * SHIFT % BLOCK
            block = (noise[turn:] + noise[:turn])[: size - at]
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def warm(folder: Path, size: int) -> None:
    """Let ``size`` bytes of memory be the machine's own, for whoever writes into ``folder`` next.

    The host of a virtual machine takes free pages back within seconds, and to get one again costs
    more than to fill it: the first write of 2 GiB into memory took 3.3 s, the next 0.95 s.
    """
    path, block = folder / ".warm", bytes(BLOCK)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size, BLOCK):
            file.write(block)
    path.unlink()


def sha256_of(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def empty(folder: Path) -> Path:
    """Make ``folder`` anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(text, file=sys.stderr, flush=True)


def _free_memory() -> int:
    """Bytes that the machine could still give to files in memory."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 0
