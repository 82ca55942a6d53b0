"""What shall be published, and what has to be remembered while it is."""

from dataclasses import dataclass, field

from fleet.invenio import Wanted
from fleet.planning.repositories import RecordLimits
from fleet.repositories.describe import Description


@dataclass(frozen=True, slots=True)
class Deposit:
    """A version that shall be a record.

    Attributes:
        urn: our own name of the version, which the record bears; see ``urn``.
        description: its metadata.
        files: all that the record shall hold.
        papers: names of those of them that are made here, and may be made otherwise later.
        previous: id of any published record of the same dataset; its concept gets the version.
        community: slug of the community that is asked to take in the dataset's first record.
        limits: of the repository.
    """

    urn: str
    description: Description
    files: tuple[Wanted, ...]
    papers: frozenset[str] = frozenset()
    previous: str = ""
    community: str = ""
    limits: RecordLimits = field(default_factory=RecordLimits)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the caller keeps of a publication, from nothing at first.

    Attributes:
        asked: when a draft was asked for (seconds since 1970) of which nobody knows yet.
        record: id of the draft, and then of the record.
        doi: that was reserved for it.
    """

    asked: float | None = None
    record: str = ""
    doi: str = ""


def urn(version: str) -> str:
    """Name a version of this fleet so that its record can be found by it.

    InvenioRDM takes any URN among a record's identifiers (invenio-rdm-records:
    RDM_RECORDS_IDENTIFIERS_SCHEMES).
    """
    return f"urn:data-fleet:version:{version}"
