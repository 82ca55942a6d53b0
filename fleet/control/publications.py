"""Versions at repositories: which are wanted, and what the tick does about those that are due.

A publication is asked for by a rule or by a person.  The tick decides and sends a wake-up; who
speaks to the repository is the consumer, in ``records``, for that may take minutes.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, update
from sqlmodel import Session, col, select

from fleet import wakeups
from fleet.control import facts, incidents
from fleet.control.errors import NotFoundError, RefusedError
from fleet.planning import press
from fleet.planning import publications as planning
from fleet.planning.executors import WHOLE_DRIVERS
from fleet.planning.publications import PublicationFacts
from fleet.planning.states import PublicationState, TransferState, VersionState
from fleet.settings import CentreSettings
from fleet.store import locking, transfers, versioning
from fleet.store.database import Store
from fleet.store.tables import Publication, Site, Transfer, Version, Wakeup

_AT_ONCE = 20
_OPEN = (PublicationState.WANTED, PublicationState.CLOSING)
_ENDED = (PublicationState.PUBLISHED, PublicationState.REFUSED)


def make(session: Session, dataset: str, now: datetime) -> None:
    """Have a dataset's latest version published where its rule asks for that."""
    version = versioning.latest(session, dataset)
    if version is None:
        return
    for site in _ruled(session, dataset, now):
        if _of(session, version.id, site) is None:
            session.add(_fresh(version.id, site, f"{site} matches the rule", now))
    session.connection().execute(  # by the connection: no object has to follow
        update(Publication)
        .where(
            col(Publication.version_id) == version.id,
            col(Publication.state) == PublicationState.WANTED,
        )
        .values(look_at=now)
    )


def ask(store: Store, name: str, at: str = "") -> str:
    """Have a version published at once, at a site or wherever its rule says; return its id.

    One that was refused is asked for again.

    Raises:
        NotFoundError: there is no such version, or site.
        RefusedError: it was withdrawn, is the catalogue's, or no repository is named.
    """
    with store.write() as session:
        now, version = store.now(session), named(session, name)
        if version.state == VersionState.WITHDRAWN:
            raise RefusedError(f"{versioning.folder(version)} was withdrawn: it is not published")
        if version.dataset_id == press.DATASET:
            raise RefusedError(
                "editions of the catalogue get no DOI: each lives for days, and a record for ever"
            )
        for site in _chosen(session, version, at, now):
            row = _of(session, version.id, site)
            if row is None:
                row = _fresh(version.id, site, "a person asked for it", now)
                session.add(row)
            else:
                _again(session, row, now)
            row.by_hand = True
        return version.id


def named(session: Session, name: str) -> Version:
    """Find a version by its id, as DATASET/VERSION, or as the latest of a dataset.

    Raises:
        NotFoundError: there is none.
    """
    found = session.get(Version, name)
    dataset, _, label = name.partition("/")
    row = versioning.find_dataset(session, dataset) if found is None else None
    if row is not None and label:
        asked = select(Version).where(Version.dataset_id == row.id, Version.label == label)
        found = session.exec(asked).first()
    elif row is not None:
        found = versioning.latest(session, row.id)
    if found is None:
        raise NotFoundError(
            f"there is no version {name!r}: give its id, DATASET/VERSION, or a dataset of which a "
            "version is published"
        )
    return found


def look_at_fill(session: Session, transfer: str, now: datetime) -> None:
    """Have a publication looked at, whose draft a transfer was to fill that has ended."""
    session.exec(
        update(Publication).where(col(Publication.transfer_id) == transfer).values(look_at=now)
    )


def look_at_dataset(session: Session, dataset: str, now: datetime) -> None:
    """Ask again for what was refused of a dataset, because something was said of it."""
    for row in _of_dataset(session, dataset):
        _again(session, row, now)


_DUE = (
    select(Publication.id)
    .where(col(Publication.look_at) <= bindparam("now"))
    .order_by(col(Publication.look_at))
    .limit(_AT_ONCE)
)


def step(store: Store, settings: CentreSettings) -> bool:
    """Look at a batch of publications whose time has come; whether there may be more."""
    with store.read() as session:
        due = session.exec(_DUE, params={"now": store.now(session)}).all()
    for one in due:
        with store.write() as session:
            _look(session, settings, one, store.now(session))
    return len(due) == _AT_ONCE


def _look(session: Session, settings: CentreSettings, name: str, now: datetime) -> None:
    if session.get(Publication, name) is None:
        return
    row = locking.lock(session, Publication, name)
    if row.look_at is None or row.look_at > now:
        return
    if row.state == PublicationState.FILLING or _filled_late(session, row):
        _look_at_fill(session, row, now)
    if row.state in _ENDED:
        row.look_at = None  # else it would stand in the way of those that are due
    if row.state not in _OPEN or not _may_go_on(session, row, now):
        return
    session.add(
        Wakeup(site_id=row.site_id, task=wakeups.ADVANCE, publication_id=row.id, created_at=now)
    )
    row.look_at = now + timedelta(seconds=settings.lease_seconds)


def _filled_late(session: Session, row: Publication) -> bool:
    """Whether a draft that was given up was filled all the same."""
    if row.state != PublicationState.REFUSED or row.transfer_id is None:
        return False
    return session.get_one(Transfer, row.transfer_id).state == TransferState.DONE


def _look_at_fill(session: Session, row: Publication, now: datetime) -> None:
    transfer = session.get_one(Transfer, row.transfer_id)
    before = row.state
    row.state, row.reason = planning.after_fill(transfer.state, transfer.reason)
    ended = row.state == PublicationState.REFUSED
    row.look_at = None if ended else now if row.state != before else now + planning.LOOK_AGAIN


def _may_go_on(session: Session, row: Publication, now: datetime) -> bool:
    """Whether the next step is to be done now; if not, note why, or let go of the publication."""
    version, site = session.get_one(Version, row.version_id), session.get_one(Site, row.site_id)
    one, place = _facts(row, version), facts.site(site, incident=incidents.of(session, site.id))
    ruled = row.by_hand or site.id in _ruled(session, version.dataset_id, now)
    if not one.begun and version.sequence is not None and not (one.is_wanted and ruled):
        session.delete(row)
        return False
    if reason := planning.refused(one, place):
        row.state, row.reason, row.look_at = PublicationState.REFUSED, reason, None
        return False
    others = [
        _facts(other, session.get_one(Version, other.version_id))
        for other in _of_dataset(session, version.dataset_id, site.id)
        if other.id != row.id
    ]
    if reason := planning.waits(one, others, place):
        row.reason, row.look_at = reason, now + planning.LOOK_AGAIN
        return False
    return True


def wake_others(session: Session, row: Publication, now: datetime) -> None:
    """Look at the other versions of the same dataset at a repository: one of them is next."""
    dataset = session.get_one(Version, row.version_id).dataset_id
    versions = select(Version.id).where(Version.dataset_id == dataset, Version.id != row.version_id)
    session.exec(
        update(Publication)
        .where(
            col(Publication.version_id).in_(versions),
            col(Publication.site_id) == row.site_id,
            col(Publication.state) == PublicationState.WANTED,
        )
        .values(look_at=now)
    )


def _again(session: Session, row: Publication, now: datetime) -> None:
    """Have a publication that is not under way begun, or tried, at once."""
    filled = transfers.lock(session, row.transfer_id) if row.transfer_id else None
    row = locking.lock(session, Publication, row.id)
    if row.state not in (PublicationState.REFUSED, PublicationState.WANTED):
        return
    if filled is not None and filled.state == TransferState.SUSPENDED:
        filled.state, filled.reason = TransferState.CANCELLED, "it was asked for anew"
    row.state, row.attempts, row.look_at = PublicationState.WANTED, 0, now
    row.transfer_id, row.reason = None, "was asked for again"


def _chosen(session: Session, version: Version, at: str, now: datetime) -> Sequence[str]:
    known = {site.id for site in _repositories(session)}
    names = ", ".join(sorted(known)) or "the sites file has none"
    if at and at not in known:
        raise NotFoundError(f"there is no repository {at!r}: give one of {names}")
    chosen = [at] if at else _ruled(session, version.dataset_id, now)
    if not chosen:
        raise RefusedError(
            f"the rule of {version.dataset_id} selects no repository: name one with --at ({names})"
        )
    return chosen


def _ruled(session: Session, dataset: str, now: datetime) -> list[str]:
    """Name the repositories that the rule of a dataset asks for."""
    rule = facts.rule_of(session, dataset) if dataset != press.DATASET else None
    if rule is None or (rule.expires is not None and rule.expires <= now):
        return []
    places = [facts.site(site) for site in _repositories(session)]
    return [choice.site for choice in planning.where(facts.rule(rule), places)]


_REPOSITORIES = select(Site).where(
    col(Site.driver).in_(WHOLE_DRIVERS), col(Site.retired).is_(False)
)


def _repositories(session: Session) -> Sequence[Site]:
    return session.exec(_REPOSITORIES).all()


def _fresh(version: str, site: str, reason: str, now: datetime) -> Publication:
    return Publication(version_id=version, site_id=site, reason=reason, look_at=now, created_at=now)


def _of(session: Session, version: str, site: str) -> Publication | None:
    return session.exec(
        select(Publication).where(Publication.version_id == version, Publication.site_id == site)
    ).first()


def _of_dataset(session: Session, dataset: str, site: str = "") -> Sequence[Publication]:
    rows = (
        select(Publication)
        .join(Version, col(Version.id) == col(Publication.version_id))
        .where(Version.dataset_id == dataset)
        .order_by(col(Publication.id))
    )
    return session.exec(rows.where(Publication.site_id == site) if site else rows).all()


def _facts(row: Publication, version: Version) -> PublicationFacts:
    return PublicationFacts(
        label=version.label,
        version=VersionState(version.state),
        sequence=version.sequence,
        state=PublicationState(row.state),
        begun=row.asked is not None or row.record != "",
        by_hand=row.by_hand,
    )
