"""What changed of versions since somebody last read where their files are, kept by triggers."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_TOLD = "{0}.state IN ('available', 'suspect', 'bad', 'missing', 'leaving')"
_PUBLIC = "{0}.state <> 'draft'"
_NOTE = "INSERT INTO versionchange (version_id, shard_id, changes)"
_OF_REPLICA = "SELECT version_id, id, 1 FROM shard WHERE id = NEW.shard_id"
_OF_VERSION = "SELECT NEW.id, NULL, 1"

# name, event, table, condition, what is noted
_TRIGGERS = (
    ("replica_made", "INSERT", "replica", _TOLD.format("NEW"), _OF_REPLICA),
    (
        "replica_changed",
        "UPDATE OF state, proved_at",
        "replica",
        (
            f"({_TOLD.format('OLD')} OR {_TOLD.format('NEW')}) AND (OLD.state <> NEW.state"
            " OR (OLD.proved_at IS NULL) <> (NEW.proved_at IS NULL))"
        ),
        _OF_REPLICA,
    ),
    ("version_made", "INSERT", "version", _PUBLIC.format("NEW"), _OF_VERSION),
    (
        "version_changed",
        "UPDATE OF state, sequence, doi",
        "version",
        _PUBLIC.format("NEW"),
        _OF_VERSION,
    ),
)


def upgrade() -> None:
    """Bring the tables forward, and note what is public."""
    op.create_table(
        "versionchange",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=True),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(f"{_NOTE} SELECT id, NULL, 1 FROM version WHERE {_PUBLIC.format('version')}")
    for trigger in _TRIGGERS:
        _create(*trigger)


def _create(name: str, event: str, table: str, when: str, noted: str) -> None:
    note = f"{_NOTE} {noted};"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER change_{name} AFTER {event} ON {table} WHEN {when} BEGIN {note} END"
        )
        return
    op.execute(
        f"CREATE FUNCTION change_{name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {note} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER change_{name} AFTER {event} ON {table} FOR EACH ROW WHEN ({when}) "
        f"EXECUTE FUNCTION change_{name}()"
    )


def downgrade() -> None:
    """Bring the tables back."""
    for name, _, table, _, _ in _TRIGGERS:
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER change_{name}")
        else:
            op.execute(f"DROP TRIGGER change_{name} ON {table}")
            op.execute(f"DROP FUNCTION change_{name}()")
    op.drop_table("versionchange")
