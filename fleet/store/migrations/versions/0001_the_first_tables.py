"""The first tables."""

import sqlalchemy as sa
from alembic import op

import fleet.store.columns

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the tables forward."""
    op.create_table(
        "blob",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "dataset",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("created_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "observation",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("observer", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=True),
        sa.Column("shard_id", sa.String(), nullable=True),
        sa.Column("at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("observation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_observation_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_observation_site_id"), ["site_id"], unique=False)

    op.create_table(
        "office",
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("since", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("until", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("role"),
    )
    op.create_table(
        "request",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=True),
        sa.Column("committed", sa.Boolean(), nullable=False),
        sa.Column("created_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "site",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("driver", sa.String(), nullable=False),
        sa.Column("region", sa.String(), nullable=False),
        sa.Column("country", sa.String(), nullable=False),
        sa.Column("jurisdiction", sa.String(), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=True),
        sa.Column("speed_mbps", sa.Integer(), nullable=True),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("read_url", sa.String(), nullable=False),
        sa.Column("peer", sa.String(), nullable=False),
        sa.Column("fronts", sa.JSON(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.Column("silent", sa.Boolean(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "sourcescore",
        sa.Column("observer_id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("bytes_per_second", sa.Float(), nullable=False),
        sa.Column("error_share", sa.Float(), nullable=False),
        sa.Column("updated_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("observer_id", "host"),
    )
    op.create_table(
        "wakeup",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("attempt_id", sa.String(), nullable=True),
        sa.Column("created_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("sent_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("wakeup", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_wakeup_sent_at"), ["sent_at"], unique=False)

    op.create_table(
        "budget",
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("streams", sa.Integer(), nullable=False),
        sa.Column("bytes_per_second", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("site_id"),
    )
    op.create_table(
        "datasetalias",
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.PrimaryKeyConstraint("alias"),
    )
    with op.batch_alter_table("datasetalias", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_datasetalias_dataset_id"), ["dataset_id"], unique=False
        )

    op.create_table(
        "incident",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("began_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("incident", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_incident_site_id"), ["site_id"], unique=False)

    op.create_table(
        "report",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=True),
        sa.Column("symptom", sa.String(), nullable=False),
        sa.Column("at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_report_site_id"), ["site_id"], unique=False)

    op.create_table(
        "rule",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=True),
        sa.Column("min_copies", sa.Integer(), nullable=False),
        sa.Column("selector", sa.String(), nullable=False),
        sa.Column("spread_by", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("deadline", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("expires", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("rule", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rule_dataset_id"), ["dataset_id"], unique=False)

    op.create_table(
        "seeding",
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("infohash", sa.String(), nullable=False),
        sa.Column("peers", sa.Integer(), nullable=False),
        sa.Column("uploaded", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("site_id", "infohash"),
    )
    op.create_table(
        "version",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("licence", sa.String(), nullable=False),
        sa.Column(
            "licence_retrieved_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True
        ),
        sa.Column("doi", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("source_root", sa.String(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("previous_id", sa.String(), nullable=True),
        sa.Column("created_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("published_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("look_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dataset_id", "label"),
    )
    with op.batch_alter_table("version", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_version_dataset_id"), ["dataset_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_version_dirty"), ["dirty"], unique=False)
        batch_op.create_index(batch_op.f("ix_version_look_at"), ["look_at"], unique=False)

    op.create_table(
        "window",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("timezone", sa.String(), nullable=False),
        sa.Column("opens", sa.String(), nullable=False),
        sa.Column("closes", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("window", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_window_site_id"), ["site_id"], unique=False)

    op.create_table(
        "artifact",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=True),
        sa.Column("origins", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(), nullable=True),
        sa.Column("md5", sa.String(), nullable=True),
        sa.Column("bep52_root", sa.String(), nullable=True),
        sa.Column("piece_length", sa.Integer(), nullable=True),
        sa.Column("pieces", sa.String(), nullable=True),
        sa.Column("ingest_id", sa.String(), nullable=True),
        sa.Column("tried", sa.JSON(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=True),
        sa.Column("offset", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["version.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("version_id", "path"),
    )
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_artifact_ingest_id"), ["ingest_id"], unique=False)
        batch_op.create_index(
            "ix_artifact_progress", ["version_id", "state", "ingest_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_artifact_sha256"), ["sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_artifact_shard_id"), ["shard_id"], unique=False)

    op.create_table(
        "shard",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("piece_length", sa.Integer(), nullable=False),
        sa.Column("pieces", sa.String(), nullable=True),
        sa.Column("infohash", sa.String(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["version.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("version_id", "position"),
    )
    with op.batch_alter_table("shard", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_shard_dirty"), ["dirty"], unique=False)
        batch_op.create_index(batch_op.f("ix_shard_infohash"), ["infohash"], unique=False)
        batch_op.create_index(batch_op.f("ix_shard_version_id"), ["version_id"], unique=False)

    op.create_table(
        "placement",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("decided_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["rule_id"],
            ["rule.id"],
        ),
        sa.ForeignKeyConstraint(
            ["shard_id"],
            ["shard.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("rule_id", "shard_id", "site_id"),
    )
    with op.batch_alter_table("placement", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_placement_shard_id"), ["shard_id"], unique=False)

    op.create_table(
        "replica",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("shard_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("faulty", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("verified_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("look_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["shard_id"],
            ["shard.id"],
        ),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("shard_id", "site_id"),
    )
    with op.batch_alter_table("replica", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_replica_look_at"), ["look_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_replica_site_id"), ["site_id"], unique=False)

    op.create_table(
        "transfer",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=True),
        sa.Column("shard_id", sa.String(), nullable=True),
        sa.Column("target_id", sa.String(), nullable=False),
        sa.Column("executor_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("deadline", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("not_before", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.String(), nullable=True),
        sa.Column("created_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["executor_id"],
            ["site.id"],
        ),
        sa.ForeignKeyConstraint(
            ["shard_id"],
            ["shard.id"],
        ),
        sa.ForeignKeyConstraint(
            ["target_id"],
            ["site.id"],
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["version.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("transfer", schema=None) as batch_op:
        batch_op.create_index(
            "ix_transfer_queue", ["state", "executor_id", "priority", "not_before"], unique=False
        )
        batch_op.create_index(
            "ix_transfer_shard", ["shard_id", "target_id", "kind", "state"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_transfer_version_id"), ["version_id"], unique=False)

    op.create_table(
        "attempt",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("transfer_id", sa.String(), nullable=False),
        sa.Column("site_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=True),
        sa.Column("announced_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("announcements", sa.Integer(), nullable=False),
        sa.Column("claimed_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("lease_until", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_at", fleet.store.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("bytes_done", sa.BigInteger(), nullable=False),
        sa.Column("bytes_fetched", sa.BigInteger(), nullable=False),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["site_id"],
            ["site.id"],
        ),
        sa.ForeignKeyConstraint(
            ["transfer_id"],
            ["transfer.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_lease", ["state", "lease_until"], unique=False)
        batch_op.create_index(batch_op.f("ix_attempt_site_id"), ["site_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_attempt_transfer_id"), ["transfer_id"], unique=False)


def downgrade() -> None:
    """Bring the tables back."""
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_attempt_transfer_id"))
        batch_op.drop_index(batch_op.f("ix_attempt_site_id"))
        batch_op.drop_index("ix_attempt_lease")

    op.drop_table("attempt")
    with op.batch_alter_table("transfer", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_transfer_version_id"))
        batch_op.drop_index("ix_transfer_shard")
        batch_op.drop_index("ix_transfer_queue")

    op.drop_table("transfer")
    with op.batch_alter_table("replica", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_replica_site_id"))
        batch_op.drop_index(batch_op.f("ix_replica_look_at"))

    op.drop_table("replica")
    with op.batch_alter_table("placement", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_placement_shard_id"))

    op.drop_table("placement")
    with op.batch_alter_table("shard", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_shard_version_id"))
        batch_op.drop_index(batch_op.f("ix_shard_infohash"))
        batch_op.drop_index(batch_op.f("ix_shard_dirty"))

    op.drop_table("shard")
    with op.batch_alter_table("artifact", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_artifact_shard_id"))
        batch_op.drop_index(batch_op.f("ix_artifact_sha256"))
        batch_op.drop_index("ix_artifact_progress")
        batch_op.drop_index(batch_op.f("ix_artifact_ingest_id"))

    op.drop_table("artifact")
    with op.batch_alter_table("window", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_window_site_id"))

    op.drop_table("window")
    with op.batch_alter_table("version", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_version_look_at"))
        batch_op.drop_index(batch_op.f("ix_version_dirty"))
        batch_op.drop_index(batch_op.f("ix_version_dataset_id"))

    op.drop_table("version")
    op.drop_table("seeding")
    with op.batch_alter_table("rule", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rule_dataset_id"))

    op.drop_table("rule")
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_report_site_id"))

    op.drop_table("report")
    with op.batch_alter_table("incident", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_incident_site_id"))

    op.drop_table("incident")
    with op.batch_alter_table("datasetalias", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_datasetalias_dataset_id"))

    op.drop_table("datasetalias")
    op.drop_table("budget")
    with op.batch_alter_table("wakeup", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_wakeup_sent_at"))

    op.drop_table("wakeup")
    op.drop_table("sourcescore")
    op.drop_table("site")
    op.drop_table("request")
    op.drop_table("office")
    with op.batch_alter_table("observation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_observation_site_id"))
        batch_op.drop_index(batch_op.f("ix_observation_kind"))

    op.drop_table("observation")
    op.drop_table("dataset")
    op.drop_table("blob")
