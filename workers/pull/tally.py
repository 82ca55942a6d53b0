"""How each host behaved during an attempt; safe to use from several threads."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from urllib.parse import unquote

import httpx

from fleet.messages import Source, SourceReport
from workers.pull.faults import Busy, Fault, Local, OtherSize, Passing, Worthless
from workers.pull.web.addresses import host_of, shown

DELAYS = 3


@dataclass
class Tally:
    """One host's counters.

    ``seconds`` is the time during which it was answering us, our own waits left out.  ``lost``
    counts the items in a row that gave it up because it could not be reached, ``delays`` how often
    in a row it put us off.  Before ``ready_at`` it is not asked; ``out`` is why it is left alone
    for the rest of the attempt.  ``streams`` is how many answers of it are being read now.
    ``lies`` are the URLs that it sent the wrong bytes of, each with the proof; if it is ``strict``,
    the first one is the last that it is asked.
    ``throttled`` counts its answers 429 and 503, ``retry_after`` is the longest wait it asked for.
    """

    host: str
    site: str | None
    bytes: int = 0
    seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    evidence: str = ""
    lost: int = 0
    ready_at: float = 0.0
    delays: int = 0
    out: Fault | None = None
    streams: int = 0
    throttled: int = 0
    retry_after: float | None = None
    strict: bool = False
    lies: dict[str, str] = field(default_factory=dict)
    _heard: int = 0
    _latency: float = 0.0
    _since: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count one request and the time that its answer takes, several at once only once."""
        with self._lock:
            self.requests += 1
            if not self.streams:
                self._since = monotonic()
            self.streams += 1
        try:
            yield
        finally:
            with self._lock:
                self.streams -= 1
                if not self.streams:
                    self.seconds += monotonic() - self._since

    def heard(self, seconds: float) -> None:
        """Count the seconds until an answer began."""
        with self._lock:
            self._heard, self._latency = self._heard + 1, self._latency + seconds

    def asked(self, count: int) -> None:
        """Count requests that were sent ahead."""
        with self._lock:
            self.requests += count

    def came(self, count: int) -> None:
        """Count body bytes."""
        with self._lock:
            self.bytes += count

    def waited(self, seconds: float) -> None:
        """Leave out a wait of our own, which is no fault of the host."""
        with self._lock:
            self.seconds -= seconds / max(self.streams, 1)

    def answered(self) -> None:
        """Note that it is there, and has answered."""
        self.lost = self.delays = 0

    def rest(self, fault: Passing, now: float, until: float) -> None:
        """Ask it nothing until then; if it put us off ``DELAYS`` times in a row, nothing more.

        What it says to several requests at once counts once.
        """
        with self._lock:
            if fault.wait and now >= self.ready_at:
                self.delays += 1
                if self.delays >= DELAYS:
                    self.out = self.out or fault
            self.ready_at = max(self.ready_at, until)

    def strained(self, fault: Fault) -> None:
        """Count it if the host said, or let see, that we ask too much."""
        with self._lock:
            self.throttled += fault.throttled
            if fault.asks is not None:
                self.retry_after = max(fault.asks, self.retry_after or 0.0)

    def blame(self, fault: Fault, evidence: str = "", url: str = "") -> None:
        """Count a fault of the host, with the proof if it sent wrong bytes (of ``url``).

        One that wants to be left alone for long is, from now on.
        """
        if isinstance(fault, Local):
            return
        if isinstance(fault, Busy):
            self.out = self.out or fault
        with self._lock:
            self.errors += 1
            self.last_error = str(fault)
            self.evidence = evidence or self.evidence
            if url and isinstance(fault, Worthless | OtherSize):
                self.lies.setdefault(url, evidence or str(fault))
                if self.strict:
                    self.out = self.out or fault

    def add(self, later: "Tally") -> None:
        """Add what was counted of it in another pull."""
        with self._lock:
            self.bytes += later.bytes
            self.seconds += later.seconds
            self.requests += later.requests
            self.errors += later.errors
            self.last_error = later.last_error or self.last_error
            self.evidence = later.evidence or self.evidence
            self.lies |= later.lies

    def report(self) -> SourceReport:
        """Give the counters as they are told to the centre."""
        return SourceReport(
            host=self.host,
            site=self.site,
            bytes=self.bytes,
            seconds=round(max(self.seconds, 0.0), 6),
            requests=self.requests,
            errors=self.errors,
            last_error=self.last_error,
            evidence=self.evidence,
            throttled=self.throttled,
            retry_after=self.retry_after,
            latency_ms=round(1000 * self._latency / self._heard, 3) if self._heard else None,
        )


@dataclass
class Tallies:
    """The tallies of all hosts of an attempt; whether each is ``strict``."""

    strict: bool = False
    hosts: dict[tuple[str, str | None], Tally] = field(default_factory=dict)

    def of(self, source: Source) -> Tally:
        """Find the tally of the host that ``source`` names."""
        return self.named(_host(source.url), source.site)

    def beside(self, url: str, sources: Iterable[Source]) -> Tally:
        """Find the tally of the host of a web seed's ``url``.

        It is a site's where that of every source which begins with it is; several sites may be
        read at one host.
        """
        base = unquote(url)
        sites = {
            one.site for one in sources if one.kind == "http" and unquote(one.url).startswith(base)
        }
        return self.named(_host(url), sites.pop() if len(sites) == 1 else None)

    def named(self, host: str, site: str | None = None) -> Tally:
        """Find the tally of a host, or of what stands for one in reports."""
        return self.hosts.setdefault((host, site), Tally(host, site, strict=self.strict))

    def add(self, later: "Tallies") -> None:
        """Add what was counted in another pull of the same hosts."""
        for (host, site), tally in later.hosts.items():
            self.named(host, site).add(tally)

    @property
    def bytes(self) -> int:
        """Body bytes received from all of them."""
        return sum(tally.bytes for tally in list(self.hosts.values()))

    def reports(self) -> tuple[SourceReport, ...]:
        """Give what is told to the centre."""
        return tuple(tally.report() for tally in self.hosts.values())


def _host(url: str) -> str:
    try:
        return host_of(httpx.URL(url))
    except httpx.InvalidURL:
        return shown(url)
