"""The BEP 52 layers of large artifacts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.add_column(sa.Column("layer", sa.String(), nullable=True))


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.drop_column("layer")
