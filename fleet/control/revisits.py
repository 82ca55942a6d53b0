"""What is looked at again though nothing about it changed: its time has come.

A rule is looked at when it is given, when it expires and when the sites file was applied, and what
a rule is short of once a day: room that was freed, for one, is a change of the site and not of the
shard that waits for it.
"""

from datetime import datetime, timedelta

from sqlalchemy import BindParameter, bindparam
from sqlmodel import Session, col, select

from fleet.control import publications
from fleet.store import locking
from fleet.store.database import Store
from fleet.store.tables import Placement, Rule, Shard, Version

LOOK_AGAIN = timedelta(days=1)
_AT_ONCE = 100


_NOW: BindParameter[datetime] = bindparam("now")
_RULES = select(Rule).where(col(Rule.look_at) <= _NOW).limit(1)
_SHORT = (
    select(Placement)
    .where(col(Placement.look_at) <= _NOW)
    .order_by(col(Placement.look_at))
    .limit(_AT_ONCE)
)


def step(store: Store) -> bool:
    """Make a batch of shards dirty whose time has come; False when there are none."""
    with store.read() as session:
        if not _anything(session, store.now(session)):
            return False
    with store.write() as session:
        now = store.now(session)
        rules = session.exec(_RULES.with_for_update(), params={"now": now}).all()
        for rule in rules:
            rule.look_at = rule.expires if rule.expires and rule.expires > now else None
            publications.make(session, rule.dataset_id, now)
            _look_at_all(session, rule.dataset_id)
        if rules:
            return True  # more shards in the same unit of work would be taken out of order
        short = session.exec(_SHORT, params={"now": now}).all()
        for row in sorted(short, key=lambda row: row.shard_id):
            row.look_at = now + LOOK_AGAIN
            locking.lock(session, Shard, row.shard_id).dirty = True
        return bool(short)


def _anything(session: Session, now: datetime) -> bool:
    """Whether something's time has come; to see that nothing's has, nobody need wait for us."""
    return any(session.exec(one, params={"now": now}).first() for one in (_RULES, _SHORT))


def _look_at_all(session: Session, dataset: str) -> None:
    versions = select(Version.id).where(Version.dataset_id == dataset)
    locking.dirty_shards(session, versions)
