"""Budgets of providers, the slices of them that attempts hold, and what reading a site costs."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward; the providers themselves come with the next sites file."""
    moment = fleet.store.columns.UtcDateTime(timezone=True)
    op.create_table(
        "provider",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hosts", sa.JSON(), nullable=False),
        sa.Column("requests_per_minute", sa.Integer(), nullable=True),
        sa.Column("bytes_per_5_minutes", sa.BigInteger(), nullable=True),
        sa.Column("streams", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("factor", sa.Float(), nullable=False),
        sa.Column("strained_at", moment, nullable=True),
        sa.Column("rests_until", moment, nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "slice",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("attempt_id", sa.String(), nullable=False),
        sa.Column("share", sa.Integer(), nullable=False),
        sa.Column("starts", moment, nullable=False),
        sa.Column("until", moment, nullable=False),
        sa.ForeignKeyConstraint(["provider"], ["provider.name"]),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempt.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("slice", schema=None) as batch_op:
        batch_op.create_index("ix_slice_books", ["provider", "until"], unique=False)
        batch_op.create_index(batch_op.f("ix_slice_attempt_id"), ["attempt_id"], unique=False)
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("egress_usd_per_gb", sa.Float(), server_default="0", nullable=False)
        )


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_column("egress_usd_per_gb")
    op.drop_table("slice")
    op.drop_table("provider")
