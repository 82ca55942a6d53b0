"""The twin's workers: they claim, take the time that the work takes, and report to the ledger.

Rules this module keeps:

- A worker knows what a real one knows: its order, and what it finds.  What lies where, it asks the
  truth only about its own disk and about the source that it reads.
- It obeys its heartbeat's answers, keeps what it fetched of a file when it dies, and says nothing
  more once its site is down.
- A source that goes away in the middle of a pull gives nothing more.  One whose copy is rotten
  gives, and costs, what comes before the bad piece; that piece convicts it.  Either way the pull
  goes on from another source with what it has, or fails.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

from fleet.control import blobs, leases, ledger
from fleet.control.errors import FleetError
from fleet.messages import (
    BlobRef,
    Heartbeat,
    Item,
    ItemResult,
    Outcome,
    Source,
)
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.torrent.pieces import DIGEST_BYTES, piece_count, piece_length
from fleet.twin import traffic
from fleet.twin.jobs import Job
from fleet.twin.places import SLOTS, Place
from fleet.twin.truth import Truth

_DISK = 150e6  # bytes/s that a verify reads
_FAILS_AFTER = 60.0  # seconds until a worker gives a source up
_PROBE_SECONDS = 30.0


class Time(Protocol):
    """The twin's clock and what is to happen."""

    @property
    def now(self) -> datetime:
        """The present moment."""

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something happen later."""

    def reported(self) -> None:
        """Let the scheduler look: a worker has reported, and has room for more."""


class Hands:
    """All the workers of the twin."""

    def __init__(
        self,
        store: Store,
        settings: CentreSettings,
        time: Time,
        truth: Truth,
        rng: Random,
        *,
        throttled: float,
    ) -> None:
        """Work for the centre of ``store``; ``throttled`` is the share of pulls refused."""
        self._store, self._settings, self._time = store, settings, time
        self._truth, self._rng, self._throttled = truth, rng, throttled
        self.sizes: dict[str, int] = {}  # of files at their origins, by path
        # sites, by the path of a file that no shard has yet; None once the site was lost
        self.arrived: dict[str, str | None] = {}
        self.down: set[str] = set()
        self._running: dict[str, Job] = {}  # by attempt
        self._partial: dict[tuple[str, str], float] = {}
        self.events = 0
        self.jobs = Counter[str]()
        self.moved = Counter[str]()  # bytes, by class of hour at the site that pulls
        self.egress_cost = 0.0

    def stop(self, site: str) -> None:
        """Let a site go down: all that runs there dies, and what is pulled from it breaks off."""
        self.down.add(site)
        for job in [one for one in self._running.values() if one.site.id == site]:
            self._advance(job)
            self._forget(job)
        self._break_off(site, f"{site} went away")

    def start(self, site: str) -> None:
        """Let a site come up again."""
        self.down.discard(site)

    def wipe(self, site: str) -> None:
        """Take away what a site's pulls had on disk, and the files there that no shard has yet."""
        for key in [key for key in self._partial if key[0] == site]:
            del self._partial[key]
        for path, where in self.arrived.items():
            if where == site:
                self.arrived[path] = None

    def wake(self, attempt: str, site: str) -> bool:
        """Let a wake-up reach a site; one that is down does not hear it.

        Returns whether it was answered at once.
        """
        if site in self.down:
            return False
        try:
            order = leases.claim(self._store, self._settings, attempt, site)
        except FleetError:  # as a worker: not its to do any more
            return False
        self.events += 1
        self.jobs[order.task] += 1
        job = Job(order, self._truth.places[site], self._time.now)
        self._running[attempt] = job
        if order.task == "pull" and order.items[0].path not in self.sizes:
            job.failure = _no_manifest(order.items[0])
            self._end(job)
            return True
        self._begin(job)
        return False

    def _begin(self, job: Job) -> None:
        if job.order.task == "pull":
            self._begin_pull(job)
        elif job.order.task == "verify":
            job.size, job.rate = sum(item.size or 0 for item in job.order.items), _DISK
        else:
            job.size, job.rate = 1, 1 / _PROBE_SECONDS
        self._go_on(job)

    def _begin_pull(self, job: Job) -> None:
        """See what lies here already, and have the rest come from somewhere."""
        shard = job.order.shard
        job.size = self.sizes[job.order.items[0].path]
        if shard is not None and self._truth.whole_at(shard, job.site.id):
            job.rate = _DISK  # it lies here: it is only read
            return
        job.done = min(self._partial.get(job.key, 0.0), job.size - 1)
        self._find_source(job)

    def _find_source(self, job: Job) -> None:
        """Find a source that serves it, in the order that the centre ranked them."""
        for source in job.order.items[0].sources:
            giver, trouble = self._ask(source, job)
            if not trouble:
                job.take(source, giver)
                if self._is_rotten(job):
                    job.breaks = job.done + self._rng.random() * (job.size - job.done)
                self._set_rate(job)
                return
            job.refused(source, trouble)
        job.fail(_FAILS_AFTER)

    def _ask(self, source: Source, job: Job) -> tuple[str, str]:
        """Say who serves a source, and why it does not; empty when it does."""
        shard = job.order.shard
        if source.kind == "torrent":
            holders = self._truth.holders(shard) if shard else ()
            up = [site for site in holders if site not in self.down and site != job.site.id]
            return (up[0], "") if up else ("", "nobody in its swarm answers")
        if source.site is None:
            refused = self._rng.random() < self._throttled
            return "", "429: the origin asks to come back later" if refused else ""
        if source.site in self.down:
            return "", f"{source.site} does not answer"
        if shard and self._truth.whole_at(shard, source.site) is None:
            return "", f"{source.site} has no such file"
        return source.site, "it gave wrong bytes" if source.site in job.liars else ""

    def _is_rotten(self, job: Job) -> bool:
        """Whether the copy that a pull reads from is not whole, or is not any more."""
        shard, giver = job.order.shard, job.giver
        return bool(shard and giver) and not self._truth.whole_at(shard or "", giver)

    def _set_rate(self, job: Job) -> None:
        """Let a job go as fast as its lines and its budget allow."""
        full = _DISK if job.source is None else self._speed(job.site, job.giver)
        job.rate = 0.0 if job.paused else min(full, job.allowed or full)

    def _speed(self, site: Place, giver: str) -> float:
        now, rate = self._time.now, site.bytes_per_second * traffic.left(site.zone, self._time.now)
        if giver:
            other = self._truth.places[giver]
            rate = min(rate, other.bytes_per_second * traffic.left(other.zone, now))
        return rate / SLOTS

    def _go_on(self, job: Job) -> None:
        """Have the next thing happen to a job: its end, or its heartbeat before that."""
        left = (job.ends - job.done) / job.rate if job.rate else math.inf
        beat = (job.beats - self._time.now).total_seconds()
        act, seconds = (self._end, left) if left <= beat else (self._beat, beat)
        job.plan += 1
        plan = job.plan
        self._time.after(seconds, lambda: act(job) if job.plan == plan else None)

    def _forget(self, job: Job) -> None:
        """Let nothing happen to a job any more."""
        job.plan += 1
        del self._running[job.order.attempt]

    def _break_off(self, giver: str, why: str, shard: str | None = None) -> None:
        """Have pulls from a site, all or those of a shard, go on from elsewhere."""
        for job in [one for one in self._running.values() if one.giver == giver]:
            if shard in (None, job.order.shard):
                self._advance(job)
                self._turn_away(job, why)

    def _turn_away(self, job: Job, why: str, evidence: str = "") -> None:
        """Have a pull go on from another source than the one it has."""
        job.report(why, evidence)
        self._find_source(job)
        self._go_on(job)

    def _advance(self, job: Job) -> None:
        """Count what was done since the last time."""
        began, now = job.at, self._time.now
        brought = job.advance(now)
        if job.source is None:
            return
        for hour, share in traffic.hours(began, now):
            self.moved[traffic.hour_class(job.site.zone, hour)] += round(brought * share)
        if job.giver:
            self.egress_cost += brought / 1e12 * self._truth.places[job.giver].egress
        self._partial[job.key] = job.done

    def _beat(self, job: Job) -> None:
        self.events += 1
        self._advance(job)
        order = job.order
        beat = Heartbeat(fence=order.fence, bytes_done=round(job.done))
        try:
            answer = leases.heartbeat(self._store, self._settings, order.attempt, order.site, beat)
        except FleetError:
            self._forget(job)
            return
        if answer.action == "stop":
            self._forget(job)
            return
        job.paused, job.allowed = answer.action == "pause", answer.budget.bytes_per_second
        job.beats = job.at + job.between
        if job.failure is None:
            self._set_rate(job)
        self._go_on(job)

    def _end(self, job: Job) -> None:
        self.events += 1
        began = self._time.now - timedelta(seconds=1)
        self._advance(job)
        if self._is_rotten(job):
            job.liars.add(job.giver)
            wrong = f"wrong bytes came from {job.giver}"
            self._turn_away(job, wrong, evidence=wrong)
            return
        if job.breaks is not None:  # its copy was made whole meanwhile
            job.breaks = None
            self._go_on(job)
            return
        self._forget(job)
        if job.source is not None:
            job.report()
        outcome = Outcome(
            attempt=job.order.attempt,
            fence=job.order.fence,
            site=job.order.site,
            started_at=began,
            ended_at=self._time.now,
            items=tuple(self._result(job, item) for item in job.order.items),
            sources=tuple(job.reports),
            bytes_fetched=sum(report.bytes for report in job.reports),
        )
        with suppress(FleetError):
            ledger.apply(self._store, self._settings, outcome)
            self._time.reported()

    def _result(self, job: Job, item: Item) -> ItemResult:
        if job.failure is not None:
            return job.failure
        if job.order.task == "probe":
            return self._seen(item)
        if job.order.task == "verify":
            return self._read(job, item)
        if job.order.task == "drop":
            shard, site = job.order.shard or "", job.site.id
            self._truth.lose(shard, site, self._time.now)
            self._break_off(site, f"{site} has no such file", shard)
            return self._well(item)
        self._partial.pop(job.key, None)
        if job.order.shard is not None:
            self._truth.arrive(job.order.shard, job.site.id, self._time.now)
            return self._well(item)
        self.arrived[item.path] = job.site.id
        size = self.sizes[item.path]
        length = piece_length(size)
        data = bytes(piece_count(size, length) * DIGEST_BYTES)
        name = hashlib.sha256(data).hexdigest()
        blobs.keep(self._store, name, data)
        pieces = BlobRef(sha256=name, size=len(data))
        return self._well(item).model_copy(update={"piece_length": length, "pieces": pieces})

    def _well(self, item: Item) -> ItemResult:
        digest = hashlib.sha256(item.path.encode()).hexdigest()
        return ItemResult(
            artifact=item.artifact, ok=True, size=self.sizes[item.path], sha256=digest
        )

    def _read(self, job: Job, item: Item) -> ItemResult:
        """Read a file where it lies."""
        whole = self._truth.whole_at(job.order.shard or "", job.site.id)
        if whole:
            return self._well(item)
        fault = "missing" if whole is None else "corrupt"
        return ItemResult(
            artifact=item.artifact, ok=False, fault=fault, reason=f"{item.path} is {fault}"
        )

    def _seen(self, item: Item) -> ItemResult:
        """Read a piece of a copy from outside; one bad sector is seldom in it."""
        source = item.sources[0]
        if source.site in self.down:
            reason = f"{source.site} does not answer"
            return ItemResult(artifact=item.artifact, ok=False, reason=reason, fault="source")
        return ItemResult(artifact=item.artifact, ok=True)


def _no_manifest(item: Item) -> ItemResult:
    """Leave a manifest out: with it each version would be two shards that fare alike."""
    reason = "no manifests lie anywhere in the twin"
    return ItemResult(artifact=item.artifact, ok=False, reason=reason, final=True, fault="refused")
