"""Torrents that others made of a shard's bytes."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.create_table(
        "torrentalias",
        sa.Column("infohash", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("torrent", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("theirs", sa.String(), nullable=False),
        sa.Column("ours", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=True),
        sa.Column("created_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("checked_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["shard_id"],
            ["shard.id"],
        ),
        sa.PrimaryKeyConstraint("infohash"),
    )
    with op.batch_alter_table("torrentalias", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_torrentalias_shard_id"), ["shard_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_torrentalias_transfer_id"), ["transfer_id"], unique=False
        )


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("torrentalias", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_torrentalias_transfer_id"))
        batch_op.drop_index(batch_op.f("ix_torrentalias_shard_id"))

    op.drop_table("torrentalias")
