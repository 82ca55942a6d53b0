"""Keeping a site's uploads within its caps, by BitTorrent and through the door together.

Rules this module keeps:

- Each second what both sent is counted, and both are told what they may send in the next: their
  shares make up the rate and no more.  So the rate holds over every second, and the month's last
  bytes are not overrun by more than what was already on its way.
- Caps that are not known let nothing out.
- Every change is told once in the log, with its reason and its end.
"""

import threading
import time
from datetime import UTC, datetime
from typing import Final

import structlog

from fleet.messages import UploadCaps, UploadReport
from fleet.planning.facts import WindowFacts
from fleet.planning.uploads import Allowance, Caps, Hours, allow, share
from workers.seeder.gate import Gate
from workers.seeder.session import Session
from workers.seeder.tally import Tally

TELL_SECONDS: Final = 3600.0
_UNKNOWN: Final = Allowance(0, None, "the caps are not known until the centre is heard of", None)

_log = structlog.get_logger()


class Uploads:
    """What may be uploaded now, and what was this month."""

    def __init__(self, session: Session, gate: Gate | None, tally: Tally) -> None:
        """Govern ``session`` and, if there is a door, its ``gate``, and count into ``tally``."""
        self._session = session
        self._gate = gate
        self._tally = tally
        self._lock = threading.Lock()
        self._at = self._told_at = time.monotonic()
        self._sent = (0, 0)
        self._shares = (0, 0)
        self._caps: UploadCaps | None = None
        self._allowance: Allowance | None = None

    def step(self, caps: UploadCaps | None) -> None:
        """Count what was sent since the last step, and set what may be from now on.

        Args:
            caps: the site's; None when they are not known.
        """
        with self._lock:
            now = datetime.now(UTC)
            used = self._count(now)
            allowance = _UNKNOWN if caps is None else allow(_plain(caps), self._tally.sent, now)
            self._grant(allowance, used)
            before = self._allowance
            self._caps, self._allowance = caps, allowance
            if before is None or before.bytes_per_second != allowance.bytes_per_second:
                until = allowance.until.isoformat() if allowance.until else None
                _log.info("upload rate", reason=allowance.reason, until=until)
            if time.monotonic() - self._told_at >= TELL_SECONDS:
                self._told_at = time.monotonic()
                self._tally.tell()

    def close(self) -> None:
        """Count what was sent last, and keep it."""
        with self._lock:
            self._count(datetime.now(UTC))
            self._tally.save()
            self._tally.tell()

    @property
    def sent(self) -> int:
        """Bytes that this run has sent in all, as of the last step."""
        return sum(self._sent)

    @property
    def report(self) -> UploadReport:
        """What was sent this month, and what may be sent as of the last step."""
        allowance = self._allowance or _UNKNOWN
        return UploadReport(
            month=self._tally.month,
            sent=self._tally.sent,
            bytes_per_month=self._caps.bytes_per_month if self._caps else None,
            bytes_per_second=allowance.bytes_per_second,
            reason=allowance.reason,
            until=allowance.until,
        )

    def _count(self, now: datetime) -> tuple[int, int]:
        """Count what both ways sent; return it for one second."""
        at = time.monotonic()
        seconds, self._at = max(at - self._at, 0.001), at
        sent = (self._session.sent(), self._gate.sent if self._gate else 0)
        fresh = (sent[0] - self._sent[0], sent[1] - self._sent[1])
        self._sent = sent
        self._tally.add(*fresh, now)
        return int(fresh[0] / seconds), int(fresh[1] / seconds)

    def _grant(self, allowance: Allowance, used: tuple[int, int]) -> None:
        """Tell both ways what they may send."""
        pace = allowance.pace
        if not pace:
            self._shares = (0, 0)
            self._session.limit(pace)
            if self._gate:
                self._gate.limit(pace, allowance.until)
            return
        self._shares = share(pace, used, self._shares) if self._gate else (pace, 0)
        # a share of nothing would shut what is only to wait
        self._session.limit(max(1, self._shares[0]))
        if self._gate:
            self._gate.limit(max(1, self._shares[1]), allowance.until)


def _plain(caps: UploadCaps) -> Caps:
    """Give planning the caps in its own words."""
    hours = tuple(
        Hours(WindowFacts(one.timezone, one.opens, one.closes), one.bytes_per_second)
        for one in caps.hours
    )
    return Caps(caps.bytes_per_second, caps.bytes_per_month, hours)
