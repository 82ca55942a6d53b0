"""Giving the work of sites that have no worker to nodes that do it for them.

What is to be done there is made as for any site, in its own name, and given away once its time has
come: whoever is trusted, near and has the least to do then.  What such a node no longer does, or no
longer may do, comes back, and is given to another.  A site that is judged as a whole is only read.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet.control import facts, grants, incidents, probes
from fleet.planning.executors import UNMANNED_DRIVERS, choose, obstacle
from fleet.planning.states import AttemptState, TransferKind, TransferState
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Attempt, Site, Transfer

AT_ONCE = 100
LOOK_AGAIN = timedelta(minutes=5)
_JUDGED_KINDS = (TransferKind.VERIFY, TransferKind.PROBE)
_KINDS = (
    *(TransferKind.COPY, TransferKind.PUBLISH, TransferKind.DROP, TransferKind.SWITCH),
    *_JUDGED_KINDS,
)


def give_away(store: Store, settings: CentreSettings, target: str) -> bool:
    """Give what waits at a site without a worker to nodes; whether there may be more."""
    with store.write() as session:
        site, now = session.get_one(Site, target), store.now(session)
        lacks = grants.lacking(settings, site, now)
        known, given = facts.sites(session), Counter[str]()
        kinds = _KINDS if incidents.of(session, target) is None else _JUDGED_KINDS
        due = transfers.due(session, target, kinds, AT_ONCE)
        tried = _tried(session, [one.id for one in due])
        for transfer in due:
            if transfer.kind == TransferKind.PROBE:  # nobody was there to make it
                probes.rearm(session, transfer, now)
                continue
            chosen = choose(facts.site(site), known, given, tried[transfer.id])
            if lacks or not chosen.site:
                transfer.not_before, transfer.reason = now + LOOK_AGAIN, lacks or chosen.reason
                continue
            transfer.executor_id, transfer.reason = chosen.site, chosen.reason
            given[chosen.site] += transfer.size
        return len(due) == AT_ONCE


def _tried(session: Session, names: Iterable[str]) -> defaultdict[str, set[str]]:
    """Map transfers to the sites that tried them already."""
    found = defaultdict[str, set[str]](set)
    rows = select(Attempt.transfer_id, Attempt.site_id).where(col(Attempt.transfer_id).in_(names))
    for transfer, site in session.exec(rows):
        found[transfer].add(site)
    return found


def may_not(session: Session, transfer: Transfer) -> str:
    """Say why whoever was given a transfer of another site may not do it any more."""
    if transfer.executor_id == transfer.target_id or transfer.kind == TransferKind.PROBE:
        return ""
    return obstacle(facts.site(session.get_one(Site, transfer.executor_id)))


def take_back(session: Session, transfer: Transfer) -> bool:
    """Give a transfer back to the site that it is for, if that has no worker; whether it has none.

    It is to be given away anew.
    """
    target = session.get_one(Site, transfer.target_id)
    if target.driver not in UNMANNED_DRIVERS:
        return False
    transfer.executor_id = transfer.target_id
    return True


def withdraw(session: Session, attempt_id: str, reason: str, now: datetime) -> bool:
    """Take a claimed attempt back whose order could not be written for want of a grant.

    It is no fault of whoever claimed it, and is looked at again in a while.  Whether it was of a
    site that has no worker.
    """
    attempt = session.get_one(Attempt, attempt_id)
    transfer = transfers.lock(session, attempt.transfer_id)
    session.refresh(attempt)
    if attempt.state != AttemptState.RUNNING or transfer.fence != attempt.fence:
        return True
    if not take_back(session, transfer):
        return False
    attempt.state, attempt.reason = AttemptState.WITHDRAWN, reason
    transfer.state, transfer.reason = TransferState.WAITING, reason
    transfer.not_before, transfer.attempts = now + LOOK_AGAIN, transfer.attempts - 1
    return True
