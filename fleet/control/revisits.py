"""What is looked at again though nothing about it changed: its time has come.

A rule is looked at when it expires and when the sites file was applied, and what a rule is short of
once a day: room that was freed, for one, is a change of the site and not of the shard that waits
for it.
"""

from datetime import timedelta

from sqlmodel import Session, col, select

from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Placement, Rule, Shard, Version

LOOK_AGAIN = timedelta(days=1)
_AT_ONCE = 100


def step(store: Store) -> bool:
    """Make a batch of shards dirty whose time has come; False when there are none."""
    with store.write() as session:
        now = store.now(session)
        rules = session.exec(
            select(Rule).where(col(Rule.look_at) <= now).limit(1).with_for_update()
        ).all()
        for rule in rules:
            rule.look_at = rule.expires if rule.expires and rule.expires > now else None
            _look_at_all(session, rule.dataset_id)
        if rules:
            return True  # more shards in the same unit of work would be taken out of order
        short = session.exec(
            select(Placement)
            .where(col(Placement.look_at) <= now)
            .order_by(col(Placement.look_at))
            .limit(_AT_ONCE)
        ).all()
        for row in sorted(short, key=lambda row: row.shard_id):
            row.look_at = now + LOOK_AGAIN
            holdings.lock(session, Shard, row.shard_id).dirty = True
        return bool(short)


def _look_at_all(session: Session, dataset: str) -> None:
    versions = select(Version.id).where(Version.dataset_id == dataset)
    holdings.dirty_shards(session, versions)
