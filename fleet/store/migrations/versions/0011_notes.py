"""On PostgreSQL, one note of a site's load for all rows that a statement makes, not one for each.

The scheduler decides by the batch, and half of what its inserts took was the notes of each row.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_PLACED = "state NOT IN ('bad', 'missing', 'retired')"
_LIVE = "state IN ('waiting', 'announced', 'running')"

# name, table, what is noted of the rows that were made, what was noted of each, and of which
_NOTES = (
    (
        "replica_made",
        "replica",
        (
            "SELECT m.site_id, sum(s.size), 0 FROM made m JOIN shard s ON s.id = m.shard_id "
            f"WHERE m.{_PLACED} GROUP BY m.site_id"
        ),
        "SELECT NEW.site_id, size, 0 FROM shard WHERE id = NEW.shard_id",
        f"NEW.{_PLACED}",
    ),
    (
        "transfer_made",
        "transfer",
        f"SELECT executor_id, 0, sum(size) FROM made WHERE {_LIVE} AND size <> 0 GROUP BY 1",
        f"SELECT NEW.executor_id, 0, NEW.size WHERE NEW.{_LIVE}",
        "NEW.size <> 0",
    ),
)


def upgrade() -> None:
    """Bring the tables forward."""
    for name, table, noted, _, _ in _NOTES:
        _replace(name, table, noted, "REFERENCING NEW TABLE AS made FOR EACH STATEMENT")


def downgrade() -> None:
    """Bring the tables back."""
    for name, table, _, noted, when in _NOTES:
        _replace(name, table, noted, f"FOR EACH ROW WHEN ({when})")


def _replace(name: str, table: str, noted: str, each: str) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute(f"DROP TRIGGER load_{name} ON {table}")
    op.execute(
        f"CREATE OR REPLACE FUNCTION load_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"INSERT INTO siteload (site_id, held, queued) {noted}; RETURN NULL; END $$"
    )
    op.execute(
        f"CREATE TRIGGER load_{name} AFTER INSERT ON {table} {each} EXECUTE FUNCTION load_{name}()"
    )
