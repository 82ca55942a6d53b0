"""Fixity by risk and by site, and incidents of a site as a whole."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward; copies count as at the risk that their shards are at now."""
    moment = fleet.store.columns.UtcDateTime(timezone=True)
    op.create_table(
        "fixity",
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("read", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("site_id"),
    )
    with op.batch_alter_table("incident", schema=None) as batch_op:
        batch_op.add_column(sa.Column("stage", sa.String(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("samples", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("look_at", moment, nullable=True))
        batch_op.create_index(batch_op.f("ix_incident_ended_at"), ["ended_at"])
    with op.batch_alter_table("replica", schema=None) as batch_op:
        batch_op.add_column(sa.Column("arrived_at", moment, nullable=True))
        batch_op.add_column(sa.Column("troubled_at", moment, nullable=True))
        batch_op.add_column(sa.Column("risk", sa.Integer(), server_default="0", nullable=False))
        batch_op.create_index("ix_replica_due", ["site_id", "risk", "look_at"])
        batch_op.create_index("ix_replica_read", ["site_id", "state", "verified_at"])
        batch_op.create_index("ix_replica_trouble", ["site_id", "troubled_at"])
    op.execute("UPDATE replica SET arrived_at = verified_at")
    op.execute(
        "UPDATE replica SET risk = (SELECT CASE WHEN count(*) > 4 THEN 4 ELSE count(*) END"
        " FROM replica AS other"
        " WHERE other.shard_id = replica.shard_id AND other.state = 'available')"
        " WHERE state = 'available'"
    )


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("replica", schema=None) as batch_op:
        for name in ("trouble", "read", "due"):
            batch_op.drop_index(f"ix_replica_{name}")
        for name in ("risk", "troubled_at", "arrived_at"):
            batch_op.drop_column(name)
    with op.batch_alter_table("incident", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_incident_ended_at"))
        for name in ("look_at", "samples", "stage"):
            batch_op.drop_column(name)
    op.drop_table("fixity")
