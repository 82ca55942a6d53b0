"""The one contract between the centre and its workers.

Rules this module keeps:

- Messages are immutable and refuse unknown fields, so that a worker and a centre of different
  releases fail with a clear error instead of losing a field silently.
- Paths in messages are relative, sizes are bytes, digests are lowercase hex, times are UTC.
- Nothing here decides or does anything.
"""

from datetime import datetime, time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from fleet.places import Place
from fleet.planning.latest import Manifest


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone is called {value!r}") from error
    return value


def _local_time(value: str) -> str:
    if time.fromisoformat(value).tzinfo is not None:
        raise ValueError(f"{value!r} has a zone of its own: give a local time such as 06:00")
    return value


def _short(value: str) -> str:
    """Cut words to what is kept of them, without the NUL that PostgreSQL cannot hold."""
    return value.replace("\0", "")[:WORDS_MOST]


WORDS_MOST = 500  # characters
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Sha1 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
Bytes = Annotated[int, Field(ge=0, lt=2**63)]  # what every database can hold
Count = Annotated[int, Field(ge=0, lt=2**31)]
Zone = Annotated[str, AfterValidator(_zone)]
LocalTime = Annotated[str, AfterValidator(_local_time)]
State = Annotated[str, StringConstraints(pattern=r"^[a-z]{0,20}$")]
Words = Annotated[str, AfterValidator(_short)]  # what people read: an error, a reason
HOSTS_MOST = 10_000  # that an order's sources lie at, by far
Host = Annotated[str, StringConstraints(max_length=2000)]  # or a URL that names none
Task = Literal["pull", "verify", "probe", "publish", "drop", "switch"]
Digest = Literal["sha256", "md5", "pieces", "bep52", "parts"]


class Message(BaseModel):
    """What every message is: frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Message):
    """One place an item can be had from; an item's sources are ranked, best first.

    ``site`` is the fleet site whose copy it is (None: an origin outside the fleet).
    ``centre`` marks a URL of the centre itself, which wants this site's own token.
    A ``torrent`` is the magnet link of the item's whole shard, with peers to dial (``x.pe``).  In
    a pull it is asked before HTTP where it stands before the item's first HTTP source, and else
    for what HTTP did not bring; in a verify it is what a corrupt file is mended from.
    """

    url: str
    site: str | None = None
    kind: Literal["http", "torrent"] = "http"
    centre: bool = False


class Sample(Message):
    """The part of an item that a probe reads: a whole piece of it, or all of a small one.

    ``bep52`` is the root of the piece's own subtree, which proves it by SHA-256; ``sha1`` is the
    v1 piece's, for an item that no layer is kept of.
    """

    start: Bytes
    length: Bytes
    bep52: Sha256 | None = None
    sha1: Sha1 | None = None
    sha256: Sha256 | None = None


class Item(Message):
    """One artifact in an Order; ``offset`` is its place in the shard once that is cut."""

    artifact: str
    path: str
    size: Bytes | None = None
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    offset: Bytes | None = None
    sources: tuple[Source, ...] = ()
    sample: Sample | None = None


Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # of something a second
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Slice(Message):
    """What an attempt may use of a provider for a while; a rate of None is no limit.

    It begins ``begins`` seconds after this was heard, and ends ``ends`` seconds after it was asked
    for: so a slice is never used outside its time, however long messages take, and no node's clock
    matters.
    """

    begins: Seconds
    ends: Seconds
    requests_per_second: Rate | None = None
    bytes_per_second: Rate | None = None
    streams: Annotated[int, Field(ge=1)] = 1


class Share(Message):
    """A provider whose budget all sites share, by its hosts' patterns; without slices: wait.

    While none of its slices runs, nothing is asked of these hosts and nothing read from them.
    """

    provider: str
    hosts: tuple[str, ...]
    slices: tuple[Slice, ...] = ()
    reason: str = ""


class Budget(Message):
    """What an attempt may use until its next heartbeat; None is no limit.

    The ``source_`` limits hold for each host that it reads from.  A provider that ``shares`` once
    named stays limited to the last that was said of it for as long as the attempt lasts.
    """

    streams: Annotated[int, Field(ge=1)] = 4
    bytes_per_second: Bytes | None = None
    shares: tuple[Share, ...] = ()
    source_bytes_per_second: Bytes | None = None
    source_requests_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Grant(Message):
    """What opens a site that has no worker of its own to the attempt that works for it.

    It is kept in memory only.  Once it ``expires`` a new one has to be asked for; None is never.
    """

    site: str
    place: Place
    key_id: str = Field("", repr=False)
    secret: str = Field("", repr=False)
    token: str | None = Field(None, repr=False)
    expires: AwareDatetime | None = None


class BlobRef(Message):
    """Bulky bytes (piece hashes) that travel beside a message, named by their digest."""

    sha256: Sha256
    size: Bytes


class Order(Message):
    """What a worker is given when it claims an attempt.

    ``folder`` is the directory below the site's root that the items' paths are relative to; those
    of a probe, which are of several shards, are relative to the root itself.
    With a ``shard``, "pieces" asks for the v1 pieces of the items laid end to end by their
    offsets; without one (an ingest) it asks for the pieces of each item of ``alone_from`` bytes or
    more, which is a shard by itself.  "parts" asks for the md5 of each ``part_length`` bytes of
    every item, as an S3 multipart upload wants them.  ``max_bytes`` bounds any one item.
    With a ``grant`` the place of all is not the worker's own site but the one that it opens.
    ``known`` names the v1 piece hashes of a sealed shard of one item, which the centre keeps.
    ``stream`` is the length of what "pieces" are cut from where the items do not fill it: the rest
    is zeros, as a torrent's padding is (BEP 47); only a verify reads it.
    ``latest`` is the set that a switch is to have served under bare names.
    """

    attempt: str
    fence: int
    task: Task
    site: str
    lease_seconds: float
    folder: str = ""
    shard: str | None = None
    items: tuple[Item, ...] = ()
    digests: tuple[Digest, ...] = ("sha256",)
    piece_length: Bytes | None = None
    stream: Bytes | None = None
    part_length: Bytes | None = None
    known: BlobRef | None = None
    alone_from: Bytes = 0
    max_bytes: Bytes = 0
    budget: Budget = Budget()
    grant: Grant | None = None
    latest: Manifest | None = None


class ItemResult(Message):
    """What became of one item.

    A result that is not ``ok`` says why; ``final`` means that trying again cannot help.
    ``missing`` and ``corrupt`` tell a verify's two ways to fail apart.  ``layer`` names the
    joined BEP 52 hashes of the pieces of ``piece_length`` bytes, of an item longer than one.
    """

    artifact: str
    ok: bool
    size: Bytes | None = None
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    bep52_root: Sha256 | None = None
    piece_length: Bytes | None = None
    pieces: BlobRef | None = None
    layer: BlobRef | None = None
    part_length: Bytes | None = None
    parts: BlobRef | None = None
    source: str | None = None
    reason: str = ""
    final: bool = False
    fault: Literal["", "missing", "corrupt", "source", "refused", "local"] = ""


class SourceReport(Message):
    """How one host behaved during an attempt: a traffic sample, and evidence where it failed.

    ``evidence`` is the proof that it sent wrong bytes; empty when there is none.  ``throttled``
    counts its answers 429 and 503.  ``retry_after`` is the longest wait in seconds that it asked
    for: 0 where it said that we ask too much and no more, None where it did not.
    ``latency_ms`` is the mean time until an answer began.
    """

    host: Host
    site: str | None = None
    bytes: Bytes = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    evidence: str = ""
    throttled: Count = 0
    retry_after: Seconds | None = None
    latency_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Outcome(Message):
    """What a worker reports back, once, when an attempt has ended."""

    attempt: str
    fence: int
    site: str
    started_at: datetime
    ended_at: datetime
    items: tuple[ItemResult, ...] = ()
    pieces: BlobRef | None = None
    sources: Annotated[tuple[SourceReport, ...], Field(max_length=HOSTS_MOST)] = ()
    bytes_fetched: Bytes = 0
    reason: str = ""


class Verdict(Message):
    """The ledger's answer to an Outcome; a superseded one is kept as an observation."""

    applied: bool
    reason: str


class Throttle(Message):
    """A host that said, since the last heartbeat, that we ask too much."""

    host: Host
    retry_after: Seconds = 0.0


class Heartbeat(Message):
    """A sign of progress that renews the lease; ``wants`` are the providers that it needs now."""

    fence: int
    bytes_done: Bytes = 0
    note: str = ""
    wants: Annotated[tuple[str, ...], Field(max_length=HOSTS_MOST)] = ()
    throttled: Annotated[tuple[Throttle, ...], Field(max_length=HOSTS_MOST)] = ()


class HeartbeatAnswer(Message):
    """What the centre wants of a running attempt until its next heartbeat."""

    action: Literal["continue", "pause", "stop"]
    reason: str = ""
    lease_seconds: float
    budget: Budget = Budget()


class Observation(Message):
    """Evidence that a site offers of its own accord; it can only demote."""

    kind: str
    site: str
    shard: str | None = None
    artifact: str | None = None
    at: datetime
    detail: dict[str, str | int | float | bool | None] = {}


class Seed(Message):
    """One torrent that a site shall seed; ``folder`` is where its content lies below the root.

    Of a torrent that others made, ``inside`` is what the paths of all its files begin with, and
    ``folder`` what they begin with at the site instead: two folders, or two paths of a lone file.
    ``peers`` are "host:port" of sites that hold or fetch it and can be dialled: a site that has no
    inbound port dials them, so that others get the shard through it.
    """

    infohash: Sha1
    shard: str
    folder: str
    name: str
    size: Bytes
    inside: str = ""
    peers: tuple[str, ...] = ()


class UploadHours(Message):
    """Daily hours in a zone's local time with a rate of their own; they may cross midnight."""

    timezone: Zone
    opens: LocalTime
    closes: LocalTime
    bytes_per_second: Bytes


class UploadCaps(Message):
    """What a site may upload by all ways together; None is no limit, a rate of 0 no uploads.

    A month is one of UTC.  Of ``hours`` that overlap the first counts.
    """

    bytes_per_second: Bytes | None = None
    bytes_per_month: Annotated[int, Field(ge=10**6, lt=2**63)] | None = None
    hours: Annotated[tuple[UploadHours, ...], Field(max_length=24)] = ()


class DesiredSeeds(Message):
    """All that a site shall seed now, within its caps; ``revision`` changes when they do."""

    revision: str
    uploads: UploadCaps = UploadCaps()
    seeds: tuple[Seed, ...] = ()


class SeedReport(Message):
    """Counters of one seeded torrent.

    ``uploaded`` counts payload bytes and may begin anew at any time.  ``complete`` are the
    connected peers that have all of it.  ``availability`` counts the complete copies that the
    seeder sees, its own included: a floor, because seeds do not stay connected to each other.
    """

    infohash: Sha1
    peers: Count = 0
    complete: Count = 0
    availability: Count = 0
    uploaded: Bytes = 0
    state: State = ""
    error: Words = ""


class UploadReport(Message):
    """What a site has uploaded this month by all ways, and what it may upload now.

    ``sent`` is None when the count was lost.  A rate of None is no limit; ``until`` is when the
    rate changes next, if it does.
    """

    month: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}$")]
    sent: Bytes | None
    bytes_per_month: Bytes | None = None
    bytes_per_second: Bytes | None = None
    reason: Words = ""
    until: AwareDatetime | None = None


class TrafficSample(Message):
    """What went over a site's uplinks in 15 minutes from ``start`` on, without our transfers.

    ``seconds`` of them were measured.
    """

    start: AwareDatetime
    bytes_in: Bytes
    bytes_out: Bytes
    seconds: Annotated[float, Field(gt=0, le=900)]


class TrafficReport(Message):
    """The bins that a site has measured since its last report, by its own clock.

    ``sent_at`` is that clock's time, so that the centre sees how far off it is.
    """

    sent_at: AwareDatetime
    bins: Annotated[tuple[TrafficSample, ...], Field(max_length=672)]
