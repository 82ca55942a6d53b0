"""Upload caps of sites, what their seeders say of them, and more counters of torrents."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward.

    The defaults stay: to take one away, SQLite makes the table anew, and drops the one that others
    refer to.
    """
    op.create_table(
        "uploading",
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("month", sa.String(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=True),
        sa.Column("bytes_per_month", sa.BigInteger(), nullable=True),
        sa.Column("bytes_per_second", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("until", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["site.id"]),
        sa.PrimaryKeyConstraint("site_id"),
    )
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.add_column(sa.Column("upload", sa.JSON(), server_default="{}", nullable=False))
    with op.batch_alter_table("seeding", schema=None) as batch_op:
        for name, kind in _COUNTERS:
            batch_op.add_column(sa.Column(name, kind, server_default="0", nullable=False))
    # a counter of a run that goes on is not counted twice
    op.execute("UPDATE seeding SET counted = uploaded")


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("seeding", schema=None) as batch_op:
        for name, _ in _COUNTERS:
            batch_op.drop_column(name)
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_column("upload")
    op.drop_table("uploading")


_COUNTERS = (
    ("complete", sa.Integer()),
    ("availability", sa.Integer()),
    ("counted", sa.BigInteger()),
)
