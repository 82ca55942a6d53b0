"""Fixity: copies that were not read for too long are read again, and stop counting until then."""

from datetime import timedelta

from fleet.control import replicas
from fleet.planning.states import ReplicaState
from fleet.settings import CentreSettings
from fleet.store import holdings
from fleet.store.database import Store

_AT_ONCE = 100
_GRACE = timedelta(days=7)
_LOOK_AGAIN = timedelta(days=1)


def step(store: Store, settings: CentreSettings) -> bool:
    """Have a batch of copies verified whose time has come; False when there are none."""
    with store.write() as session:
        now = store.now(session)
        oldest = now - timedelta(days=settings.fixity_days) - _GRACE
        due = holdings.fixity_due(session, now, _AT_ONCE)
        for row in due:
            row.look_at = now + _LOOK_AGAIN
            since = f"{row.verified_at:%Y-%m-%d}" if row.verified_at else "ever"
            reason = f"not read since {since}"
            if row.state == ReplicaState.AVAILABLE and (row.verified_at or oldest) <= oldest:
                replicas.doubt(session, row.shard_id, row.site_id, reason, now)
            else:
                replicas.want_verify(session, row.shard_id, row.site_id, reason, now)
        return bool(due)
