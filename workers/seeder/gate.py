"""How fast the door may send.

Rules this module keeps:

- Bytes are granted before they are read, to all answers from one bucket.
- What is counted is what goes over the wire: the headers of packets are reckoned in, as libtorrent
  reckons them in for BitTorrent, and so is the head of each answer.  Only what is refused while
  nothing may go is answered without waiting.
- It has no limit until it is given one.  It belongs to the door's event loop; its limit may be set
  from any thread.
"""

import time
from datetime import UTC, datetime
from typing import Final

from workers.bucket import BURST_SECONDS, Bucket

PACKET: Final = 1460
"""Bytes of content in a packet of 1500."""
_HEADERS: Final = 40
HEAD: Final = 400
"""Bytes of an answer's head in its packets, about."""
_LATER: Final = 3600


class Gate:
    """What the door may send, and what it has sent."""

    def __init__(self) -> None:
        """Let everything through."""
        self.sent = 0
        self._pace: int | None = None
        self._until: datetime | None = None
        self._bucket = Bucket()

    def limit(self, pace: int | None, until: datetime | None) -> None:
        """Let through at most ``pace`` bytes per second: 0 is none, before ``until``."""
        self._pace, self._until = pace, until

    @property
    def shut(self) -> bool:
        """Whether nothing is let through."""
        return self._pace == 0

    @property
    def retry_after(self) -> int:
        """Seconds until it may open, at least one."""
        if self._until is None:
            return _LATER
        return max(1, int((self._until - datetime.now(UTC)).total_seconds()) + 1)

    def head(self) -> bool:
        """Count the head of an answer, if it may be sent now; False is not yet."""
        pace = self._pace
        if pace:
            if not self._bucket.most(pace, time.monotonic(), HEAD, _burst(pace)):
                return False
            self._bucket.use(HEAD)
        self.sent += HEAD
        return True

    def grant(self, count: int) -> int:
        """Say how many bytes of ``count`` may be sent now; 0 is none yet, or none at all."""
        pace = self._pace
        if pace == 0:
            return 0
        granted = int(self._bucket.most(pace, time.monotonic(), count, _burst(pace)))
        wire = granted + -(-granted // PACKET) * _HEADERS
        self._bucket.use(wire)
        self.sent += wire
        return granted


def _burst(pace: int | None) -> float:
    return max(1.0, pace * BURST_SECONDS) if pace else 0.0
