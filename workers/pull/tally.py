"""How each host behaved during an attempt."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

import httpx

from fleet.messages import Source, SourceReport
from workers.pull.addresses import host_of, shown
from workers.pull.faults import Fault, Local


@dataclass
class Tally:
    """One host's counters.

    ``seconds`` is the time its answers took, our own waits left out; ``lost`` counts the items
    in a row that gave it up because it could not be reached.
    """

    host: str
    site: str | None
    bytes: int = 0
    seconds: float = 0.0
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    lost: int = 0

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count one request and the time that its answer takes."""
        self.requests += 1
        started = monotonic()
        try:
            yield
        finally:
            self.seconds += monotonic() - started

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Count the fault that what is done here may end in, unless it is our own."""
        try:
            yield
        except Local:
            raise
        except Fault as fault:
            self.errors += 1
            self.last_error = str(fault)
            raise

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
        )


@dataclass
class Tallies:
    """The tallies of all hosts of an attempt."""

    hosts: dict[tuple[str, str | None], Tally] = field(default_factory=dict)

    def of(self, source: Source) -> Tally:
        """Find the tally of the host that ``source`` names."""
        try:
            host = host_of(httpx.URL(source.url))
        except httpx.InvalidURL:
            host = shown(source.url)
        key = (host, source.site)
        return self.hosts.setdefault(key, Tally(*key))

    @property
    def bytes(self) -> int:
        """Body bytes received from all of them."""
        return sum(tally.bytes for tally in self.hosts.values())

    def reports(self) -> tuple[SourceReport, ...]:
        """Give what is told to the centre."""
        return tuple(tally.report() for tally in self.hosts.values())
