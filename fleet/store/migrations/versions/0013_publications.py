"""What is said of datasets, how versions follow each other, and where they are published."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_MOMENT = fleet.store.columns.UtcDateTime(timezone=True)


def upgrade() -> None:
    """Bring the tables forward."""
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("description", sa.JSON(), server_default="{}", nullable=False)
        )
    with op.batch_alter_table("version", schema=None) as batch_op:
        batch_op.add_column(sa.Column("sequence", sa.Integer(), nullable=True))
    op.execute(_NUMBERED)
    op.create_index("ix_version_sequence", "version", ["dataset_id", "sequence"], unique=True)
    op.create_table(
        "publication",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("asked", sa.Float(), nullable=True),
        sa.Column("record", sa.String(), nullable=False),
        sa.Column("doi", sa.String(), nullable=False),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=True),
        sa.Column("mirrors", sa.JSON(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("held_until", _MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("look_at", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("published_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["version.id"]),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("version_id", "site_id"),
    )
    for column in ("site_id", "transfer_id", "look_at"):
        op.create_index(op.f(f"ix_publication_{column}"), "publication", [column])
    with op.batch_alter_table("wakeup", schema=None) as batch_op:
        batch_op.add_column(sa.Column("publication_id", sa.String(), nullable=True))


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("wakeup", schema=None) as batch_op:
        batch_op.drop_column("publication_id")
    op.drop_table("publication")
    op.drop_index("ix_version_sequence", table_name="version")
    with op.batch_alter_table("version", schema=None) as batch_op:
        batch_op.drop_column("sequence")
    with op.batch_alter_table("dataset", schema=None) as batch_op:
        batch_op.drop_column("description")


_NUMBERED = """
UPDATE version SET sequence = (
    SELECT count(*) FROM version AS earlier
    WHERE earlier.dataset_id = version.dataset_id AND earlier.published_at IS NOT NULL
    AND (earlier.published_at < version.published_at
        OR (earlier.published_at = version.published_at AND earlier.id <= version.id))
) WHERE published_at IS NOT NULL
"""
