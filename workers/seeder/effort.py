"""A fetch or a mend that the site's seeder carries out, as whoever asks for it drives it.

Rules this module keeps:

- What the seeder says is read within bounds, and believed only as far as it is sound.
- A budget, a pause and a stop of the lease reach the seeder within a second.  Where each host may
  only be asked so fast, all of them together are; where only so often, or where one is of a
  provider whose budget all sites share, web seeds are left alone, since libtorrent asks them as
  often as it likes.
- No byte for ``stall_seconds`` ends it, and so does less than ``LEAST_RATE`` over a few of these:
  whoever waits has other sources, and what is here is kept.  Bytes that were thrown away count for
  nothing.
"""

import json
import socket
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from fleet.messages import Bytes
from fleet.settings import SiteSettings
from workers.lease import Lease
from workers.seeder.control import MAX_LINE, socket_path
from workers.swarm import Span, Swarm

LISTEN_SECONDS: Final = 0.5
SILENCE_SECONDS: Final = 60.0
END_SECONDS: Final = 60.0
LEAST_RATE: Final = 16 * 1024
"""Bytes per second."""
FEW_STALLS: Final = 4


class SeederError(Exception):
    """The seeder cannot do it; the message says why."""


class WebSeedReport(BaseModel):
    """How one web seed behaved."""

    model_config = ConfigDict(frozen=True)

    url: str
    bytes: Bytes = 0
    error: str = ""
    evidence: str = ""


class Progress(BaseModel):
    """How it is going, as the seeder tells it.

    Attributes:
        folder: below the site's root, where a fetch writes.
        done: wanted bytes that are here; ``size``: of how many.
        payload: bytes that came, from peers and web seeds.
        fault: what a peer did wrong; ``evidence``: the proof of it.
        mended: pieces that a mend fetches anew; ``written``: the shard's bytes that are theirs.
    """

    model_config = ConfigDict(frozen=True)

    state: Literal["checking", "fetching", "done"]
    folder: str = ""
    done: Bytes = 0
    size: Bytes = 0
    peers: int = 0
    payload: Bytes = 0
    fault: str = ""
    evidence: str = ""
    web: tuple[WebSeedReport, ...] = ()
    mended: int = 0
    written: tuple[tuple[Bytes, Bytes], ...] = ()


class Effort:
    """One fetch or mend; use it as a context manager.

    What was fetched is served until it is left; then nothing is written any more, if it ``ended``.

    Attributes:
        ended: whether the seeder has let go of the files; False as well where it did not say so
            in time.
    """

    def __init__(
        self,
        settings: SiteSettings,
        lease: Lease,
        what: Literal["fetch", "mend"],
        swarm: Swarm,
        want: Sequence[Span],
    ) -> None:
        """Ask the site's seeder for the bytes ``want`` of a shard.

        Raises:
            SeederError: there is no seeder.
        """
        self.ended = False
        self._settings = settings
        self._lease = lease
        self._pending = b""
        self._wishes: dict[str, Any] = {}
        asked = {
            "do": what,
            "infohash": swarm.infohash,
            "peers": list(swarm.peers),
            "want": [list(span) for span in want],
            "ws": list(swarm.web_seeds),
            "web_seeds": _may_be_asked(lease, swarm.web_seeds),
        }
        self._link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._link.settimeout(SILENCE_SECONDS)
            self._link.connect(str(socket_path(settings)))
            self._say(asked | self._wished())
        except (OSError, ValueError) as error:
            self._link.close()
            raise self._away(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Have it end, and wait until it has, but not for ever."""
        deadline = time.monotonic() + END_SECONDS
        try:
            self._link.shutdown(socket.SHUT_WR)
            while (left := deadline - time.monotonic()) > 0:
                self._link.settimeout(left)
                if not self._link.recv(MAX_LINE):
                    self.ended = True
                    break
        except TimeoutError:
            pass
        except OSError:
            self.ended = True  # the seeder's process has ended
        finally:
            self._link.close()

    def run(self, told: Callable[[Progress], None]) -> Progress:
        """Drive it until it is done; give the last progress.

        Args:
            told: called with each progress.

        Raises:
            SeederError: it failed, or nothing came for too long.
            Stopped: the lease ended.
        """
        heard = time.monotonic()
        course = _Course(self._settings.stall_seconds, heard)
        while True:
            self._lease.check()
            wishes = self._wished()
            if wishes != self._wishes:
                self._say_on(wishes)
            progress, now = self._hear(), time.monotonic()
            if progress is None:
                if now - heard > SILENCE_SECONDS:
                    raise SeederError(f"the seeder of {self._settings.site} says nothing")
                continue
            heard = now
            told(progress)
            if progress.state == "done":
                return progress
            if progress.state == "checking" or wishes["paused"]:
                course.rest(progress.done, now)
            elif why := course.judge(progress.done, wishes["limit"], now):
                raise SeederError(_stalled(progress, why))

    def _wished(self) -> dict[str, Any]:
        """Say what the lease allows now."""
        budget = self._lease.budget
        rates = [budget.bytes_per_second, budget.source_bytes_per_second]
        limit = min((rate for rate in rates if rate is not None), default=None)
        return {"limit": limit, "paused": self._lease.paused or limit == 0}

    def _say_on(self, wishes: dict[str, Any]) -> None:
        try:
            self._say(wishes)
        except OSError as error:
            raise self._away(error) from error

    def _say(self, said: dict[str, Any]) -> None:
        self._link.sendall(json.dumps(said).encode() + b"\n")
        self._wishes = {key: said[key] for key in ("limit", "paused")}

    def _hear(self) -> Progress | None:
        """Read the next progress; None if there is none yet."""
        try:
            while b"\n" not in self._pending:
                if len(self._pending) > MAX_LINE:
                    raise SeederError("the seeder sent a line without end")
                self._link.settimeout(LISTEN_SECONDS)
                more = self._link.recv(MAX_LINE)
                if not more:
                    raise self._away(ConnectionError("it ended meanwhile"))
                self._pending += more
        except TimeoutError:
            return None
        except OSError as error:
            raise self._away(error) from error
        line, _, self._pending = self._pending.partition(b"\n")
        return _read(line)

    def _away(self, error: Exception) -> SeederError:
        why = str(error) or type(error).__name__
        return SeederError(f"the seeder of {self._settings.site} does not answer: {why}")


def _read(line: bytes) -> Progress:
    try:
        answer = json.loads(line)
        if isinstance(answer, dict) and answer.get("ok") is False:
            raise SeederError(str(answer.get("error"))[:500])
        return Progress.model_validate(answer)
    except (ValidationError, ValueError, RecursionError) as error:
        raise SeederError(f"the seeder's answer is malformed: {str(error)[:100]}") from error


class _Course:
    """Whether a fetch goes on: some bytes in each stall time, and enough of them in a few.

    What is here may become less, by a piece that did not match: only what was never here counts as
    come.
    """

    def __init__(self, seconds: float, now: float) -> None:
        """Begin with nothing at ``now``; nothing for ``seconds`` is a stall."""
        self._seconds = seconds
        self._done = self._most = 0
        self._moved = now
        self._since, self._had = now, 0

    def rest(self, done: int, now: float) -> None:
        """Begin anew, with so many bytes here: nothing could come."""
        self._done, self._most = done, max(self._most, done)
        self._moved = now
        self._since, self._had = now, self._most

    def judge(self, done: int, limit: int | None, now: float) -> str:
        """Say why it does not go on, with so many bytes here; empty if it does.

        Args:
            done: bytes that are here.
            limit: bytes per second that may come.
            now: by the monotonic clock.
        """
        self._most = max(self._most, done)
        if done != self._done:
            self._done, self._moved = done, now
        elif now - self._moved > self._seconds:
            return f"no byte came for {self._seconds:g} s"
        seconds = now - self._since
        if seconds > FEW_STALLS * self._seconds:
            came, least = self._most - self._had, LEAST_RATE
            if limit is not None:
                least = min(least, limit // 2)
            if came < least * seconds:
                return f"only {came} bytes came in {seconds:.3g} s"
            self._since, self._had = now, self._most
        return ""


def _may_be_asked(lease: Lease, web_seeds: Sequence[str]) -> bool:
    """Whether nobody counts what these web seeds are asked."""
    hosts = [urlsplit(url).netloc for url in web_seeds]
    counted = any(lease.quotas.limits(host) for host in hosts)
    return lease.budget.source_requests_per_second is None and not counted


def _stalled(progress: Progress, why: str) -> str:
    faults = [f"{one.url} failed: {one.error}" for one in progress.web if one.error][:2]
    return "; ".join([f"{why}, peers connected: {progress.peers}", *faults])
