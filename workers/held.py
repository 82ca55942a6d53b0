"""A lease that the centre gave: renewed from a thread of its own while the work goes on."""

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from fleet.messages import Heartbeat, Order
from workers.centre import Centre, CentreAway, CentreRefused
from workers.lease import Lease, Stopped
from workers.uplinks import note_pulled

_log = structlog.get_logger()


class HeldLease(Lease):
    """Heartbeats three times a lease; goes on working while the centre is away."""

    def __init__(
        self,
        order: Order,
        centre: Centre,
        asked: float | None = None,
        pulled: Path | None = None,
    ) -> None:
        """Hold the lease that came with ``order``; use it as a context manager.

        Args:
            order: what was claimed.
            centre: where to renew it.
            asked: when it was claimed, of ``time.monotonic``.
            pulled: where what was received is written down; None if nothing is.
        """
        super().__init__(order.budget, asked)
        self._order = order
        self._centre = centre
        self._pulled = pulled if order.task == "pull" else None
        self._seconds = order.lease_seconds
        self._renewed = time.monotonic() if asked is None else asked
        self._ended = threading.Event()
        self._paused = False
        self._stop = ""
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._note()

    @property
    def paused(self) -> bool:
        """Whether the centre wants no more bytes asked for."""
        return self._paused

    def check(self) -> None:
        """Return if the work may go on.

        Raises:
            Stopped: the centre wants it to end.
        """
        if self._stop:
            raise Stopped(self._stop)

    def check_live(self) -> None:
        """Return if the lease lasts still, of which no more is known than the centre's last answer.

        Raises:
            Stopped: the centre wants it to end, or was not heard for a lease.
        """
        self.check()
        if time.monotonic() - self._renewed >= self._seconds:
            raise Stopped(f"the centre was not heard for {self._seconds:g} s, a whole lease")

    def _beat(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            self._note()
            asked = time.monotonic()
            wants, throttled = self.quotas.demands(asked)
            beat = Heartbeat(
                fence=self._order.fence,
                bytes_done=self.bytes_done,
                note=self.note,
                wants=wants,
                throttled=throttled,
            )
            try:
                answer = self._centre.heartbeat(self._order.attempt, beat)
            except CentreAway as error:
                _log.warning("centre away, going on", reason=str(error))
                self.quotas.put_back(throttled)
                continue
            except CentreRefused as error:
                self._stop = str(error)
                return
            self._renewed, self._seconds = asked, answer.lease_seconds
            self.budget = answer.budget
            self.quotas.hear(answer.budget.shares, asked, time.monotonic())
            self._paused = answer.action == "pause"
            if answer.action == "stop":
                self._stop = answer.reason or "the centre said stop"
                return

    def _note(self) -> None:
        if self._pulled is not None:
            note_pulled(self._pulled, self._order.attempt, self.bytes_done)
