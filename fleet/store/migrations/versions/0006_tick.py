"""What each site holds and has to do, kept by triggers; indexes for a tick among millions of rows.

The statements below are understood by SQLite and PostgreSQL alike.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UNKNOWN = 8 * 1024 * 1024  # what a file of unknown size is reckoned at
_PLACED = "{0}.state NOT IN ('bad', 'missing', 'retired')"
_PROMISED = "{0}.ingest_id IS NOT NULL AND {0}.shard_id IS NULL AND {0}.state <> 'excluded'"
_LIVE = "{0}.state IN ('waiting', 'announced', 'running')"
_BYTES = f"coalesce({{0}}.size, {_UNKNOWN})"
_NOTE = "INSERT INTO siteload (site_id, held, queued)"


def _of_replica(row: str, sign: str) -> str:
    return f"SELECT {row}.site_id, {sign}size, 0 FROM shard WHERE id = {row}.shard_id"


def _of_artifact(row: str, sign: str) -> str:
    return (
        f"SELECT target_id, {sign}{_BYTES.format(row)}, 0 FROM transfer "
        f"WHERE id = {row}.ingest_id AND {_PROMISED.format(row)}"
    )


def _of_transfer(row: str, sign: str) -> str:
    return f"SELECT {row}.executor_id, 0, {sign}{row}.size WHERE {_LIVE.format(row)}"


# name, event, table, condition, what is noted
_TRIGGERS = (
    ("replica_made", "INSERT", "replica", _PLACED.format("NEW"), [_of_replica("NEW", "")]),
    (
        "replica_changed",
        "UPDATE OF state",
        "replica",
        f"({_PLACED.format('OLD')}) <> ({_PLACED.format('NEW')})",
        [
            f"{_of_replica('OLD', '-')} AND {_PLACED.format('OLD')}",
            f"{_of_replica('NEW', '')} AND {_PLACED.format('NEW')}",
        ],
    ),
    ("replica_gone", "DELETE", "replica", _PLACED.format("OLD"), [_of_replica("OLD", "-")]),
    ("artifact_made", "INSERT", "artifact", _PROMISED.format("NEW"), [_of_artifact("NEW", "")]),
    (
        "artifact_changed",
        "UPDATE OF ingest_id, shard_id, state, size",
        "artifact",
        (
            f"({_PROMISED.format('OLD')}) <> ({_PROMISED.format('NEW')})"
            " OR OLD.ingest_id <> NEW.ingest_id"
            f" OR {_BYTES.format('OLD')} <> {_BYTES.format('NEW')}"
        ),
        [_of_artifact("OLD", "-"), _of_artifact("NEW", "")],
    ),
    ("artifact_gone", "DELETE", "artifact", _PROMISED.format("OLD"), [_of_artifact("OLD", "-")]),
    ("transfer_made", "INSERT", "transfer", "NEW.size <> 0", [_of_transfer("NEW", "")]),
    (
        "transfer_changed",
        "UPDATE OF state, executor_id, size",
        "transfer",
        (
            f"({_LIVE.format('OLD')}) <> ({_LIVE.format('NEW')})"
            " OR OLD.executor_id <> NEW.executor_id OR OLD.size <> NEW.size"
        ),
        [_of_transfer("OLD", "-"), _of_transfer("NEW", "")],
    ),
    ("transfer_gone", "DELETE", "transfer", "OLD.size <> 0", [_of_transfer("OLD", "-")]),
)

_SUMS = (
    (
        "SELECT r.site_id, sum(s.size), 0 FROM replica r JOIN shard s ON s.id = r.shard_id "
        f"WHERE {_PLACED.format('r')} GROUP BY r.site_id"
    ),
    (
        f"SELECT t.target_id, sum({_BYTES.format('r')}), 0 FROM artifact r "
        f"JOIN transfer t ON t.id = r.ingest_id WHERE {_PROMISED.format('r')} GROUP BY t.target_id"
    ),
    (
        f"SELECT r.executor_id, 0, sum(r.size) FROM transfer r WHERE {_LIVE.format('r')} "
        "GROUP BY r.executor_id"
    ),
)


def upgrade() -> None:
    """Bring the tables forward, and reckon up what is there."""
    op.create_table(
        "siteload",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("queued", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.drop_index("ix_transfer_queue", "transfer")
    op.create_index(
        "ix_transfer_queue",
        "transfer",
        [
            "state",
            "executor_id",
            "kind",
            "not_before",
            sa.text("priority DESC"),
            sa.text("(deadline IS NULL)"),
            "deadline",
            "id",
        ],
    )
    op.create_index("ix_transfer_wake", "transfer", ["state", "not_before"])
    op.drop_index("ix_shard_dirty", "shard")
    op.create_index("ix_shard_dirty", "shard", ["dirty", "id"])
    for sums in _SUMS:
        op.execute(f"{_NOTE} {sums}")
    for trigger in _TRIGGERS:
        _create(*trigger)


def _create(name: str, event: str, table: str, when: str, notes: list[str]) -> None:
    note = f"{_NOTE} {' UNION ALL '.join(notes)};"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER load_{name} AFTER {event} ON {table} WHEN {when} BEGIN {note} END"
        )
        return
    op.execute(
        f"CREATE FUNCTION load_{name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {note} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER load_{name} AFTER {event} ON {table} FOR EACH ROW WHEN ({when}) "
        f"EXECUTE FUNCTION load_{name}()"
    )


def downgrade() -> None:
    """Bring the tables back."""
    for name, _, table, _, _ in _TRIGGERS:
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER load_{name}")
        else:
            op.execute(f"DROP TRIGGER load_{name} ON {table}")
            op.execute(f"DROP FUNCTION load_{name}()")
    op.drop_table("siteload")
    op.drop_index("ix_shard_dirty", "shard")
    op.create_index("ix_shard_dirty", "shard", ["dirty"])
    op.drop_index("ix_transfer_wake", "transfer")
    op.drop_index("ix_transfer_queue", "transfer")
    op.create_index(
        "ix_transfer_queue", "transfer", ["state", "executor_id", "priority", "not_before"]
    )
