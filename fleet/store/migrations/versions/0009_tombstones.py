"""Copies and sites that are to go, and when rules and what they are short of are looked at."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_MOMENT = fleet.store.columns.UtcDateTime(timezone=True)


def upgrade() -> None:
    """Bring the tables forward; rules that expire are looked at when they do."""
    op.create_table(
        "tombstone",
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("waits", sa.String(), nullable=False),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.Column("drop_after", _MOMENT, nullable=False),
        sa.Column("look_at", _MOMENT, nullable=True),
        sa.Column("transfer_id", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["shard_id"], ["shard.id"]),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("shard_id", "site_id"),
    )
    op.create_index(op.f("ix_tombstone_look_at"), "tombstone", ["look_at"])
    for table in ("rule", "placement"):
        op.add_column(table, sa.Column("look_at", _MOMENT, nullable=True))
        op.create_index(op.f(f"ix_{table}_look_at"), table, ["look_at"])
    op.add_column("site", sa.Column("retiring", _MOMENT, nullable=True))
    op.execute("UPDATE rule SET look_at = expires")


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_column("retiring")
    for table in ("rule", "placement"):
        op.drop_index(op.f(f"ix_{table}_look_at"), table)
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column("look_at")
    op.drop_table("tombstone")
