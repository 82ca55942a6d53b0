"""The states that the things of the fleet can be in."""

from enum import StrEnum


class VersionState(StrEnum):
    """A version is a draft until every byte is known; then it never changes again."""

    DRAFT = "draft"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


class ArtifactState(StrEnum):
    """``excluded``: it could not be had, its reason says why, and the version lacks it."""

    EXPECTED = "expected"
    KNOWN = "known"
    EXCLUDED = "excluded"


class ReplicaState(StrEnum):
    """What is believed of one shard at one site; ``leaving``: its files are being deleted."""

    PENDING = "pending"
    COPYING = "copying"
    AVAILABLE = "available"
    SUSPECT = "suspect"
    BAD = "bad"
    MISSING = "missing"
    LEAVING = "leaving"
    RETIRED = "retired"


class AliasState(StrEnum):
    """Whether a torrent that others made is of our bytes; ``unchecked``: nobody could tell yet."""

    UNCHECKED = "unchecked"
    VERIFIED = "verified"
    REFUSED = "refused"


class TransferState(StrEnum):
    """``announced``: a wake-up was sent; ``suspended``: waits for a person."""

    WAITING = "waiting"
    ANNOUNCED = "announced"
    RUNNING = "running"
    DONE = "done"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """``expired``: its lease ran out, but no later claim has superseded it yet."""

    ANNOUNCED = "announced"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


class TransferKind(StrEnum):
    """What a transfer is for; ``TASKS`` names the Celery task that carries it out."""

    INGEST = "ingest"
    COPY = "copy"
    VERIFY = "verify"
    PROBE = "probe"
    DROP = "drop"
    PUBLISH = "publish"
    SWITCH = "switch"


class PublicationState(StrEnum):
    """``wanted``: its draft is to be made; ``filling``: an executor brings the version's files.

    ``closing``: papers are added and it is published; ``refused``: waits for a person.
    """

    WANTED = "wanted"
    FILLING = "filling"
    CLOSING = "closing"
    PUBLISHED = "published"
    REFUSED = "refused"


TASKS: dict[str, str] = {
    TransferKind.INGEST: "pull",
    TransferKind.COPY: "pull",
    TransferKind.VERIFY: "verify",
    TransferKind.PROBE: "probe",
    TransferKind.DROP: "drop",
    TransferKind.PUBLISH: "publish",
    TransferKind.SWITCH: "switch",
}
