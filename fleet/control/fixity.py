"""Fixity: copies are read again in their turn, and stop counting when nobody read them in time.

Each site is looked at in units of work of its own, by indexed queries of as many rows as it may
read at once; which come first is decided by ``fleet.planning.fixity``.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlmodel import Session

from fleet.control import incidents, replicas, standing, windows
from fleet.planning.fixity import (
    LATE,
    PRESSING,
    RISKS,
    DueCopy,
    Reader,
    choose,
    is_free,
    level,
    room,
)
from fleet.planning.windows import Turn, Work, turn
from fleet.settings import CentreSettings
from fleet.store import fixity, locking
from fleet.store.database import Store
from fleet.store.tables import Fixity, Incident, Replica, Site

_AT_ONCE = 100
_OVERSIGHT = 4  # so many copies are compared for each that may be read now
_LOOK_AGAIN = timedelta(days=1)


def step(store: Store, settings: CentreSettings) -> bool:
    """Have what is due verified at every site, as far as each may read now; False if nothing is."""
    age = timedelta(days=settings.fixity_days)
    with store.read() as session:
        now = store.now(session)
        found = fixity.sites_due(session, now, now - age, now - age * LATE)
        due = _may_read(session, found, age, now) if found else []
    busy = False
    for one in found:
        if one.outdated:
            with store.write() as session:
                busy |= _outdate(session, one.site, age, store.now(session))
    for one in due:
        with store.write() as session:
            busy |= _read(session, one.site, age, store.now(session))
    return busy


def _may_read(
    session: Session, found: Sequence[fixity.SiteDue], age: timedelta, now: datetime
) -> list[fixity.SiteDue]:
    """Choose the sites where something may be read now, of those where copies are due.

    They may all wait; only where that is certain nothing more is asked.
    """
    judged = incidents.judged(session)
    if judged:  # then a copy may be more alone than was noted
        return list(found)
    running = fixity.running_by_site(session, [one.site for one in found])
    may = []
    for one in found:
        told = session.get(Fixity, one.site)
        if one.outdated or one.presses or told is None or told.day != _day(now):
            may.append(one)
            continue
        limits = _reader(session, one.site, told, running[one.site], None)
        if limits is not None and is_free(limits, age) and _wait(session, one.site, now) is None:
            may.append(one)
    return may


def _reader(
    session: Session, site: str, told: Fixity, running: int, incident: Incident | None
) -> Reader | None:
    """Return what a site may read at a quiet hour, if anything.

    While a site as a whole is in doubt, nothing is read there but the samples.
    """
    if incident is not None and incident.stage == incidents.SAMPLING:
        return None
    slots, condemned = session.get_one(Site, site).slots, incident is not None
    reader = Reader(site, slots, running, told.held, told.read, condemned=condemned)
    return reader if room(reader) else None


def _wait(session: Session, site: str, now: datetime) -> Turn | None:
    """Return what a site waits for with what need not be read now; None at a quiet hour."""
    quiet = turn(windows.of(session, session.get_one(Site, site)), now, Work())
    return None if quiet.goes else quiet


def _due(
    session: Session, limits: Reader, age: timedelta, now: datetime, *, unsure: bool
) -> list[str]:
    """Return shards whose copies a site should read next; where it holds back, pressing ones."""
    site, most, free = limits.site, _OVERSIGHT * room(limits), is_free(limits, age)
    due = fixity.due(session, site, now, most, RISKS if free or unsure else PRESSING)
    if len(due) == most or not free:  # those that wait for nothing may be behind those that do
        due += fixity.too_old(session, site, now - age * LATE, most, now)
    return due


def _read(session: Session, site: str, age: timedelta, now: datetime) -> bool:
    """Have what a site may read now of what is due verified."""
    judged = incidents.judged(session)
    told, running = _today(session, site, now), fixity.running(session, site)
    limits = _reader(session, site, told, running, judged.get(site))
    if limits is None:
        return False
    limits = replace(limits, wait=_wait(session, site, now))
    due = _due(session, limits, age, now, unsure=bool(judged))
    if not due:
        return False
    shards = locking.lock_shards(session, due)
    stand = standing.of(session, [shard.id for shard in shards], judged)
    copies: dict[str, DueCopy] = {}
    rows: dict[str, Replica] = {}
    for shard in shards:
        good = stand[shard.id].good
        row = next(row for row in stand[shard.id].rows if row.site_id == site)
        risk = level(row.state, good)
        if row.risk != risk:  # what became of whole sites was not noted of each copy
            row.risk = risk
        rows[row.id] = row
        copies[row.id] = DueCopy(row.id, row.state, good, shard.size, row.verified_at)
    for reading in choose(copies.values(), limits, age, now).readings:
        row = rows[reading.copy]
        why, first = reading.reason, reading.priority
        made = replicas.want_verify(session, row.shard_id, site, why, now, first)
        row.look_at = now + _LOOK_AGAIN
        if made is not None:
            told.read += copies[row.id].size
    return any(row.look_at and row.look_at > now for row in rows.values())


def _outdate(session: Session, site: str, age: timedelta, now: datetime) -> bool:
    """Stop counting what was not read for longer than the fixity age, a batch of it."""
    shards = fixity.too_old(session, site, now - age, _AT_ONCE)
    for shard in sorted(shards):
        replicas.outdate(session, shard, site, now - age, now)
    return bool(shards)


def _today(session: Session, site: str, now: datetime) -> Fixity:
    """Return what a site was told to read today; what it holds is counted once a day."""
    day = _day(now)
    row = session.get(Fixity, site)
    if row is None:
        row = Fixity(site_id=site, day="")
        session.add(row)
    if row.day != day:
        row.day, row.held, row.read = day, fixity.held(session, site), 0
    return row


def _day(now: datetime) -> str:
    return f"{now:%Y-%m-%d}"
