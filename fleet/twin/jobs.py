"""One order being worked on: how far it is, where its bytes come from, and what it reports."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from fleet.messages import ItemResult, Order, Source, SourceReport
from fleet.twin.places import Place


@dataclass(eq=False)
class Job:
    """An order at a site: ``done`` of ``size`` bytes at the moment ``at``, at ``rate`` bytes/s.

    Attributes:
        allowed: bytes/s of the budget; None is no limit.
        paused: whether it waits, as it was told.
        beats: when its next heartbeat is.
        plan: the number of the next thing that is to happen to it; what was planned before is not.
        giver: the site that the bytes come from; empty for an origin.
        breaks: how far the source can be read, where its copy is rotten.
        liars: the sites whose copies are known to be.
    """

    order: Order
    site: Place
    at: datetime
    size: int = 0
    rate: float = 0.0
    done: float = 0.0
    paused: bool = False
    plan: int = 0
    source: Source | None = None
    giver: str = ""
    breaks: float | None = None
    liars: set[str] = field(default_factory=set)
    failure: ItemResult | None = None
    reports: list[SourceReport] = field(default_factory=list)
    allowed: int | None = field(init=False)
    beats: datetime = field(init=False)
    _spent: float = 0.0  # seconds on this source, without pauses
    _before: float = 0.0  # bytes that were there before it

    def __post_init__(self) -> None:
        """Begin as the order says."""
        self.allowed = self.order.budget.bytes_per_second
        self.beats = self.at + self.between

    @property
    def between(self) -> timedelta:
        """Two heartbeats are so long apart."""
        return timedelta(seconds=self.order.lease_seconds / 2)

    @property
    def ends(self) -> float:
        """It comes so far before something else has to happen."""
        return self.size if self.breaks is None else self.breaks

    @property
    def key(self) -> tuple[str, str]:
        """What is left on the disk of a pull that died is this one's."""
        return self.site.id, self.order.items[0].path

    def take(self, source: Source, giver: str) -> None:
        """Have the rest come from a source."""
        self.source, self.giver, self.breaks = source, giver, None
        self._spent, self._before = 0.0, self.done

    def advance(self, now: datetime) -> float:
        """Go on until now; return how many bytes that is."""
        seconds = (now - self.at).total_seconds()
        brought = min(self.rate * seconds, self.ends - self.done)
        self.done, self.at = self.done + brought, now
        self._spent += seconds if self.rate else 0.0
        return brought

    def report(self, trouble: str = "", evidence: str = "") -> None:
        """Tell how its source did, until it was in ``trouble`` or all had come."""
        if self.source is None:
            return
        self.reports.append(
            SourceReport(
                host=_host(self.source),
                site=self.source.site,
                bytes=round(self.done - self._before),
                seconds=self._spent,
                requests=1,
                errors=1 if trouble else 0,
                last_error=trouble,
                evidence=evidence,
            )
        )

    def refused(self, source: Source, trouble: str) -> None:
        """Tell of a source that gave nothing."""
        self.reports.append(
            SourceReport(
                host=_host(source), site=source.site, requests=1, errors=1, last_error=trouble
            )
        )

    def fail(self, seconds: float) -> None:
        """Give up in ``seconds``: no source is left."""
        why = self.reports[-1].last_error if self.reports else "the order names no source"
        artifact = self.order.items[0].artifact
        self.failure = ItemResult(artifact=artifact, ok=False, reason=why, fault="source")
        self.source, self.giver, self.breaks = None, "", None
        self.size, self.done, self.rate = 1, 0.0, 1 / seconds


def _host(source: Source) -> str:
    return "torrent" if source.kind == "torrent" else urlsplit(source.url).hostname or ""
