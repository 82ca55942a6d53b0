"""Bins of traffic, the usual weeks that are made of them, and the zones of sites."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_MOMENT = fleet.store.columns.UtcDateTime(timezone=True)


def upgrade() -> None:
    """Bring the tables forward; the default stays, as in 0004."""
    op.create_table(
        "trafficbin",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("observer", sa.String(), nullable=False),
        sa.Column("start", _MOMENT, nullable=False),
        sa.Column("bytes_in", sa.BigInteger(), nullable=False),
        sa.Column("bytes_out", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.Column("throttled", sa.Integer(), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "observer", "start"),
    )
    op.create_table(
        "usual",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("hours", sa.JSON(), nullable=False),
        sa.Column("newest", sa.JSON(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("weeks", sa.Integer(), nullable=False),
        sa.Column("measured", sa.Float(), nullable=False),
        sa.Column("clock", sa.String(), nullable=False),
        sa.Column("shifted", sa.String(), nullable=False),
        sa.Column("derived_at", _MOMENT, nullable=True),
        sa.Column("look_at", _MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_index(op.f("ix_usual_look_at"), "usual", ["look_at"])
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.add_column(sa.Column("timezone", sa.String(), server_default="", nullable=False))


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_column("timezone")
    op.drop_index(op.f("ix_usual_look_at"), table_name="usual")
    op.drop_table("usual")
    op.drop_table("trafficbin")
