"""What sites serve under bare names."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_MOMENT = fleet.store.columns.UtcDateTime(timezone=True)


def upgrade() -> None:
    """Bring the tables forward."""
    op.create_table(
        "served",
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("at", _MOMENT, nullable=True),
        sa.Column("waits", sa.String(), nullable=False),
        sa.Column("look_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"]),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
        sa.PrimaryKeyConstraint("site_id", "dataset_id"),
    )
    op.create_index(op.f("ix_served_look_at"), "served", ["look_at"])


def downgrade() -> None:
    """Bring the tables back."""
    op.drop_table("served")
