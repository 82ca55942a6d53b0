"""The BEP 52 layers of large artifacts, and the proofs of web seeds."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.add_column(sa.Column("layer", sa.String(), nullable=True))
    with op.batch_alter_table("replica", schema=None) as batch_op:
        moment = fleet.store.columns.UtcDateTime(timezone=True)
        batch_op.add_column(sa.Column("proved_at", moment, nullable=True))
        batch_op.add_column(sa.Column("proved_by", sa.String(), nullable=True))
    # a probe speaks of several shards now
    op.execute("UPDATE transfer SET shard_id = NULL WHERE kind = 'probe'")


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.drop_column("layer")
    with op.batch_alter_table("replica", schema=None) as batch_op:
        batch_op.drop_column("proved_at")
        batch_op.drop_column("proved_by")
