"""Sums of changes beside the notes of them, so that a tick reads only what was noted."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# name, column, the rows of it for SQLite and for PostgreSQL
_INDEXES = (
    ("ix_versionchange_note", "id", "folded = 0", "NOT folded"),
    ("ix_versionchange_sum", "version_id", "folded = 1", "folded"),
)


def upgrade() -> None:
    """Bring the tables forward; all that is there counts as notes."""
    op.add_column(
        "versionchange",
        sa.Column("folded", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    for name, column, sqlite, postgresql in _INDEXES:
        op.create_index(
            name,
            "versionchange",
            [column],
            sqlite_where=sa.text(sqlite),
            postgresql_where=sa.text(postgresql),
        )


def downgrade() -> None:
    """Bring the tables back."""
    for name, *_ in _INDEXES:
        op.drop_index(name, "versionchange")
    op.drop_column("versionchange", "folded")
