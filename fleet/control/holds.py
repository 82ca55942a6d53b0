"""Publications held by whoever speaks to a repository: one at a time, renewed, fenced.

Rules this module keeps:

- A hold raises the publication's fence; whoever has a lower one may write nothing down.
- Before each request it is checked that the hold was renewed in time: who was stopped, or cut off
  from the store, asks the repository for nothing more.
- What a step came to is committed with the end of its hold.  Who dies lets its hold run out, and
  the next tick wakes another.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, select

from fleet.control import facts, probes, publications, replicas
from fleet.control.errors import FleetError
from fleet.invenio import Published
from fleet.planning.publications import after_trouble
from fleet.planning.states import PublicationState, TransferKind
from fleet.repositories import Memory
from fleet.settings import CentreSettings
from fleet.store import locking
from fleet.store.database import Store
from fleet.store.tables import Dataset, Publication, Shard, Transfer, Version

_log = structlog.get_logger()
_STEPS = {
    PublicationState.WANTED: "its draft is being prepared",
    PublicationState.CLOSING: "its record is being published",
}


class SupersededError(FleetError):
    """Another holds the publication by now."""


class Hold:
    """A publication that this process alone works at; a context manager that renews it.

    ``row`` is the publication as it was when it was taken.
    """

    def __init__(self, store: Store, settings: CentreSettings, row: Publication) -> None:
        self.row = row
        self._store, self._settings = store, settings
        self._ended, self._renewed = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._renew, name="hold", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def memory(self) -> Memory:
        """What was remembered of it last."""
        return Memory(self.row.asked, self.row.record, self.row.doi)

    def check(self) -> None:
        """Return if nobody else can have been given the publication, as far as is known here.

        Raises:
            SupersededError: it was, or the hold was not renewed in time.
        """
        if time.monotonic() - self._renewed >= self._settings.lease_seconds:
            raise SupersededError(f"publication {self.row.id} could not be held any longer")

    def remember(self, memory: Memory) -> None:
        """Keep what was learned of the repository, for good.

        Raises:
            SupersededError: another holds the publication.
        """
        with self._store.write() as session:
            row = self._own(session)
            row.asked, row.record, row.doi = memory.asked, memory.record, memory.doi
            _extend(row, self._settings, self._store.now(session))
        self.row = row

    def freeze(self, mirrors: dict[str, list[int]]) -> None:
        """Keep which mirrors the papers name, so that they are made alike again."""
        with self._store.write() as session:
            row = self._own(session)
            row.mirrors = mirrors
        self.row = row

    def fill(self, size: int, reason: str) -> None:
        """Have an executor bring the data into the draft."""
        with self._last() as (session, row, now):
            dataset = session.get_one(Version, row.version_id).dataset_id
            rule = facts.rule_of(session, dataset)
            transfer = Transfer(
                kind=TransferKind.PUBLISH,
                version_id=row.version_id,
                target_id=row.site_id,
                executor_id=row.site_id,
                size=size,
                priority=rule.priority if rule else 0,
                deadline=rule.deadline if rule else None,
                reason=reason,
                created_at=now,
            )
            session.add(transfer)
            row.transfer_id, row.whole = transfer.id, True
            _end(row, PublicationState.FILLING, reason, now)

    def close(self, reason: str, *, whole: bool) -> None:
        """Have the record published next: nothing is to be brought into its draft."""
        with self._last() as (_, row, now):
            row.whole = whole
            _end(row, PublicationState.CLOSING, reason, now)

    def published(self, done: Published, without: str = "") -> None:
        """Note that the version is published; ``without`` says why its data are not in it."""
        with self._last() as (session, row, now):
            version = locking.lock(session, Version, row.version_id)
            version.doi = version.doi or done.doi
            if version.doi == done.doi:  # else others' DOI is cited, and no concept of ours
                dataset = locking.lock(session, Dataset, version.dataset_id)
                dataset.doi = dataset.doi or done.concept_doi or None
            row.record, row.doi, row.published_at = done.id, done.doi, now
            row.whole = not without
            told = f", without the data: {without}" if without else ""
            _end(row, PublicationState.PUBLISHED, f"published as {done.url}{told}", None)
            if row.whole:
                _arrive(session, self._settings, row, now)
            publications.wake_others(session, row, now)

    def wait(self, reason: str, seconds: float) -> None:
        """Let the step wait for something that is no fault."""
        with self._last() as (_, row, now):
            _end(row, PublicationState(row.state), reason, now + timedelta(seconds=seconds))

    def fail(self, reason: str, back: PublicationState | None = None) -> None:
        """Let the step, or an earlier one, be tried again; or a person see to it in the end."""
        with self._last() as (_, row, now):
            row.attempts += 1
            again = after_trouble(
                reason,
                attempts=row.attempts,
                first_wait=self._settings.retry_seconds,
                now=now,
            )
            state = back or PublicationState(row.state)
            if again.at is None:
                state = PublicationState.REFUSED
            _end(row, state, again.reason, again.at)

    def refuse(self, reason: str, *, forget: bool = False) -> None:
        """Leave it to a person; with ``forget`` the draft is there no more."""
        with self._last() as (_, row, _now):
            if forget:
                row.asked, row.record, row.doi = None, "", ""
            _end(row, PublicationState.REFUSED, reason, None)

    @contextmanager
    def _last(self) -> Iterator[tuple[Session, Publication, datetime]]:
        """Open the unit of work that a step ends with; the hold is renewed no more."""
        self._stop()
        with self._store.write() as session:
            yield session, self._own(session), self._store.now(session)

    def _own(self, session: Session) -> Publication:
        row = locking.lock(session, Publication, self.row.id)
        if row.fence != self.row.fence or row.state != self.row.state:
            raise SupersededError(f"publication {row.id} is another's by now")
        return row

    def _renew(self) -> None:
        while not self._ended.wait(self._settings.lease_seconds / 3):
            asked = time.monotonic()
            try:
                with self._store.write() as session:
                    _extend(self._own(session), self._settings, self._store.now(session))
                self._renewed = asked
            except SupersededError:
                self._renewed = float("-inf")
                return
            except SQLAlchemyError as error:
                _log.warning("publication not renewed", id=self.row.id, reason=str(error))

    def _stop(self) -> None:
        self._ended.set()
        self._thread.join()


def _arrive(session: Session, settings: CentreSettings, row: Publication, now: datetime) -> None:
    """Count what is in a record as copies: the repository's md5s are those of verified bytes."""
    shards = session.exec(select(Shard.id).where(Shard.version_id == row.version_id)).all()
    for shard in locking.lock_shards(session, shards):
        how = "it was published there with its version's record"
        replicas.arrive(session, settings, shard.id, row.site_id, now, how)
        shard.dirty = True
    probes.ensure(session, row.site_id, now)


def take(store: Store, settings: CentreSettings, publication: str) -> Hold | None:
    """Take a publication whose next step is the centre's; None if there is nothing to be done."""
    with store.write() as session:
        if session.get(Publication, publication) is None:
            return None
        now, row = store.now(session), locking.lock(session, Publication, publication)
        held = row.held_until is not None and row.held_until > now
        if held or row.state not in _STEPS:
            return None
        row.fence += 1
        row.reason = _STEPS[PublicationState(row.state)]
        _extend(row, settings, now)
    return Hold(store, settings, row)


def _extend(row: Publication, settings: CentreSettings, now: datetime) -> None:
    row.held_until = row.look_at = now + timedelta(seconds=settings.lease_seconds)


def _end(row: Publication, state: PublicationState, reason: str, again: datetime | None) -> None:
    """End a hold with what its step came to."""
    row.state, row.reason, row.look_at, row.held_until = state, reason, again, None
