"""What a machine's uplinks carry, and what of it were our own pulls.

Rules this module keeps:

- An uplink is an interface that a default route leads over; where none does, every one but the
  loopback is.  So what containers and bridges pass on to it is counted once.
- Each pull writes down how many bytes it has received, in a file of its own that it replaces; what
  it wrote stays when it ends, however it ends, until whoever counts has long seen it.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

PROC: Final = Path("/proc/net")
_KEPT_SECONDS: Final = 3600.0
_UP, _REJECT = 0x1, 0x200  # RTF_UP, RTF_REJECT


def carried(proc: Path = PROC) -> tuple[int, int]:
    """Return the bytes that came in and went out over the uplinks since the machine started.

    Raises:
        OSError: this system does not tell.
    """
    counts: dict[str, tuple[int, int]] = {}
    for line in (proc / "dev").read_text(encoding="ascii").splitlines():
        name, colon, numbers = line.partition(":")
        if colon and name.strip() != "lo":
            fields = numbers.split()
            counts[name.strip()] = int(fields[0]), int(fields[8])
    uplinks = (_routes(proc / "route") | _routes6(proc / "ipv6_route")) & counts.keys()
    chosen = [counts[name] for name in uplinks or counts]
    return sum(came for came, _ in chosen), sum(went for _, went in chosen)


def note_pulled(folder: Path, attempt: str, count: int) -> None:
    """Write down how many bytes an attempt has received; a disk that fails loses only that."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = quote(attempt, safe="")
        fresh = folder / f".{name}"
        fresh.write_text(str(count), encoding="ascii")
        fresh.replace(folder / f"pull-{name}")
    except OSError:
        return


@dataclass
class Pulled:
    """Adds up what the pulls of a site have received."""

    folder: Path
    _seen: dict[str, int] = field(default_factory=dict)

    def since(self) -> int:
        """Return the bytes that pulls have received since this was last asked."""
        grown = 0
        for path in sorted(self.folder.glob("pull-*")):
            try:
                count = int(path.read_text(encoding="ascii"))
                old = time.time() - path.stat().st_mtime > _KEPT_SECONDS
            except (OSError, ValueError):
                continue
            grown += max(0, count - self._seen.get(path.name, 0))
            self._seen[path.name] = count
            if old:
                path.unlink(missing_ok=True)
                self._seen.pop(path.name, None)
        return grown


def _routes(path: Path) -> set[str]:
    """Name the interfaces of IPv4's default routes."""
    if not path.exists():
        return set()
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()[1:]]
    return {
        row[0]
        for row in rows
        if len(row) > 7
        and int(row[1], 16) == 0 == int(row[7], 16)
        and int(row[3], 16) & (_UP | _REJECT) == _UP
    }


def _routes6(path: Path) -> set[str]:
    """Name the interfaces of IPv6's default routes."""
    if not path.exists():
        return set()
    rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    return {
        row[9]
        for row in rows
        if len(row) > 9
        and int(row[0], 16) == 0 == int(row[1], 16)
        and int(row[8], 16) & (_UP | _REJECT) == _UP
    }
