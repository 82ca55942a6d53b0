"""Judging sites: what becomes of one that is at fault as a whole.

Rules this module keeps:

- A few of its copies, drawn by lot, are read.  All right: the incident ends, and what was in doubt
  or lost there is seen to file by file.  One wrong: all that the site holds is due, and counts no
  more until it was read; the incident ends when all of it was.
- However many copies a site holds, an incident that ends with its samples costs as many transfers
  as there were samples.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet.control import executors, incidents, replicas, standing
from fleet.control.incidents import CONDEMNED, ENDING, READING, SAMPLING
from fleet.planning import health
from fleet.planning.repair import LEVELS, URGENT
from fleet.planning.states import ReplicaState, TransferKind
from fleet.store import drafting, fixity, holdings, locking, transfers
from fleet.store.database import Store
from fleet.store.tables import Incident, Replica, Shard, Transfer, Version

_AT_ONCE = 200
_FIRST = URGENT * (LEVELS + 1)  # the priority of samples: they decide about everything else
_BEFORE = timedelta(seconds=1)  # what is due since then was made due here, and by nobody else
_LOST = (ReplicaState.BAD, ReplicaState.MISSING)
_FETCHES = (TransferKind.COPY, TransferKind.INGEST, TransferKind.PUBLISH)


def step(store: Store) -> bool:
    """Take every incident of a whole site a step on; False when none had anything to do."""
    with store.read() as session:
        now = store.now(session)
        known = incidents.judged(session).values()
        drawn = {
            one.id: _draw(session, one)
            for one in known
            if one.stage == SAMPLING and not one.samples
        }
    busy = False
    for incident in known:
        with store.write() as session:
            row = session.get_one(Incident, incident.id)
            busy |= _advance(session, row, drawn.get(row.id, []), now)
    return busy


def sampled(session: Session, incident: Incident) -> health.Sampled:
    """Tell what became of the samples of a site that is judged.

    One whose copy was dropped or retired meanwhile tells nothing.
    """
    right = wrong = waiting = 0
    for transfer in session.exec(
        select(Transfer).where(col(Transfer.id).in_(incident.samples))
    ).all():
        row = holdings.replica(session, transfer.shard_id or "", transfer.target_id)
        if row is None or row.state in replicas.GOING:
            continue
        if standing.counts(row, incident.began_at):
            right += 1
        elif transfer.state in transfers.LIVE:
            waiting += 1
        else:
            wrong += 1
    return health.Sampled(right, wrong, waiting)


def _draw(session: Session, incident: Incident) -> list[str]:
    copies = fixity.unread(session, incident.site_id, incident.began_at)
    return health.sample(incident.id, copies)


def _advance(session: Session, incident: Incident, drawn: list[str], now: datetime) -> bool:
    if incident.ended_at is not None:
        return False
    if incident.stage == SAMPLING:
        if drawn and not incident.samples and _order_samples(session, incident, drawn, now):
            return True
        return _decide(session, incident, now)
    if incident.stage == CONDEMNED:
        return _make_due(session, incident, now)
    if incident.stage == READING:
        given_up = fixity.unreadable(session, incident.site_id, incident.began_at, _AT_ONCE)
        for shard in given_up:
            replicas.unreadable(session, shard, incident.site_id, now)
        if given_up or fixity.any_unread(session, incident.site_id, incident.began_at):
            return bool(given_up)
        incident.stage = ENDING
    return _end(session, incident, now)


def _order_samples(session: Session, incident: Incident, drawn: list[str], now: datetime) -> bool:
    """Have copies read that were drawn; False if none can be, as when all are being copied anew."""
    site, samples = incident.site_id, []
    copies = select(Replica.shard_id).where(col(Replica.id).in_(drawn))
    for shard in locking.lock_shards(session, session.exec(copies).all()):
        reason = f"drawn by lot, to tell whether {site} is at fault as a whole"
        made = replicas.want_verify(session, shard.id, site, reason, now, _FIRST)
        kinds, states = (TransferKind.VERIFY,), transfers.UNENDED  # one given up tells, too
        transfer = made or transfers.live(session, shard.id, site, kinds, states)
        if transfer is not None:
            samples.append(transfer.id)
    incident.samples = samples
    return bool(samples)


def _decide(session: Session, incident: Incident, now: datetime) -> bool:
    found = sampled(session, incident)
    if incident.samples and found == health.Sampled():
        incident.samples = []  # all of them went: others are drawn
        return True
    finding = health.decide(found, incident.began_at, now)
    if finding.outcome == "wait":
        return False
    incident.reason = f"{incident.reason}; {finding.reason}"
    if finding.outcome == "clear":
        incident.stage = ENDING
        return _end(session, incident, now)
    incident.stage = CONDEMNED
    _see_to(session, fixity.troubled(session, incident.site_id, _AT_ONCE))
    return True


def _make_due(session: Session, incident: Incident, now: datetime) -> bool:
    """Have a batch of a condemned site's copies read, and their shards looked at."""
    site = incident.site_id
    gave = _give_up_transfers(session, site, now)
    mark = incident.began_at - _BEFORE
    shards = fixity.unmarked(session, site, mark, incident.began_at, _AT_ONCE)
    for shard in locking.lock_shards(session, shards):
        shard.dirty = True
        for row in standing.recount(session, shard.id).rows:
            if row.site_id == site:
                row.look_at = mark
    if len(shards) < _AT_ONCE and not gave:
        incident.stage = READING
    return True


def _give_up_transfers(session: Session, site: str, now: datetime) -> bool:
    """Leave a batch of what a condemned site was to fetch to others; whether there was any.

    Transfers are taken first, then versions, then shards, as everywhere.
    """
    reason = f"{site} is at fault as a whole"
    waiting = transfers.waiting_for(session, site, _FETCHES, _AT_ONCE)
    own = [one for one in waiting if one.target_id == site or not executors.take_back(session, one)]
    ended = [one for one in own if transfers.cancel(session, one, reason, now)]
    drafts = {one.version_id for one in ended if _is_of_draft(session, one)}
    for version in sorted(filter(None, drafts)):
        locking.lock(session, Version, version).dirty = True
    for transfer in sorted(ended, key=lambda one: one.shard_id or ""):
        if transfer.kind == TransferKind.INGEST:
            for artifact in drafting.ingested_by(session, transfer.id):
                artifact.ingest_id = None
        elif transfer.shard_id is not None:
            replicas.forgo(session, transfer.shard_id, site, reason)
    return bool(waiting)


def _is_of_draft(session: Session, transfer: Transfer) -> bool:
    """Whether a version waits for a transfer: for its files, or for a shard's piece hashes."""
    if transfer.shard_id is None:
        return transfer.kind == TransferKind.INGEST
    return session.get_one(Shard, transfer.shard_id).infohash is None


def _end(session: Session, incident: Incident, now: datetime) -> bool:
    """See to a batch of what was lost or accused at a site; end its incident after the last."""
    rows = fixity.troubled(session, incident.site_id, _AT_ONCE)
    _see_to(session, rows)
    for row in rows:
        row.troubled_at = None  # else the next doubt would judge the site by what it was cleared of
    if len(rows) < _AT_ONCE:
        incident.ended_at, incident.look_at = now, None
    return True


def _see_to(session: Session, rows: Sequence[Replica]) -> None:
    """Have the shards looked at of which copies are bad or missing."""
    lost = {row.shard_id for row in rows if row.state in _LOST}
    for shard in locking.lock_shards(session, lost):
        shard.dirty = True
