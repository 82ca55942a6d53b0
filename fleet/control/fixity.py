"""Fixity: copies that were not read for too long are read again."""

from fleet.control import replicas
from fleet.store import holdings
from fleet.store.database import Store

_AT_ONCE = 100


def step(store: Store) -> bool:
    """Have a batch of copies verified whose time has come; False when there are none."""
    with store.write() as session:
        now = store.now(session)
        due = holdings.fixity_due(session, now, _AT_ONCE)
        for row in due:
            row.look_at = None  # set anew when the verify is done
            since = row.verified_at.date() if row.verified_at else "ever"
            reason = f"not read since {since}"
            replicas.want_verify(session, row.shard_id, row.site_id, reason, now)
        return bool(due)
