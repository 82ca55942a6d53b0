"""Where the objects lie of sites that have no worker."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.add_column(sa.Column("store", sa.JSON(), server_default="{}", nullable=False))


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("site", schema=None) as batch_op:
        batch_op.drop_column("store")
