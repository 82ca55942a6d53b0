"""Drafts and records: the state machine, without HTTP.

Kept at every step, whatever is asked: a draft has at most one DOI, always the same; a DOI is minted
by publishing alone, once; a published record never changes; a concept has at most one draft of a
next version; nothing incomplete is published. Documented where not said otherwise:
https://inveniordm.docs.cern.ch/reference/rest_api_drafts_records/
"""

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from fleet.rehearsal.zenodo import metadata
from fleet.rehearsal.zenodo.state import (
    Complaint,
    Concept,
    File,
    Json,
    Limits,
    Record,
    Refused,
    Switches,
    complaint,
    invalid,
)

UNKNOWN = "The persistent identifier does not exist."
UNREGISTERED = "The persistent identifier is not registered."
DENIED = "Permission denied."
UNFINISHED = "One or more files have not completed their transfer, please wait."
UNPUBLISHED = "Missing publisher field required for DOI registration."
OPEN_REVIEW = (
    "You cannot publish a draft with an open review request. "
    "Please cancel the review request first."
)
# The test prefix, as on Zenodo's sandbox (observed: d4c_sandbox_step06_283548_done.json).
PREFIX = "10.5072/zenodo."


def _now() -> datetime:
    return datetime.now(UTC)


class Records:
    """All that a Zenodo holds; every method is one request's effect, or raises ``Refused``.

    Whoever calls from several threads holds the ``lock``.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        switches: Switches | None = None,
        now: Callable[[], datetime] = _now,
        first: int = 1000,
    ) -> None:
        self.limits = limits or Limits()
        self.switches = switches or Switches()
        self.now = now
        self.lock = threading.RLock()
        self.records: dict[str, Record] = {}
        self.concepts: dict[str, Concept] = {}
        self.minted: list[str] = []
        self._next = first

    def counts(self) -> dict[str, int]:
        """Count what a test asks after: nothing of it is ever taken away but drafts."""
        with self.lock:
            published = [record for record in self.records.values() if record.published]
            concepts = {concept.doi for concept in self.concepts.values()}
            return {
                "concepts": sum(bool(concept.versions) for concept in self.concepts.values()),
                "records": len(published),
                "drafts": len(self.records) - len(published),
                "dois": sum(doi not in concepts for doi in self.minted),
                "files": sum(len(record.files) for record in published),
            }

    def create(self, user: str, data: Json) -> tuple[Record, list[Complaint]]:
        """Make a new concept with its first draft. Asked twice it makes two."""
        concept = Concept(self._id(), user)  # one below its first version (observed: 283542/3)
        record = self._new(concept, user)
        complaints = self._take(record, data)
        self.concepts[concept.id] = concept
        self.records[record.id] = record
        concept.draft = record.id
        return record, complaints

    def draft(self, user: str, name: str) -> Record:
        """Give a draft to its owner; a record that is published is none any more."""
        record = self.records.get(name)
        if record is None or record.published:
            raise Refused(404, UNKNOWN)  # invenio-drafts-resources: DraftNotCreatedError
        if record.owner != user:
            raise Refused(403, DENIED)
        return record

    def published(self, name: str) -> Record:
        """Give a published record."""
        record = self.records.get(name)
        if record is None:
            raise Refused(404, UNKNOWN)
        if not record.published:
            raise Refused(404, UNREGISTERED)  # observed: zenodo/zenodo-rdm#1440
        return record

    def update(self, user: str, name: str, data: Json) -> tuple[Record, list[Complaint]]:
        """Replace a draft's metadata; what is wrong with them is told and left out."""
        record = self.draft(user, name)
        complaints = self._take(record, data)
        if record.files_enabled and not record.files:
            complaints = [*complaints, _missing_files()]
        self._touch(record)
        return record, complaints

    def reserve(self, user: str, name: str) -> Record:
        """Give a draft its DOI, which follows from its id (DATACITE_FORMAT in ``invenio.cfg``)."""
        record = self.draft(user, name)
        if record.doi:
            raise invalid(complaint("pids.doi", "A PID already exists for type doi"))
        record.doi = PREFIX + record.id
        self._touch(record)
        return record

    def unreserve(self, user: str, name: str) -> None:
        """Take a draft's DOI back; the next one will be the same."""
        record = self.draft(user, name)
        if not record.doi:
            raise Refused(404, UNKNOWN)
        record.doi = None
        self._touch(record)

    def publish(self, user: str, name: str) -> Record:
        """Make a draft a record, for good; mint its DOI, and the concept's with the first."""
        record = self.publishable(user, name)
        review = self.concepts[record.concept].review
        if review and review.record == name and not review.closed:
            raise Refused(400, OPEN_REVIEW)  # invenio-rdm-records: ReviewComponent.publish
        return self.release(record)

    def publishable(self, user: str, name: str) -> Record:
        """Give a draft that lacks nothing (invenio-drafts-resources: ``publish``, files last)."""
        record = self.records.get(name)
        if record is not None and record.published:
            raise Refused(404, "Not found.")  # no draft is left (NoResultFound in the source)
        record = self.draft(user, name)
        if lacks := metadata.lacking(record.metadata):
            raise invalid(*lacks)
        if record.files_enabled and not record.files:
            raise invalid(_missing_files())
        if any(file.complete is None for file in record.files.values()):
            raise invalid(complaint("files", UNFINISHED))
        if not record.metadata.get(
            "publisher"
        ):  # invenio-rdm-records: DataCitePIDProvider.validate
            raise invalid(complaint("metadata.publisher", UNPUBLISHED))
        return record

    def release(self, record: Record) -> Record:
        """Publish a draft that lacks nothing."""
        concept = self.concepts[record.concept]
        if not concept.doi:
            concept.doi = PREFIX + concept.id
            self.minted.append(concept.doi)
        record.doi = record.doi or PREFIX + record.id
        self.minted.append(record.doi)
        record.published = True
        concept.versions.append(record.id)
        concept.draft = None
        self._touch(record)
        return record

    def new_version(self, user: str, name: str) -> Record:
        """Give the concept's next draft: the one that there is, or a new one without files.

        Its metadata are the latest version's without ``publication_date`` and ``version`` (the
        source of 2026 puts today's date there: invenio-rdm-records, MetadataComponent).
        """
        asked = self.published(name)
        if asked.owner != user:
            raise Refused(403, DENIED)
        concept = self.concepts[asked.concept]
        if concept.draft:
            return self.records[concept.draft]
        latest = self.records[concept.versions[-1]]
        record = self._new(concept, user)
        left_out = {"publication_date", "version"}
        record.metadata = {k: v for k, v in latest.metadata.items() if k not in left_out}
        record.access, record.files_enabled = latest.access, latest.files_enabled
        self.records[record.id] = record
        concept.draft = record.id
        return record

    def discard(self, user: str, name: str) -> None:
        """Forget a draft with its files; a first draft takes its concept along."""
        record = self.draft(user, name)
        concept = self.concepts[record.concept]
        if concept.review and concept.review.record == name and concept.review.open:
            text = "You cannot delete a draft with an open review. Please cancel the review."
            raise Refused(400, text)
        del self.records[name]
        concept.draft = concept.review = None
        if not concept.versions:
            del self.concepts[concept.id]

    def versions(self, name: str) -> list[Record]:
        """Give the published versions of a record's concept, the latest first."""
        record = self.records.get(name)
        if record is None:
            raise Refused(404, UNKNOWN)
        versions = self.concepts[record.concept].versions
        return [self.records[version] for version in reversed(versions)]

    def latest(self, name: str) -> Record:
        """Give the latest version of a record's concept; the concept's own id will do."""
        concept = self.concepts.get(name)
        name = concept.versions[-1] if concept and concept.versions else name
        return self.versions(self.published(name).id)[0]

    def by_doi(self, doi: str) -> Record:
        """Resolve a minted DOI: a concept's leads to its latest version."""
        if doi not in self.minted:
            raise Refused(404, UNKNOWN)
        return self.latest_or_self(doi.removeprefix(PREFIX))

    def latest_or_self(self, name: str) -> Record:
        """Give a published record, or for a concept's id its latest version."""
        return self.latest(name) if name in self.concepts else self.published(name)

    def _take(self, record: Record, data: Any) -> list[Complaint]:
        """Put into a draft what a body says; refuse before anything is changed."""
        if not isinstance(data, dict):
            raise invalid(complaint("_schema", "Invalid input type."))
        kept, complaints = metadata.saved(data.get("metadata") or {})
        complaints += self._take_files(record, data.get("files"))
        self._take_doi(record, data)
        record.metadata = kept
        if isinstance(data.get("access"), dict):
            record.access = {**record.access, **data["access"]}
        return complaints

    def _take_files(self, record: Record, files: Any) -> list[Complaint]:
        enabled = files.get("enabled", True) if isinstance(files, dict) else True
        if enabled == record.files_enabled:
            return []
        if not self.switches.metadata_only:
            text = "You don't have permissions to manage files options."
            return [complaint("files.enabled", text)]
        if record.files:
            return [complaint("files.enabled", "You must first delete all files.")]  # assumed
        record.files_enabled = bool(enabled)
        return []

    def _take_doi(self, record: Record, data: Json) -> None:
        """Keep the DOI that was reserved. One of another's making is not rehearsed."""
        pids = data.get("pids") or {}
        doi = pids.get("doi") if isinstance(pids, dict) else None
        given = doi.get("identifier") if isinstance(doi, dict) else None
        if given and given != PREFIX + record.id:
            raise Refused(501, f"This rehearsal has no external DOIs: {given}.")
        if given:
            record.doi = given
        elif self.switches.update_drops_doi or ("pids" in data and not pids):
            record.doi = None

    def _new(self, concept: Concept, user: str) -> Record:
        now = self.now()
        index, bucket = len(concept.versions) + 1, str(uuid.uuid4())
        return Record(self._id(), concept.id, user, index, bucket, now, now)

    def _id(self) -> str:
        self._next += 1
        return str(self._next - 1)

    def _touch(self, record: Record) -> None:
        record.updated = self.now()
        record.revision += 1

    def new_file(self, key: str) -> File:
        """Make a file that was only named so far."""
        now = self.now()
        return File(key, str(uuid.uuid4()), str(uuid.uuid4()), now, now)


def _missing_files() -> Complaint:
    return complaint("files.enabled", "Missing uploaded files.")
