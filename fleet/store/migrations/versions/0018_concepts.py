"""The DOI that stands for all versions of a dataset; to have one is a change of each of them."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_EVENT = "UPDATE OF doi ON dataset"
_WHEN = "COALESCE(OLD.doi, '') <> COALESCE(NEW.doi, '')"
_NOTE = (
    "INSERT INTO versionchange (version_id, shard_id, changes) "
    "SELECT id, NULL, 1 FROM version WHERE dataset_id = NEW.id AND state <> 'draft';"
)


def upgrade() -> None:
    """Bring the tables forward."""
    op.add_column("dataset", sa.Column("doi", sa.String(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER change_dataset_cited AFTER {_EVENT} FOR EACH ROW WHEN {_WHEN} "
            f"BEGIN {_NOTE} END"
        )
        return
    op.execute(
        "CREATE FUNCTION change_dataset_cited() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {_NOTE} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER change_dataset_cited AFTER {_EVENT} FOR EACH ROW WHEN ({_WHEN}) "
        "EXECUTE FUNCTION change_dataset_cited()"
    )


def downgrade() -> None:
    """Bring the tables back."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER change_dataset_cited")
    else:
        op.execute("DROP TRIGGER change_dataset_cited ON dataset")
        op.execute("DROP FUNCTION change_dataset_cited()")
    op.drop_column("dataset", "doi")
