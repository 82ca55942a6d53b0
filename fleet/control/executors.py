"""Giving the work of sites that have no worker to nodes that do it for them.

What is to be done there is made as for any site, in its own name, and given away once its time has
come: whoever is trusted, near and has the least to do then.  What such a node no longer does comes
back, and is given to another.
"""

from collections import Counter
from datetime import timedelta

from sqlmodel import Session

from fleet.control import facts, grants
from fleet.planning.executors import UNMANNED_DRIVERS, choose
from fleet.planning.states import TransferKind
from fleet.settings import CentreSettings
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Site, Transfer

AT_ONCE = 100
_LOOK_AGAIN = timedelta(minutes=5)
_KINDS = (TransferKind.COPY, TransferKind.VERIFY, TransferKind.DROP)


def give_away(store: Store, settings: CentreSettings, target: str) -> bool:
    """Give what waits at a site without a worker to nodes; whether there may be more."""
    with store.write() as session:
        site, now = session.get_one(Site, target), store.now(session)
        lacks = grants.lacking(settings, site)
        sites = facts.sites(session)
        due = transfers.due(session, target, _KINDS, AT_ONCE)
        given = Counter[str]()
        for transfer in due:
            chosen = choose(facts.site(site), sites, given)
            if lacks or not chosen.site:
                transfer.not_before, transfer.reason = now + _LOOK_AGAIN, lacks or chosen.reason
                continue
            transfer.executor_id, transfer.reason = chosen.site, chosen.reason
            given[chosen.site] += transfer.size
        return len(due) == AT_ONCE


def take_back(session: Session, transfer: Transfer) -> bool:
    """Give a transfer back to the site that it is for, if that has no worker; whether it has none.

    It is to be given away anew.
    """
    target = session.get_one(Site, transfer.target_id)
    if target.driver not in UNMANNED_DRIVERS:
        return False
    transfer.executor_id = transfer.target_id
    return True
