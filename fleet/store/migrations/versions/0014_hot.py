"""Fewer entries of indexes to write for each shard that is decided about.

Two indexes began as others do.  On PostgreSQL, that of what waits for its time has no other: before
statistics told of new work it served to find who has any, and all that waits was read.  On pages of
replicas and placements room is left, so that a new reason is written beside the old row, and no
index hears of it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_REPEATED = (("shard", "version_id"), ("replica", "site_id"))
_REWORDED = ("replica", "placement")
_ROOMY = 85  # per cent of a page that new rows fill


def upgrade() -> None:
    """Bring the tables forward."""
    for table, column in _REPEATED:
        op.drop_index(f"ix_{table}_{column}", table)
    if op.get_bind().dialect.name == "postgresql":
        _index_wake(sa.text("state = 'waiting' AND not_before IS NOT NULL"))
        for table in _REWORDED:
            op.execute(f"ALTER TABLE {table} SET (fillfactor = {_ROOMY})")


def downgrade() -> None:
    """Bring the tables back."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _REWORDED:
            op.execute(f"ALTER TABLE {table} RESET (fillfactor)")
        _index_wake(None)
    for table, column in _REPEATED:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _index_wake(where: sa.TextClause | None) -> None:
    op.drop_index("ix_transfer_wake", "transfer")
    op.create_index("ix_transfer_wake", "transfer", ["state", "not_before"], postgresql_where=where)
