"""What the rehearsed Zenodo knows: concepts, records, files, reviews; and what it allows.

The switches are the points on which the sources differ, or which only some installations show:
a client should pass with each of them on and off.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from fleet.rehearsal.exchange import Piece

Json = dict[str, Any]
# Observed: zenodo/zenodo-rdm#1440.
INTERNAL = (
    "The server encountered an internal error and was unable to complete your request. "
    "Either the server is overloaded or there is an error in the application."
)


class Complaint(TypedDict):
    """What is wrong with one field, as InvenioRDM says it in ``errors``."""

    field: str
    messages: list[str]


def complaint(where: str, text: str) -> Complaint:
    """Say what is wrong with a field."""
    return {"field": where, "messages": [text]}


class Refused(Exception):
    """A request that is answered with an error; nothing changed."""

    def __init__(
        self,
        status: int,
        message: str,
        errors: list[Complaint] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors
        self.headers = headers or {}

    def body(self) -> Json:
        """Give the answer as InvenioRDM writes it (observed: zenodo_401.json, zenodo_404.json)."""
        body: Json = {"status": self.status, "message": self.message}
        if self.errors is not None:
            body["errors"] = self.errors
        return body


def invalid(*errors: Complaint) -> Refused:
    """Refuse with a validation error (documented: drafts_records, "Reserve a DOI", errors)."""
    return Refused(400, "A validation error occurred.", list(errors))


@dataclass(frozen=True)
class Limits:
    """What one record may hold.

    zenodo-rdm, ``invenio.cfg``: RDM_FILES_DEFAULT_QUOTA_SIZE and APP_RDM_DEPOSIT_FORM_QUOTA;
    invenio-rdm-records: RDM_RECORDS_MAX_FILES_COUNT. The key's length: invenio-files-rest.
    """

    size: int = 50 * 10**9
    files: int = 100
    key: int = 255


@dataclass(frozen=True)
class Switches:
    """What may be so or otherwise.

    - ``metadata_only``: records without files may be published. InvenioRDM documents it
      (``files.enabled``); Zenodo's ``invenio.cfg`` has RDM_ALLOW_METADATA_ONLY_RECORDS = False.
    - ``update_drops_doi``: a PUT of a draft without ``pids`` forgets its reserved DOI. The
      documentation suggests it ("Deleting external DOIs"), the source (``PIDsComponent``) keeps it.
    - ``index_lag``: seconds until a search finds what was written (assumed: the index refreshes
      about once a second).
    - ``old_shape``: records are answered as before October 2023 (observed:
      zenodo_record_*_legacy.json), with their files below ``/api/files/{bucket}``.
    - ``rates``: the documented rates are not only told in headers but enforced with 429.
    """

    metadata_only: bool = False
    update_drops_doi: bool = False
    index_lag: float = 0.0
    old_shape: bool = False
    rates: bool = False


@dataclass(frozen=True)
class Content:
    """Bytes on disk that never change, there as long as a file of any record links them."""

    pieces: tuple[Piece, ...]
    size: int
    md5: str


@dataclass
class File:
    """A file of a record: started, then given content, then committed."""

    key: str
    id: str
    version: str
    created: datetime
    updated: datetime
    content: Content | None = None
    committed: bool = False

    @property
    def complete(self) -> Content | None:
        """Its content, once committed."""
        return self.content if self.committed else None


@dataclass
class Record:
    """A version: a draft until it is published, and from then on the same for ever."""

    id: str
    concept: str
    owner: str
    index: int
    bucket: str
    created: datetime
    updated: datetime
    metadata: Json = field(default_factory=dict)
    access: Json = field(default_factory=lambda: {"record": "public", "files": "public"})
    files_enabled: bool = True
    files: dict[str, File] = field(default_factory=dict)
    doi: str | None = None
    published: bool = False
    revision: int = 1

    @property
    def bytes(self) -> int:
        """All bytes that it holds, committed or not."""
        return sum(file.content.size for file in self.files.values() if file.content)


@dataclass
class Community:
    """Where records are gathered; its curators may take them in without a review."""

    id: str
    slug: str
    title: str
    curators: frozenset[str]


@dataclass
class Review:
    """The request that a community takes in a draft."""

    id: str
    number: int
    community: Community
    record: str
    owner: str
    created: datetime
    updated: datetime
    status: str = "created"

    @property
    def open(self) -> bool:
        """Whether a curator has to answer it."""
        return self.status == "submitted"

    @property
    def closed(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in {"accepted", "declined", "cancelled"}


@dataclass
class Concept:
    """What the versions of one record have in common; it has at most one draft of a next one."""

    id: str
    owner: str
    versions: list[str] = field(default_factory=list)
    draft: str | None = None
    doi: str | None = None
    review: Review | None = None
    communities: list[Community] = field(default_factory=list)
