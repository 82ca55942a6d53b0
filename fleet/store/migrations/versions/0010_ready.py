"""On PostgreSQL, an index of what is ready to be done, in the order it is done in.

It takes ``not_before IS NULL`` for no equality: to find the next by the index of the queue, which
serves SQLite well, it sorted all that waits.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    if op.get_bind().dialect.name == "postgresql":
        rank = (sa.text("priority DESC"), sa.text("(deadline IS NULL)"), "deadline", "id")
        op.create_index(
            "ix_transfer_ready",
            "transfer",
            ["executor_id", "kind", *rank],
            postgresql_where=sa.text("state = 'waiting' AND not_before IS NULL"),
        )


def downgrade() -> None:
    """Bring the tables back."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_index("ix_transfer_ready", "transfer")
