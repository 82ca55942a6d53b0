"""Causes that `fleet why` gives for more than one kind of thing: rules, sites, copies, waits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, select

from fleet.control import (
    facts,
    gateways,
    incidents,
    judging,
    retirement,
    standing,
    uploads,
    windows,
)
from fleet.planning import health
from fleet.planning.fixity import RISKS
from fleet.planning.press import DATASET as CATALOGUE
from fleet.planning.repair import URGENT
from fleet.planning.states import ReplicaState, TransferKind, TransferState
from fleet.planning.windows import Work, turn
from fleet.store import faults, fixity, transfers
from fleet.store.tables import (
    Budget,
    Fixity,
    Incident,
    Press,
    Replica,
    Rule,
    Site,
    Transfer,
    Uploading,
)

PRESS = "press"
"""The id of the only row of its table."""

_ENDED_SHOWN = 3


@dataclass(frozen=True)
class Cause:
    """One thing, the state it is in, the reason, since when, and when it is looked at again."""

    thing: str
    state: str
    reason: str
    again: datetime | None = None
    since: datetime | None = None


def press(session: Session) -> list[Cause]:
    """Tell how far the catalogue is, and what a person should see to."""
    row = session.get(Press, PRESS)
    if row is None:
        return [Cause(CATALOGUE, "not written", "no version was published yet")]
    state = "not written" if row.written_at is None else "signed" if row.signed else "unsigned"
    reason = row.reason or "what changes is told once it is quiet for a minute"
    return [Cause(CATALOGUE, state, reason, row.look_at, row.written_at)]


def rule(session: Session, dataset: str, now: datetime) -> list[Cause]:
    """Tell what must hold for a dataset, and until when."""
    row = facts.rule_of(session, dataset)
    if row is None:
        return [Cause(f"rule of {dataset}", "none", "nobody asked for copies of it")]
    expired = row.expires is not None and row.expires <= now
    until = "it never expires" if row.expires is None else "it expires then"
    if expired:
        until = "nothing is copied, but away from a site that is to be retired"
    reason = f"{_wanted(row)}; priority {row.priority}; {until}"
    state = "expired" if expired else "in force"
    again = None if expired else row.expires
    causes = [Cause(f"rule of {dataset}", state, reason, again)]
    if row.deadline is not None:
        state = "missed" if row.deadline <= now else "ahead"
        said = "copies are due by then, quiet hours or not"
        causes.append(Cause(f"deadline of {dataset}", state, said, row.deadline))
    return causes


def _wanted(row: Rule) -> str:
    copies = "a copy at every site" if row.copies is None else f"{row.copies} copies at sites"
    apart = f", no two with the same {' or '.join(row.spread_by)}" if row.spread_by else ""
    match = "matches" if row.copies is None else "match"
    where = f" that {match} {row.selector!r}" if row.selector.strip() else ""
    return f"{copies}{where}{apart}, {row.min_copies} at the least"


def site(session: Session, row: Site, now: datetime) -> list[Cause]:
    """Tell how a site is, what it waits for, what it holds and what it reads again."""
    state = "retired" if row.retired else "retiring" if row.retiring else ""
    state = state or ("silent" if row.silent else "active")
    head = f"{row.kind} {row.region}".strip()
    reason = ": ".join(filter(None, (head, "; ".join(_plight(session, row)))))
    causes = [Cause(row.id, state, reason, row.retiring), *troubles(session, row.id, now)]
    if (told := session.get(Uploading, row.id)) is not None:
        state = "held" if told.bytes_per_second == 0 else "open"
        causes.append(Cause(f"uploads of {row.id}", state, uploads.in_words(told), told.until))
    causes += quiet_hours(session, row, now)
    if (budget := session.get(Budget, row.id)) is not None:
        rate = budget.bytes_per_second
        fast = "at any speed" if rate is None else f"at {rate / 1e6:g} MB/s at most"
        source = f"; {budget.source}" if budget.source else ""
        reason = f"{budget.streams} streams at once, {fast}{source}"
        causes.append(Cause(f"budget of {row.id}", "set", reason))
    return [*causes, _copies(session, row.id), _reading(session, row.id)]


def _plight(session: Session, row: Site) -> Iterator[str]:
    """Tell what keeps a site that was not retired from its part, and what can be done."""
    if row.retiring:
        yield f"it {retirement.waits(session, row)}"
    if row.retiring or row.retired:
        return
    if behind := gateways.gone(session).get(row.id):
        yield (
            f"it fronts {behind}, which was retired or is to be: what it holds counts on for "
            "nothing, and it gets nothing new, as long as the sites file says that it does"
        )
    if row.silent:
        yield (
            "it answers no wake-up; it is asked again all the time; if it is gone for good, say "
            f"`retired: {retirement.LOST}` in the sites file"
        )


def troubles(session: Session, site: str, now: datetime) -> list[Cause]:
    """Tell of a site's open incidents, and of the last that ended."""
    among = select(Incident).where(Incident.site_id == site)
    shown = [
        *session.exec(among.where(col(Incident.ended_at).is_(None))).all(),
        *session.exec(
            among.where(col(Incident.ended_at).is_not(None))
            .order_by(col(Incident.ended_at).desc())
            .limit(_ENDED_SHOWN)
        ).all(),
    ]
    return [_incident(session, one, now) for one in shown]


def _incident(session: Session, row: Incident, now: datetime) -> Cause:
    thing = f"incident at {row.site_id}"
    if row.ended_at is not None:
        return Cause(thing, "ended", row.reason, since=row.ended_at)
    if row.kind != faults.JUDGED:
        return Cause(thing, "open", f"{row.reason}; it ends with a probe that is served right")
    reason = (
        f"{row.reason}; {row.site_id} is no source and no target, and what was not read since does "
        "not count as a copy"
    )
    if row.stage == incidents.SAMPLING:
        finding = health.decide(judging.sampled(session, row), row.began_at, now)
        reason = f"{reason}; {finding.reason}" if row.samples else reason
    elif row.stage == incidents.READING:
        reason += "; it ends when all that it holds was read again"
    return Cause(thing, row.stage, reason, row.look_at, since=row.began_at)


def quiet_hours(session: Session, site: Site, now: datetime) -> list[Cause]:
    """Tell whether a site's quiet hours are on, where it keeps any."""
    quiet = windows.of(session, site)
    if quiet is None:
        return []
    now_in = turn(quiet, now, Work())
    said = now_in.reason if quiet.reason in now_in.reason else f"{now_in.reason}: {quiet.reason}"
    reason = f"{said}; work of priority {URGENT} or more waits for nothing"
    return [
        Cause(f"quiet hours of {site.id}", "on" if now_in.goes else "off", reason, now_in.until)
    ]


def _copies(session: Session, site: str) -> Cause:
    rows = session.exec(
        select(Replica.state, func.count())
        .where(Replica.site_id == site)
        .group_by(col(Replica.state))
        .order_by(col(Replica.state))
    ).all()
    said = ", ".join(f"{number:,} {state}" for state, number in rows)
    return Cause(f"copies at {site}", "held" if rows else "none", said or "it holds nothing yet")


def _reading(session: Session, site: str) -> Cause:
    """Tell what a site reads again, and when the next copy is due."""
    running, told = fixity.running(session, site), session.get(Fixity, site)
    reason = f"{running} readings are under way or told of"
    if told is not None:
        reason += f"; {told.read:,} bytes on {told.day}, of {told.held:,} held"
    state = "reading" if running else "idle"
    return Cause(f"fixity of {site}", state, reason, fixity.next_due(session, site))


def copy(row: Replica) -> Cause:
    """Tell what is believed of one copy, why, and when it is read again."""
    reason, since = row.reason, row.troubled_at
    if row.state == ReplicaState.AVAILABLE:
        since = row.verified_at
        reason = f"every byte was verified; {reason}"
    return Cause(f"replica {row.id} at {row.site_id}", row.state, reason, row.look_at, since)


def stands(session: Session, shard: str) -> Cause:
    """Tell how many independent good copies a shard has."""
    standing_, gone = standing.of(session, (shard,))[shard], gateways.gone(session)
    good = {row.site_id for row in standing_.rows if row.state == ReplicaState.AVAILABLE}
    with_others = sorted(good & gone.keys())
    at = ", ".join(sorted(standing_.counted)) or "nowhere"
    aside = len(standing_.counted) - standing_.good
    reason = f"verified copies that count: {at}"
    if aside:
        reason += f"; {aside} of them only in front of another"
    for gateway in with_others:
        reason += f"; not the one at {gateway}, which goes with {gone[gateway]}"
    few = "; the fewer there are, the earlier each is read again" if standing_.good < RISKS else ""
    return Cause(f"shard {shard}", f"{standing_.good} good", reason + few)


def waits(session: Session, transfer: Transfer, now: datetime) -> list[Cause]:
    """Tell what a transfer that has not begun waits for at its site, besides its own reason."""
    if transfer.state not in (TransferState.WAITING, TransferState.ANNOUNCED):
        return []
    row = session.get_one(Site, transfer.executor_id)
    causes = [one for one in troubles(session, row.id, now) if one.state != "ended"]
    if row.silent:
        causes.append(Cause(row.id, "silent", "it answers no wake-up; it is asked again"))
    if transfer.kind in windows.BULK and transfer.priority < URGENT:
        causes += quiet_hours(session, row, now)
    if transfer.state == TransferState.WAITING:
        causes += _slots(session, row, transfer)
    return causes


def _slots(session: Session, row: Site, transfer: Transfer) -> list[Cause]:
    lane: Sequence[str] = (TransferKind.PROBE,)
    if transfer.kind != TransferKind.PROBE:
        lane = transfers.BULK_KINDS
    told = transfers.taken(session, [row.id])
    taken = sum(told[row.id, kind] for kind in lane)
    if taken < row.slots:
        return []
    reason = f"{taken} of its {row.slots} slots are taken; the next of the highest priority follows"
    return [Cause(f"slots of {row.id}", "full", reason)]
