"""The bytes that a site has uploaded this month, by BitTorrent and through its door.

Rules this module keeps:

- The count is on disk, in one file that is replaced as a whole, at most a few seconds old: a
  seeder that is killed has sent what it has sent.
- A file that cannot be read is refused aloud and left as it is.  The count of that month is then
  unknown until a person mends the file or the next month begins; it is never taken for nothing.
- Only an earlier month's count is forgotten: a clock that was set back does not empty it.
- A month that is further ahead than the next one was written under a wrong clock, or is read under
  one.  It is refused aloud too, and is unknown until the clock or a person has mended it.
"""

import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import structlog
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from fleet.messages import Bytes
from fleet.planning.uploads import month, next_month
from workers.seeder.cache import replace

SAVE_SECONDS: Final = 5.0
_MOST_BYTES: Final = 4096

_log = structlog.get_logger()


class _Count(BaseModel):
    model_config = ConfigDict(extra="forbid")

    month: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
    bittorrent: Bytes = 0
    door: Bytes = 0


class Tally:
    """One month's count, which begins anew with the next."""

    def __init__(self, path: Path, now: datetime) -> None:
        """Take up the count in the file at ``path``."""
        self._path = path
        self._saved_at = time.monotonic()
        self._dirty = False
        self._failed = False
        self._count = _Count(month=month(now))
        self._known = True
        self._ahead = False
        try:
            self._count = _read(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            self._known = False
            self._refuse(str(error))
        self._turn(now)

    @property
    def month(self) -> str:
        """The month that is counted."""
        return self._count.month

    @property
    def sent(self) -> int | None:
        """Bytes sent in it; None when that is not known."""
        known = self._known and not self._ahead
        return self._count.bittorrent + self._count.door if known else None

    def add(self, bittorrent: int, door: int, now: datetime) -> None:
        """Count bytes that were sent just now."""
        self._turn(now)
        if (bittorrent or door) and self._known and not self._ahead:
            self._count.bittorrent += bittorrent
            self._count.door += door
            self._dirty = True
        if self._dirty and time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        """Write the count down, and tell of it; a disk that fails is told of, once."""
        self._saved_at = time.monotonic()
        if not self._dirty:
            return
        try:
            replace(self._path, self._count.model_dump_json().encode(), durable=True)
        except OSError as error:
            if not self._failed:
                _log.warning("this month's uploads cannot be kept", reason=str(error))
            self._failed = True
            return
        self._dirty = self._failed = False

    def tell(self) -> None:
        """Tell of the count in the log, whence it can be had should the file be lost."""
        if self._known and not self._ahead:
            _log.info("uploads", **self._count.model_dump())

    def _turn(self, now: datetime) -> None:
        before, self._ahead = self._ahead, self._count.month > month(next_month(now))
        if self._ahead and not before:
            self._refuse(f"it counts {self._count.month}, and the clock says {month(now)}")
        if self._count.month < month(now):
            self.tell()
            self._count = _Count(month=month(now))
            self._known = self._dirty = True

    def _refuse(self, reason: str) -> None:
        _log.error(
            "this month's uploads are unknown",
            path=str(self._path),
            reason=reason,
            remedy="set the clock right; write what the log's last line 'uploads' of this month "
            'says into the file, as {"month": "2026-03", "bittorrent": 0, "door": 0}, or remove '
            "it to count from nothing; then restart the seeder",
        )


def _read(path: Path) -> _Count:
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES)
    try:
        return _Count.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))} {first['msg']}".strip()) from error
