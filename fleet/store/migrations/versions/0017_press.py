"""What changed of datasets since the catalogue last told of them, kept by triggers; the press.

Whatever changes what ``fleet.control.catalogue`` reads is noted, but for what changes of versions
that are the catalogue's own editions.
"""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_MOMENT = fleet.store.columns.UtcDateTime(timezone=True)
_NOTE = "INSERT INTO datasetchange (dataset_id, site_id, proof)"
_TOLD = "{0}.sequence IS NOT NULL AND NOT {0}.edition"
_OF_VERSION = f"SELECT v.dataset_id, NULL, {{0}} FROM version v WHERE {_TOLD.format('v')}"
_OF_REPLICA = (
    "SELECT v.dataset_id, NULL, {0} FROM shard s JOIN version v ON v.id = s.version_id"
    f" WHERE s.id = NEW.shard_id AND {_TOLD.format('v')}"
)
_OF_SITE = "VALUES (NULL, NEW.{0}, FALSE)"
_JUDGED = "EXISTS (SELECT 1 FROM incident i WHERE i.site_id = NEW.site_id AND i.ended_at IS NULL)"
_HELD = "{0}.state = 'available'"

# name, event, table, condition, what is noted
_TRIGGERS = (
    (
        "dataset_said",
        "UPDATE",
        "dataset",
        "TRUE",
        (
            "SELECT NEW.id, NULL, FALSE WHERE EXISTS"
            f" (SELECT 1 FROM version v WHERE v.dataset_id = NEW.id AND {_TOLD.format('v')})"
        ),
    ),
    (
        "version_made",
        "INSERT",
        "version",
        _TOLD.format("NEW"),
        "VALUES (NEW.dataset_id, NULL, FALSE)",
    ),
    (
        "version_changed",
        "UPDATE OF state, sequence, published_at, doi, licence, licence_retrieved_at, source",
        "version",
        _TOLD.format("NEW"),
        "VALUES (NEW.dataset_id, NULL, FALSE)",
    ),
    (
        "file_summed",
        "UPDATE OF md5",
        "artifact",
        "NEW.shard_id IS NOT NULL AND OLD.md5 IS NULL AND NEW.md5 IS NOT NULL",
        _OF_VERSION.format("FALSE") + " AND v.id = NEW.version_id",
    ),
    (
        "record_changed",
        "UPDATE OF state, record",
        "publication",
        "OLD.state = 'published' OR NEW.state = 'published'",
        _OF_VERSION.format("FALSE") + " AND v.id = NEW.version_id",
    ),
    ("copy_made", "INSERT", "replica", _HELD.format("NEW"), _OF_REPLICA.format("FALSE")),
    (
        "copy_changed",
        "UPDATE OF state",
        "replica",
        f"({_HELD.format('OLD')}) <> ({_HELD.format('NEW')})",
        _OF_REPLICA.format("FALSE"),
    ),
    (
        "copy_proved",
        "UPDATE OF verified_at",
        "replica",
        (
            f"{_HELD.format('OLD')} AND {_HELD.format('NEW')}"
            " AND (OLD.verified_at IS NULL OR OLD.verified_at <> NEW.verified_at)"
        ),
        # at a site that is at fault as a whole it counts from then on
        _OF_REPLICA.format(f"NOT {_JUDGED}"),
    ),
    (
        "site_changed",
        "UPDATE OF kind, driver, region, country, read_url, store, retired",
        "site",
        "TRUE",
        _OF_SITE.format("id"),
    ),
    ("fault_began", "INSERT", "incident", "NEW.kind = 'judged'", _OF_SITE.format("site_id")),
    (
        "fault_changed",
        "UPDATE OF kind, began_at, ended_at",
        "incident",
        "NEW.kind = 'judged'",
        _OF_SITE.format("site_id"),
    ),
)


def upgrade() -> None:
    """Bring the tables forward, and note what is to be told."""
    for name in ("edition", "unneeded"):
        op.add_column(
            "version",
            sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()),
        )
    op.create_table(
        "datasetchange",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=True),
        sa.Column("site_id", sa.String(), nullable=True),
        sa.Column("proof", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "untold",
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.Column("proof", sa.Boolean(), nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("dataset_id"),
    )
    moments = ("gathered_at", "woken_at", "look_at", "written_at", "again", "begun")
    op.create_table(
        "press",
        sa.Column("id", sa.String(), nullable=False),
        *(sa.Column(name, _MOMENT, nullable=True) for name in moments),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("made", "signed", "mirrored", "reason")
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    told = f"SELECT DISTINCT dataset_id, NULL, FALSE FROM version WHERE {_TOLD.format('version')}"
    op.execute(f"{_NOTE} {told}")
    for trigger in _TRIGGERS:
        _create(*trigger)


def _create(name: str, event: str, table: str, when: str, noted: str) -> None:
    note = f"{_NOTE} {noted};"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER told_{name} AFTER {event} ON {table} WHEN {when} BEGIN {note} END"
        )
        return
    op.execute(
        f"CREATE FUNCTION told_{name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN {note} RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER told_{name} AFTER {event} ON {table} FOR EACH ROW WHEN ({when}) "
        f"EXECUTE FUNCTION told_{name}()"
    )


def downgrade() -> None:
    """Bring the tables back."""
    for name, _, table, _, _ in _TRIGGERS:
        if op.get_bind().dialect.name == "sqlite":
            op.execute(f"DROP TRIGGER told_{name}")
        else:
            op.execute(f"DROP TRIGGER told_{name} ON {table}")
            op.execute(f"DROP FUNCTION told_{name}()")
    for table in ("press", "untold", "datasetchange"):
        op.drop_table(table)
    op.drop_column("version", "unneeded")
    op.drop_column("version", "edition")
