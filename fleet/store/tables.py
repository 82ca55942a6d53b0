"""The tables: one for each word of the fleet.

Rules this module keeps:

- Ids are opaque text. Moments are UTC. Sizes are bytes.
- ``dirty`` and ``look_at`` are what the scheduler reads: a row is touched only when something
  about it changed, or when its time has come.  Whatever waits holds the reason beside it.
- Only the ledger writes ``Replica.state``.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, UniqueConstraint, false, text
from sqlalchemy.types import JSON
from sqlmodel import Field, SQLModel

from fleet.planning.states import (
    AliasState,
    ArtifactState,
    AttemptState,
    PublicationState,
    ReplicaState,
    TransferState,
    VersionState,
)
from fleet.store.columns import count, moment, new_id


def _id(prefix: str) -> Any:
    return Field(default_factory=lambda: new_id(prefix), primary_key=True)


def _empty() -> list[Any]:
    """Make an empty list: of ``list`` itself pydantic would parse the signature for each row."""
    return []


class Dataset(SQLModel, table=True):
    """A stable, opaque, case-sensitive id that holds versions.

    ``description`` is what ``fleet.descriptions`` reads, and ``doi`` stands for all versions.
    """

    id: str = Field(primary_key=True)
    title: str = ""
    doi: str | None = None
    description: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime = moment(default=...)


class DatasetAlias(SQLModel, table=True):
    """An old name of a dataset, still valid."""

    alias: str = Field(primary_key=True)
    dataset_id: str = Field(foreign_key="dataset.id", index=True)


class Version(SQLModel, table=True):
    """An immutable set of artifacts, once it is published.

    ``sequence`` is given then, and rises from one published version of a dataset to the next.
    An ``edition`` is one that the press made; only of such no copy has to be anywhere, where it is
    ``unneeded``.
    """

    __table_args__ = (
        UniqueConstraint("dataset_id", "label"),
        Index("ix_version_sequence", "dataset_id", "sequence", unique=True),
    )
    id: str = _id("ve")
    dataset_id: str = Field(foreign_key="dataset.id", index=True)
    label: str
    state: str = Field(default=VersionState.DRAFT)
    licence: str = ""
    licence_retrieved_at: datetime | None = moment()
    doi: str | None = None
    source: str = ""
    source_root: str = ""
    notes: list[str] = Field(default_factory=_empty, sa_type=JSON)
    previous_id: str | None = None
    sequence: int | None = None
    created_at: datetime = moment(default=...)
    published_at: datetime | None = moment()
    edition: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    unneeded: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    dirty: bool = Field(default=False, index=True)
    look_at: datetime | None = moment(index=True)
    reason: str = ""


class Artifact(SQLModel, table=True):
    """One file of a version; its sha256 is its identity.

    ``ingest_id`` is the one transfer that fetches it from its origins; ``tried`` names the
    sites that could not do their part, so that others were given it.  ``pieces`` and ``layer``
    name the blobs with the v1 and the BEP 52 hashes of its pieces of ``piece_length`` bytes.
    """

    __table_args__ = (
        UniqueConstraint("version_id", "path"),
        Index("ix_artifact_progress", "version_id", "state", "ingest_id"),
    )
    id: str = _id("ar")
    version_id: str = Field(foreign_key="version.id")
    path: str
    role: str = "data"
    media_type: str | None = None
    origins: list[str] = Field(default_factory=_empty, sa_type=JSON)
    state: str = Field(default=ArtifactState.EXPECTED)
    reason: str = ""
    size: int | None = count()
    sha256: str | None = Field(default=None, index=True)
    md5: str | None = None
    bep52_root: str | None = None
    piece_length: int | None = None
    pieces: str | None = None
    layer: str | None = None
    ingest_id: str | None = Field(default=None, index=True)
    tried: list[str] = Field(default_factory=_empty, sa_type=JSON)
    shard_id: str | None = Field(default=None, index=True)
    offset: int | None = count()


class Shard(SQLModel, table=True):
    """What is placed, moved and seeded: one large artifact, or a bundle of small ones.

    It is sealed when its v1 pieces, and so its infohash, are known; ``name`` is then its torrent's
    and ``folder`` where that torrent lies below a site's root.
    """

    __table_args__ = (
        UniqueConstraint("version_id", "position"),
        Index("ix_shard_dirty", "dirty", "id"),
    )
    id: str = _id("sh")
    version_id: str = Field(foreign_key="version.id")
    position: int
    size: int = count(default=...)
    files: int
    piece_length: int
    pieces: str | None = None
    infohash: str | None = Field(default=None, index=True)
    name: str = ""
    folder: str = ""
    dirty: bool = True


class TorrentAlias(SQLModel, table=True):
    """A torrent that others made of a shard's bytes, seeded beside the shard's own once verified.

    ``torrent`` names the blob with the ``.torrent`` as it came, and ``size`` counts its padding.
    Its files lie below a site's root in ``ours`` where its own paths begin with ``theirs``.
    ``transfer_id`` is the verify that checks it, where reading the bytes takes one.
    """

    infohash: str = Field(primary_key=True)
    shard_id: str = Field(foreign_key="shard.id", index=True)
    torrent: str
    name: str
    size: int = count(default=...)
    theirs: str
    ours: str
    state: str = Field(default=AliasState.UNCHECKED)
    reason: str = ""
    transfer_id: str | None = Field(default=None, index=True)
    created_at: datetime = moment(default=...)
    checked_at: datetime | None = moment()


class Site(SQLModel, table=True):
    """A place that can hold replicas, as its line in the sites file declares it.

    While it is to be retired but holds copies that are needed, ``retiring`` is when that is looked
    at again.  ``store`` says where the objects lie of one that has no worker.
    """

    id: str = Field(primary_key=True)
    kind: str
    driver: str
    region: str = ""
    country: str = ""
    jurisdiction: str = ""
    operator: str = ""
    provider: str = ""
    arch: str = ""
    capacity: int | None = count()
    speed_mbps: int | None = None
    trusted: bool = False
    read_url: str = ""
    peer: str = ""
    fronts: list[str] = Field(default_factory=_empty, sa_type=JSON)
    slots: int = 4
    retired: bool = False
    retiring: datetime | None = moment()
    silent: bool = False
    token_hash: str | None = None
    timezone: str = ""
    upload: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    egress_usd_per_gb: float = 0.0
    store: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class SiteLoad(SQLModel, table=True):
    """By how many bytes something changed what a site holds, or what it has yet to do.

    A site's sum is what counts.  The database's own triggers note each change of a replica, an
    artifact or a transfer, whoever makes it; rows, since units of work that all counted on one
    would wait for each other.
    """

    id: int | None = Field(
        default=None,
        sa_type=BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
    )
    site_id: str
    held: int = count(default=0)
    queued: int = count(default=0)


class VersionChange(SQLModel, table=True):
    """How often something changed of a public version, or of a copy of its shard if one is named.

    A version's sum is what counts: another one than before says that what is known of it is old.
    Triggers note them, as rows for the reason that ``SiteLoad`` has.
    """

    id: int | None = Field(
        default=None,
        sa_type=BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
    )
    version_id: str
    shard_id: str | None = None
    changes: int = count(default=...)


class DatasetChange(SQLModel, table=True):
    """That something changed of what the catalogue tells of a dataset, or of all that a site has.

    A ``proof`` is that a copy was read again and is well.  Triggers note them, as rows for the
    reason that ``SiteLoad`` has; see migration 0017.
    """

    id: int | None = Field(
        default=None,
        sa_type=BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
    )
    dataset_id: str | None = None
    site_id: str | None = None
    proof: bool = False


class Untold(SQLModel, table=True):
    """A dataset that changed since the catalogue last told of it; ``changes`` counts how often.

    If it is a ``proof``, nothing changed but that copies were read again.
    """

    dataset_id: str = Field(primary_key=True)
    changes: int
    proof: bool
    since: datetime = moment(default=...)
    until: datetime = moment(default=...)


class Press(SQLModel, table=True):
    """How far the catalogue is: one row.

    ``again`` is when it is looked at even if nothing changes, ``made`` what besides the datasets
    it was made of, ``signed`` and ``mirrored`` are marks of signed states, ``begun`` is when the
    last edition was given to the sites; ``reason`` is what a person should see to.
    """

    id: str = Field(primary_key=True)
    gathered_at: datetime | None = moment()
    woken_at: datetime | None = moment()
    look_at: datetime | None = moment()
    written_at: datetime | None = moment()
    again: datetime | None = moment()
    made: str = ""
    signed: str = ""
    mirrored: str = ""
    begun: datetime | None = moment()
    reason: str = ""


class Window(SQLModel, table=True):
    """When a site may carry bulk traffic, in its own local time, as its line declares it."""

    id: str = _id("wi")
    site_id: str = Field(foreign_key="site.id", index=True)
    timezone: str
    opens: str
    closes: str


class Budget(SQLModel, table=True):
    """How fast a site may be used; None is no limit."""

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    streams: int = 4
    bytes_per_second: int | None = count()
    source: str = ""


class Provider(SQLModel, table=True):
    """What all sites together may ask of a provider, and how it takes that; None is no limit.

    ``factor`` of its budget held at ``strained_at``; before ``rests_until`` it is asked nothing.
    """

    name: str = Field(primary_key=True)
    hosts: list[str] = Field(default_factory=_empty, sa_type=JSON)
    requests_per_minute: int | None = None
    bytes_per_5_minutes: int | None = count()
    streams: int
    weight: float = 1.0
    source: str = ""
    factor: float = 1.0
    strained_at: datetime | None = moment()
    rests_until: datetime | None = moment()
    reason: str = ""


class Slice(SQLModel, table=True):
    """A share, in millionths, of a provider's budget that an attempt holds; of 0, it waits."""

    __table_args__ = (Index("ix_slice_books", "provider", "until"),)
    id: str = _id("sl")
    provider: str = Field(foreign_key="provider.name")
    attempt_id: str = Field(foreign_key="attempt.id", index=True)
    share: int
    starts: datetime = moment(default=...)
    until: datetime = moment(default=...)


class Rule(SQLModel, table=True):
    """What must hold for every version of a dataset; ``copies`` None: every site that matches."""

    id: str = _id("ru")
    dataset_id: str = Field(foreign_key="dataset.id", index=True)
    copies: int | None = None
    min_copies: int = 1
    selector: str = ""
    spread_by: list[str] = Field(default_factory=_empty, sa_type=JSON)
    priority: int = 0
    deadline: datetime | None = moment()
    expires: datetime | None = moment()
    look_at: datetime | None = moment(index=True)


class Placement(SQLModel, table=True):
    """A decision that serves a rule; without a site it says what the rule is short of."""

    __table_args__ = (UniqueConstraint("rule_id", "shard_id", "site_id"),)
    id: str = _id("pl")
    rule_id: str = Field(foreign_key="rule.id")
    shard_id: str = Field(foreign_key="shard.id", index=True)
    site_id: str | None = None
    reason: str
    decided_at: datetime = moment(default=...)
    look_at: datetime | None = moment(index=True)


class Tombstone(SQLModel, table=True):
    """A replica that serves no rule any more and is to be dropped, ``reason`` says why.

    Nothing happens before ``drop_after``; ``waits`` is what it waits for until ``look_at``, and
    ``transfer_id`` the drop once that was decided.
    """

    shard_id: str = Field(foreign_key="shard.id", primary_key=True)
    site_id: str = Field(foreign_key="site.id", primary_key=True)
    reason: str
    waits: str = ""
    made_at: datetime = moment(default=...)
    drop_after: datetime = moment(default=...)
    look_at: datetime | None = moment(index=True)
    transfer_id: str | None = None


class Replica(SQLModel, table=True):
    """A shard at a site, and what is believed of it.

    ``proved_at`` is when another site, ``proved_by``, last read a whole piece of it by a range;
    none since it became available: it is no web seed.  ``arrived_at`` is when its bytes came,
    ``troubled_at`` when they were last found wrong or put in doubt.  ``risk`` is 0 in doubt,
    else how many independent good copies the shard had when that last changed, up to a few.
    """

    __table_args__ = (
        UniqueConstraint("shard_id", "site_id"),
        Index("ix_replica_due", "site_id", "risk", "look_at"),
        Index("ix_replica_read", "site_id", "state", "verified_at"),
        Index("ix_replica_trouble", "site_id", "troubled_at"),
    )
    id: str = _id("re")
    shard_id: str = Field(foreign_key="shard.id")
    site_id: str = Field(foreign_key="site.id")
    state: str = Field(default=ReplicaState.PENDING)
    faulty: list[str] = Field(default_factory=_empty, sa_type=JSON)
    reason: str = ""
    arrived_at: datetime | None = moment()
    troubled_at: datetime | None = moment()
    risk: int = 0
    verified_at: datetime | None = moment()
    proved_at: datetime | None = moment()
    proved_by: str | None = None
    look_at: datetime | None = moment(index=True)


_RANK = (text("priority DESC"), text("(deadline IS NULL)"), "deadline", "id")


class Transfer(SQLModel, table=True):
    """The wish to have something done at a target site, carried out by an executor site.

    ``fence`` rises with each claim; ``attempt_id`` is the attempt that was announced last.
    """

    __table_args__ = (
        Index("ix_transfer_queue", "state", "executor_id", "kind", "not_before", *_RANK),
        # PostgreSQL takes "not_before IS NULL" for no equality, and would sort all that waits
        Index(
            "ix_transfer_ready",
            *("executor_id", "kind", *_RANK),
            postgresql_where=text("state = 'waiting' AND not_before IS NULL"),
        ).ddl_if(dialect="postgresql"),
        Index(
            "ix_transfer_wake",
            *("state", "not_before"),
            postgresql_where=text("state = 'waiting' AND not_before IS NOT NULL"),
        ),
        Index("ix_transfer_shard", "shard_id", "target_id", "kind", "state"),
    )
    id: str = _id("tr")
    kind: str
    version_id: str | None = Field(default=None, foreign_key="version.id", index=True)
    shard_id: str | None = Field(default=None, foreign_key="shard.id")
    target_id: str = Field(foreign_key="site.id")
    executor_id: str = Field(foreign_key="site.id")
    state: str = Field(default=TransferState.WAITING)
    size: int = count(default=0)
    priority: int = 0
    deadline: datetime | None = moment()
    not_before: datetime | None = moment()
    reason: str = ""
    fence: int = 0
    attempts: int = 0
    attempt_id: str | None = None
    created_at: datetime = moment(default=...)
    ended_at: datetime | None = moment()


class Attempt(SQLModel, table=True):
    """One execution of a transfer, leased and fenced."""

    __table_args__ = (Index("ix_attempt_lease", "state", "lease_until"),)
    id: str = _id("at")
    transfer_id: str = Field(foreign_key="transfer.id", index=True)
    site_id: str = Field(foreign_key="site.id", index=True)
    state: str = Field(default=AttemptState.ANNOUNCED)
    fence: int | None = None
    announced_at: datetime = moment(default=...)
    announcements: int = 1
    claimed_at: datetime | None = moment()
    lease_until: datetime | None = moment()
    ended_at: datetime | None = moment()
    bytes_done: int = count(default=0)
    bytes_fetched: int = count(default=0)
    sources: list[dict[str, str]] = Field(default_factory=_empty, sa_type=JSON)
    reason: str = ""


class Publication(SQLModel, table=True):
    """A version at a repository: its draft, and then its record, with a DOI.

    ``asked``, ``record`` and ``doi`` are what ``fleet.repositories.Memory`` has; whoever speaks to
    the repository holds it until ``held_until``, under ``fence``.  ``mirrors`` were written into
    its papers: sites, each with the positions of the shards that it has, or none for all.
    ``whole`` says whether the data are in it or only those, and ``by_hand`` that a person asked.
    """

    __table_args__ = (UniqueConstraint("version_id", "site_id"),)
    id: str = _id("pu")
    version_id: str = Field(foreign_key="version.id")
    site_id: str = Field(foreign_key="site.id", index=True)
    state: str = Field(default=PublicationState.WANTED)
    asked: float | None = None
    record: str = ""
    doi: str = ""
    by_hand: bool = False
    whole: bool | None = None
    mirrors: dict[str, list[int]] = Field(default_factory=dict, sa_type=JSON)
    fence: int = 0
    held_until: datetime | None = moment()
    attempts: int = 0
    transfer_id: str | None = Field(default=None, index=True)
    reason: str = ""
    look_at: datetime | None = moment(index=True)
    created_at: datetime = moment(default=...)
    published_at: datetime | None = moment()


class Served(SQLModel, table=True):
    """The version of a dataset that a site serves under bare names; None: none yet.

    ``waits`` is what the next one waits for until ``look_at``.
    """

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    dataset_id: str = Field(foreign_key="dataset.id", primary_key=True)
    version_id: str | None = Field(default=None, foreign_key="version.id")
    sequence: int = 0
    at: datetime | None = moment()
    waits: str = ""
    look_at: datetime | None = moment(index=True)


class Wakeup(SQLModel, table=True):
    """An outbox row: one message to send, carrying an id and no authority."""

    id: int | None = Field(default=None, primary_key=True)
    site_id: str
    task: str
    attempt_id: str | None = None
    publication_id: str | None = None
    created_at: datetime = moment(default=...)
    sent_at: datetime | None = moment(index=True)


class Blob(SQLModel, table=True):
    """Bulky bytes (piece hashes), named by their sha256."""

    sha256: str = Field(primary_key=True)
    data: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = moment(default=...)


class Observation(SQLModel, table=True):
    """Evidence, with its observer and its time."""

    id: str = _id("ob")
    kind: str = Field(index=True)
    observer: str
    site_id: str | None = Field(default=None, index=True)
    shard_id: str | None = None
    at: datetime = moment(default=...)
    detail: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


class SourceScore(SQLModel, table=True):
    """How well one host has served one site: moving averages over attempts."""

    observer_id: str = Field(primary_key=True)
    host: str = Field(primary_key=True)
    bytes_per_second: float = 0.0
    error_share: float = 0.0
    updated_at: datetime = moment(default=...)


class Fixity(SQLModel, table=True):
    """How much a site was told to read again on one day, and how much it held when that began."""

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    day: str
    held: int = count(default=0)
    read: int = count(default=0)


class Incident(SQLModel, table=True):
    """A confirmed fault of a site; open until ``ended_at``.

    One of the site as a whole goes through ``stage``s; ``samples`` are the transfers that read
    what was drawn by lot.
    """

    id: str = _id("in")
    site_id: str = Field(foreign_key="site.id", index=True)
    kind: str
    reason: str
    began_at: datetime = moment(default=...)
    ended_at: datetime | None = moment(index=True)
    stage: str = ""
    samples: list[str] = Field(default_factory=_empty, sa_type=JSON)
    look_at: datetime | None = moment()


class Report(SQLModel, table=True):
    """What a person says is wrong; it makes a probe due and decides nothing."""

    id: str = _id("rp")
    site_id: str = Field(foreign_key="site.id", index=True)
    dataset_id: str | None = None
    symptom: str
    at: datetime = moment(default=...)


class Request(SQLModel, table=True):
    """A ``mirror_dataset`` that was asked for, under its idempotency key."""

    key: str = Field(primary_key=True)
    source: str
    version_id: str | None = None
    committed: bool = False
    created_at: datetime = moment(default=...)


class Seeding(SQLModel, table=True):
    """What a site's seeder last said of one torrent.

    ``uploaded`` is the sum over all its runs; ``counted`` is where this run's counter stood.
    """

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    infohash: str = Field(primary_key=True)
    peers: int = 0
    complete: int = 0
    availability: int = 0
    uploaded: int = count(default=0)
    counted: int = count(default=0)
    state: str = ""
    error: str = ""
    at: datetime = moment(default=...)


class Uploading(SQLModel, table=True):
    """What a site's seeder last said of the month's uploads; None is as in its report."""

    site_id: str = Field(foreign_key="site.id", primary_key=True)
    month: str
    sent: int | None = count()
    bytes_per_month: int | None = count()
    bytes_per_second: int | None = count()
    reason: str = ""
    until: datetime | None = moment()
    at: datetime = moment(default=...)


class TrafficBin(SQLModel, table=True):
    """15 minutes of a subject's traffic, as one observer saw it.

    A subject is a site (its interfaces, its own transfers left out) or the host of a provider (what
    our sites had from it).  ``seconds`` were measured of it, so that a mean can be told;
    ``latency_ms`` is the sum over ``samples`` that measured it.
    """

    subject: str = Field(primary_key=True)
    observer: str = Field(primary_key=True)
    start: datetime = moment(primary_key=True, default=...)
    bytes_in: int = count(default=0)
    bytes_out: int = count(default=0)
    seconds: float = 0.0
    samples: int = 0
    throttled: int = 0
    latency_ms: float = 0.0


class Usual(SQLModel, table=True):
    """The usual week of a subject's traffic, and why its clock is doubted if it is.

    ``clock`` is what the centre's clock says of the site's, ``shifted`` what its neighbours do.
    """

    subject: str = Field(primary_key=True)
    timezone: str = ""
    hours: list[float] = Field(default_factory=_empty, sa_type=JSON)
    newest: dict[str, float] = Field(default_factory=dict, sa_type=JSON)
    confidence: float | None = None
    weeks: int = 0
    measured: float = 0.0
    clock: str = ""
    shifted: str = ""
    derived_at: datetime | None = moment()
    look_at: datetime | None = moment(index=True)


class Office(SQLModel, table=True):
    """Who holds a role of the centre (scheduler, server), since when, and until when."""

    role: str = Field(primary_key=True)
    holder: str
    since: datetime = moment(default=...)
    until: datetime = moment(default=...)
