"""The twin itself: events on a virtual clock, the centre's own functions, and people.

Rules this module keeps:

- The centre is the real one: its tick, claims, heartbeats, ledger, sites file and requests.  The
  twin plays what is around it: time, workers, origins, faults, and an operator who looks in daily.
- The scheduler ticks where something is dirty or due, on a grid of some minutes; nothing waits for
  real time, and everything that is drawn by chance is drawn from one seed.
- Leases last an hour here and sites are probed weekly: in a year of seconds nothing else would
  happen.
"""

import heapq
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Literal

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control import mirror, offices, scheduler, sites, suspensions
from fleet.control.causes import PRESS
from fleet.control.sites import SiteSpec
from fleet.planning.states import TransferKind, TransferState, VersionState
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.clock import VirtualClock
from fleet.store.tables import Artifact, Press, Shard, Site, Transfer, Version
from fleet.twin import due, faults
from fleet.twin.faults import Fault, Kind
from fleet.twin.ground import Ground
from fleet.twin.hands import Hands
from fleet.twin.onestore import OneStore, opened
from fleet.twin.places import Place, places
from fleet.twin.policy import Policy
from fleet.twin.truth import Held, Truth

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = 86400.0
_GRID = 7200.0  # seconds between two ticks at the least
_REST = 24 * 3600.0  # seconds after which the scheduler looks in any case
_DECLARED_LOST = timedelta(days=2)  # the operator gives a silent site up
_DEADLINE = timedelta(days=3)
_WITH_DEADLINE = 0.3  # of the datasets
_MEDIAN, _SPREAD, _LARGEST = 8e9, 1.3, 400e9  # bytes of a dataset
_ORIGINS = ("zenodo", "archive", "statcan", "opendata")
_CATCH_UP = 0.5  # of the datasets come in the first month, the others over the year
_PUBLISHED = (
    select(Version, Shard, Artifact.path)
    .join(Shard, col(Shard.version_id) == col(Version.id))
    .join(Artifact, col(Artifact.shard_id) == col(Shard.id))
    .where(
        col(Version.id).in_(bindparam("drafts", expanding=True)),
        Version.state == VersionState.PUBLISHED,
    )
    .order_by(col(Version.id))
)
_FOR_A_PERSON = (
    select(Transfer.id)
    .where(Transfer.state == TransferState.SUSPENDED, Transfer.kind != TransferKind.INGEST)
    .order_by(col(Transfer.id))
)


class Twin:
    """One policy's year."""

    def __init__(
        self,
        store: OneStore,
        clock: VirtualClock,
        policy: Policy,
        *,
        home: Path,
        seed: int,
        days: int,
    ) -> None:
        """Make an empty fleet; ``clock`` is the store's, and its manifests are kept in ``home``."""
        self.store, self.policy, self.days = store, policy, days
        self.settings = CentreSettings(
            home=home, lease_seconds=3600, probe_seconds=7 * DAY, fixity_days=policy.fixity_days
        )
        self.clock, self._moment = clock, START
        self.truth = Truth(policy.copies)
        parts = ("faults", "data", "decay", "work")
        self._rngs = {part: Random(f"{seed} {part}") for part in parts}  # noqa: S311 - a model
        self.hands = Hands(
            store,
            self.settings,
            self,
            self.truth,
            self._rngs["work"],
            throttled=faults.STANDARD.throttled_pulls,
        )
        self.events = self.ticks = self.interventions = 0
        self.happened: dict[str, int] = dict.fromkeys(Kind, 0)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._tick_at: float | None = None
        self.ground = Ground(self.hands, self.truth, self)
        self._specs: dict[str, SiteSpec] = {}
        self._capacity = 0
        self.drafts: dict[str, tuple[str, datetime | None]] = {}

    @property
    def now(self) -> datetime:
        """The present moment of the twin."""
        return self._moment

    @property
    def _seconds(self) -> float:
        return (self._moment - START).total_seconds()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Have something happen ``seconds`` from now."""
        self._at(self._seconds + seconds, act)

    def reported(self) -> None:
        """Let the scheduler look: a worker has reported, and has room for more."""
        self._wake(self._seconds)

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (seconds, next(self._number), act))

    def fill(self, datasets: int, number: int) -> None:
        """Set up ``number`` sites, and draw what comes and what goes wrong."""
        with self.store.write() as session:
            for role in (offices.SCHEDULER, offices.SERVER):
                offices.hold(session, role, "twin", (self.days + 2) * DAY, START)
            # no catalogue is written here, and what it would have told is gathered by nobody
            session.add(Press(id=PRESS, gathered_at=START + timedelta(days=self.days)))
        rng = self._rngs["data"]
        sizes = [min(_LARGEST, _MEDIAN * rng.lognormvariate(0, _SPREAD)) for _ in range(datasets)]
        self._capacity = int(sum(sizes) * self.policy.copies / number * 3 + 4 * _LARGEST)
        self._join(places(number))
        for at, size in enumerate(sizes, 1):
            early = rng.random() < _CATCH_UP
            day = rng.uniform(0.0, (min(30.0, self.days / 4) if early else self.days * 0.95))
            self._at(day * DAY, self._arrival(f"dataset-{at:05}", int(size)))
        for fault in faults.draw(faults.STANDARD, places(number), self.days, self._rngs["faults"]):
            self._at(fault.at, self._fault(fault))
        for day in range(self.days):
            self._at(day * DAY + 9 * 3600, self._morning)

    def run(self, progress: Callable[[float], None]) -> None:
        """Let the days pass; ``progress`` is told the share that has passed, now and then."""
        end, told = self.days * DAY, 0.0
        self._wake(0.0)
        while self._heap and self._heap[0][0] <= end:
            seconds, _, act = heapq.heappop(self._heap)
            self._set(seconds)
            self.events += 1
            act()
            if seconds - told >= end / 200:
                told = seconds
                progress(seconds / end)
        self._set(end)
        self.truth.close(self.now)

    def _set(self, seconds: float) -> None:
        moment = START + timedelta(seconds=seconds)
        self.clock.advance((moment - self._moment).total_seconds())
        self._moment = moment

    def _wake(self, seconds: float) -> None:
        """Have the scheduler tick at the first moment of its grid from ``seconds`` on."""
        at = -(-seconds // _GRID) * _GRID
        if self._tick_at is None or at < self._tick_at:
            self._tick_at = at
            self._at(at, self._tick)

    def _tick(self) -> None:
        if self._tick_at != self._seconds:
            return  # one that was set earlier has come before it
        self._tick_at = None
        with self.store.read() as session:
            due_now = due.anything(session, self.settings, self.now)
        if due_now:
            self.ticks += 1
            self._decide()
            while self._send():
                self._decide()
        self._send()
        with self.store.read() as session:
            at = due.next_at(session, self.settings, self.now)
        later = self._seconds + _REST
        if at is not None:
            later = min(later, max((at - START).total_seconds(), self._seconds + 1))
        self._wake(later)

    def _decide(self) -> None:
        scheduler.tick(self.store, self.settings, most=math.inf)
        self._see_published()

    def _send(self) -> bool:
        """Let what waits in the outbox reach the workers, as the broker does.

        Returns whether one answered at once, so that there is more to decide.
        """
        with self.store.read() as session:
            rows = transfers.unsent(session, 1000)
        if not rows:
            return False
        with self.store.write() as session:
            if not self.policy.repairs_first:
                _in_order_of_asking(session)
            transfers.mark_sent(session, [row.id or 0 for row in rows], self.now)
        answered = [self.hands.wake(row.attempt_id, row.site_id) for row in rows if row.attempt_id]
        return True in answered

    def _see_published(self) -> None:
        """Begin to count the versions that the tick has published."""
        if not any(path in self.hands.arrived for path, _ in self.drafts.values()):
            return
        with self.store.read() as session:
            rows = session.exec(_PUBLISHED, params={"drafts": list(self.drafts)}).all()
        for version, shard, path in rows:
            _, deadline = self.drafts.pop(version.id)
            held = Held(path, shard.size, version.published_at or self.now, deadline)
            self.truth.publish(shard.id, held, self.hands.arrived.pop(path))

    def _arrival(self, name: str, size: int) -> Callable[[], None]:
        rng = self._rngs["data"]
        origin = rng.choice(_ORIGINS)
        urgent = rng.random() < _WITH_DEADLINE

        def arrive() -> None:
            path = f"{name}.zip"
            self.hands.sizes[path] = size
            deadline = self.now + _DEADLINE if urgent else None
            rule = self.policy.rule().model_copy(update={"deadline": deadline})
            url = f"https://{origin}.example/{path}"
            made = mirror.mirror_dataset(self.store, url, rule, dataset=name, key=name)
            self.drafts[made.version] = (path, deadline)
            self._wake(self._seconds)

        return arrive

    def _fault(self, fault: Fault) -> Callable[[], None]:
        def happen() -> None:
            here = self.ground.met(fault.subject)
            if not here:
                return
            self.happened[fault.kind] += 1
            match fault.kind:
                case Kind.OUTAGE | Kind.PROVIDER_OUTAGE:
                    for site in here:
                        self.ground.away(site, fault.seconds)
                case Kind.LOSS:
                    self.ground.lose(*here)
                case Kind.PROVIDER_LOSS:
                    self.ground.lose_provider(here)
                case Kind.LEAVE:
                    self._leave(*here)

        return happen

    def _leave(self, site: str) -> None:
        """Let a site go that has said so: it is to be retired, and there for its notice."""
        if self._specs[site].retired:
            return  # it has said so before
        self._retire([site], True)

        def gone() -> None:
            if self.ground.is_here(site):
                self.ground.lose(site)

        self.after(faults.STANDARD.notice_days * DAY, gone)

    def _morning(self) -> None:
        """Let bytes go bad, and let the operator see to what waits for a person."""
        self.truth.decay(faults.STANDARD.corruptions_per_tb, 1.0, self.now, self._rngs["decay"])
        self._give_up_lost()
        with self.store.read() as session:
            waiting = session.exec(_FOR_A_PERSON).all()
        for transfer in waiting:
            self.interventions += 1
            suspensions.retry(self.store, transfer)
            self._wake(self._seconds)

    def _give_up_lost(self) -> None:
        """Declare lost what is silent for long; what has left and is retired is no matter more."""
        lost = self.ground.lost
        gone = [site for site, since in lost.items() if self.now - since >= _DECLARED_LOST]
        for site in gone:
            del lost[site]
        with self.store.read() as session:
            missed = [site for site in gone if not session.get_one(Site, site).retired]
        if missed:
            self._retire(missed, "lost")

    def _retire(self, gone: list[str], how: Literal[True, "lost"]) -> None:
        """Declare sites retired, or lost, and others in their place, in the sites file."""
        self.interventions += 1
        for site in gone:
            self._specs[site] = self._specs[site].model_copy(update={"retired": how})
        self._join(self.ground.heirs(gone))

    def _join(self, new: list[Place]) -> None:
        for place in new:
            self.ground.join(place)
            self._specs[place.id] = place.spec(self._capacity, windows=self.policy.windows)
        sites.apply(self.store, tuple(self._specs.values()))
        self._wake(self._seconds)


def _in_order_of_asking(session: Session) -> None:
    """Take from what waits the place that the centre gave it before others."""
    for row in session.exec(
        select(Transfer).where(Transfer.state == TransferState.WAITING, Transfer.priority != 0)
    ).all():
        row.priority = 0


@contextmanager
def twin(policy: Policy, *, seed: int, days: int) -> Iterator[Twin]:
    """Make a twin, with a store of its own that is gone afterwards."""
    clock = VirtualClock(START)
    with opened(clock, seed) as store, TemporaryDirectory(prefix="fleet-twin-") as home:
        yield Twin(store, clock, policy, home=Path(home), seed=seed, days=days)
