"""A centre in one process, and a worker's part played by the test: for tests of decisions.

What is to be done about a version's manifest goes well by itself, and is not shown: tests are about
the files that they mirror.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import Session, col, select

from fleet.control import (
    blobs,
    dispatch,
    drafts,
    kept,
    leases,
    ledger,
    mirror,
    scheduler,
    seeds,
    sites,
)
from fleet.control.errors import RefusedError
from fleet.control.rules import RuleSpec
from fleet.control.sites import SiteSpec
from fleet.messages import (
    BlobRef,
    Heartbeat,
    HeartbeatAnswer,
    Item,
    ItemResult,
    Order,
    Outcome,
    Seed,
    Verdict,
)
from fleet.settings import CentreSettings
from fleet.store.clock import VirtualClock
from fleet.store.database import Store
from fleet.store.tables import Artifact, Attempt, Office, Replica, Site, Transfer, Wakeup
from fleet.torrent.pieces import PieceHasher
from workers.digests import digest, pieces_of
from workers.work import well

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


def content(path: str) -> bytes:
    """The bytes of a file of the test's dataset: a few, made of its name."""
    return path.encode() * 100


@dataclass
class Centre:
    """What a test asks of the centre, in the words of the story."""

    store: Store
    folder: Path
    settings: CentreSettings = field(
        default_factory=lambda: CentreSettings(lease_seconds=10, retry_seconds=5, max_attempts=3)
    )
    _kept: dict[str, bytes] = field(default_factory=dict)

    def advance(self, seconds: float) -> None:
        """Let time pass: the store's clock stands still by itself."""
        assert isinstance(self.store.clock, VirtualClock)
        self.store.clock.advance(seconds)

    def apply_sites(self, *names: str, **details: object) -> list[str]:
        """Apply a sites file of some sites; return what it says that it changed."""
        usual: dict[str, object] = {"kind": "node", "driver": "posix"}
        specs = tuple(
            SiteSpec.model_validate(
                usual | {"id": name, "read_url": f"http://{name}.example"} | details
            )
            for name in names
        )
        return sites.apply(self.store, specs)

    def mirror(self, *paths: str, rule: RuleSpec | None = None, key: str = "") -> str:
        """Ask for a dataset of these files; return its version."""
        listing = self.folder / "list.txt"
        listing.write_text("".join(f"https://origin.example/{path}\n" for path in paths))
        return mirror.mirror_dataset(
            self.store, str(listing), rule or RuleSpec(), dataset="data", key=key
        ).version

    def tick(self) -> None:
        """Tick until nothing is left: on a busy machine one tick may end before."""
        busy = True
        while busy:
            began = time.monotonic()
            scheduler.tick(self.store, self.settings)
            busy = time.monotonic() - began >= scheduler.TICK_MOST

    def open_doors(self) -> None:
        """Have the server and the scheduler in office since long ago, and for long."""
        with self.store.write() as session:
            for role in ("server", "scheduler"):
                session.merge(
                    Office(
                        role=role,
                        holder="test",
                        since=datetime(2020, 1, 1, tzinfo=UTC),
                        until=datetime(2100, 1, 1, tzinfo=UTC),
                    )
                )

    def wakeups(self) -> list[Wakeup]:
        """Take what waits in the outbox."""
        with self.store.write() as session:
            rows = session.exec(select(Wakeup).where(col(Wakeup.sent_at).is_(None))).all()
            for row in rows:
                row.sent_at = self.store.now(session)
            return list(rows)

    def announced(self) -> list[tuple[str, str]]:
        """Take the announced attempts from the outbox, with their sites."""
        while True:
            told = [(row.attempt_id, row.site_id) for row in self.wakeups() if row.attempt_id]
            manifests = self._of_manifests([attempt for attempt, _ in told])
            for attempt, site in told:
                if attempt in manifests:
                    with suppress(RefusedError):
                        self.report(self.claim(attempt, site))
            others = [one for one in told if one[0] not in manifests]
            if others or not manifests:
                return others
            self.tick()

    def claim(self, attempt: str, site: str) -> Order:
        return leases.claim(self.store, self.settings, attempt, site)

    def orders(self) -> list[Order]:
        """Claim all that is announced."""
        return [self.claim(attempt, site) for attempt, site in self.announced()]

    def report_but(self, order: Order, path: str, instead: Callable[[str], ItemResult]) -> None:
        """Report that everything went well but for one path, if the order has it."""
        items = tuple(
            instead(item.artifact) if item.path == path else result
            for item, result in zip(order.items, self.outcome(order).items, strict=True)
        )
        self.report(order, items=items)

    def beat(self, order: Order) -> HeartbeatAnswer:
        beat = Heartbeat(fence=order.fence, bytes_done=1)
        return leases.heartbeat(self.store, self.settings, order.attempt, order.site, beat)

    def report(self, order: Order, **changes: object) -> Verdict:
        """Report that everything went well, but for ``changes`` to the outcome."""
        outcome = self.outcome(order).model_copy(update=changes)
        return ledger.apply(self.store, self.settings, outcome)

    def outcome(self, order: Order) -> Outcome:
        items = tuple(self._item(order, item) for item in order.items)
        pieces = None
        if order.shard and "pieces" in order.digests:
            hasher = PieceHasher(order.piece_length or 0)
            for item in order.items:
                hasher.update(self.content(item))
            pieces = self._blob(hasher.finish())
        return Outcome(
            attempt=order.attempt,
            fence=order.fence,
            site=order.site,
            started_at=MOMENT,
            ended_at=MOMENT,
            items=items,
            pieces=pieces,
        )

    def _item(self, order: Order, item: Item) -> ItemResult:
        """Report an item well, with all the digests that an ingest asks for."""
        if order.task == "probe":
            return ItemResult(artifact=item.artifact, ok=True)
        data, blobs_beside = self.content(item), dict[str, bytes]()
        ingest = order.task == "pull" and order.shard is None
        found = (
            digest(data, order.digests, pieces_of(order, len(data)))
            if ingest
            else digest(data, order.digests if order.task == "publish" else ("sha256",))
        )
        result = well(item, found, blobs_beside)
        for data_beside in blobs_beside.values():
            self._blob(data_beside)
        return result

    def content(self, item: Item) -> bytes:
        """The bytes of an item: a manifest's are those that the centre keeps, or kept once."""
        digest = item.sha256 or ""
        place = kept.place(self.settings, digest)
        if digest and place.is_file():
            self._kept[digest] = place.read_bytes()
        return self._kept.get(digest) or content(item.path)

    def _blob(self, data: bytes) -> BlobRef:
        name = hashlib.sha256(data).hexdigest()
        blobs.keep(self.store, name, data)
        return BlobRef(sha256=name, size=len(data))

    def work(self, rounds: int = 20) -> None:
        """Tick, and carry out all that is announced, until nothing is."""
        for _ in range(rounds):
            self.tick()
            todo = self.announced()
            if not todo:
                return
            for attempt, site in todo:
                with suppress(RefusedError):  # as a worker: not its to do any more
                    self.report(self.claim(attempt, site))
        raise AssertionError(f"still busy after {rounds} rounds")

    def prove(self) -> None:
        """Work, and let the time pass, until other sites have proved every copy."""
        unproved = (
            select(Replica.id)
            .join(Site, col(Site.id) == col(Replica.site_id))
            .where(Replica.state == "available", col(Replica.proved_at).is_(None))
            .where(Site.read_url != "")
        )
        for _ in range(50):
            self.work()
            with self.store.read() as session:
                if session.exec(unproved).first() is None:
                    return
            self.advance(5)
        raise AssertionError("some copies were never proved")

    def transfers(self, **wanted: str) -> list[Transfer]:
        with self.store.read() as session:
            rows = session.exec(select(Transfer).order_by(Transfer.id)).all()
            ingests, shards = self._manifests(session)
        return [
            row
            for row in rows
            if row.id not in ingests
            and row.shard_id not in shards
            and all(getattr(row, k) == v for k, v in wanted.items())
        ]

    def replicas(self) -> dict[str, list[str]]:
        """The states of replicas, by site."""
        states: dict[str, list[str]] = {}
        with self.store.read() as session:
            _, shards = self._manifests(session)
            for row in session.exec(select(Replica)).all():
                if row.shard_id not in shards:
                    states.setdefault(row.site_id, []).append(row.state)
        return states

    def describe(self) -> None:
        """Carry out all ingests, the manifest's too, and let nothing be cut yet."""
        known = select(Artifact.id).where(Artifact.role == "manifest", Artifact.state == "known")
        while True:
            drafts.step(self.store, self.settings)
            self.dispatch()
            for row in self.wakeups():
                self.report(self.claim(row.attempt_id or "", row.site_id))
            with self.store.read() as session:
                if session.exec(known).first() is not None:
                    return

    def of_manifests(self) -> set[str | None]:
        """The shards of manifests."""
        with self.store.read() as session:
            return self._manifests(session)[1]

    def seeds(self, site: str) -> list[Seed]:
        """What a site shall seed."""
        with self.store.read() as session:
            _, shards = self._manifests(session)
        return [one for one in seeds.desired(self.store, site).seeds if one.shard not in shards]

    def _manifests(self, session: Session) -> tuple[set[str | None], set[str | None]]:
        """The ingests and shards of manifests."""
        rows = session.exec(select(Artifact).where(Artifact.role == "manifest")).all()
        return {one.ingest_id for one in rows} - {None}, {one.shard_id for one in rows} - {None}

    def _of_manifests(self, attempts: list[str]) -> set[str]:
        """Those of some attempts that are about manifests."""
        with self.store.read() as session:
            ingests, shards = self._manifests(session)
            rows = session.exec(
                select(Attempt.id, Transfer.id, Transfer.shard_id)
                .join(Transfer, col(Transfer.id) == col(Attempt.transfer_id))
                .where(col(Attempt.id).in_(attempts))
            ).all()
        return {one for one, ingest, shard in rows if ingest in ingests or shard in shards}

    def dispatch(self) -> None:
        dispatch.step(self.store, self.settings)
