"""Published records, by id or DOI: what they hold, for citing, mirroring and verifying.

URLs are made here and not taken from answers.  A file's is the one that honours ranges; Zenodo has
another, with CORS but without ranges, below ``/api``.
"""

import re
from dataclasses import dataclass
from typing import Final

from fleet.invenio.calls import Calls, part
from fleet.invenio.faults import Unfit
from fleet.invenio.shapes import Nonsense, Record, files, hits, record

_OWN: Final = re.compile(r"10\.\d{4,9}/zenodo\.(\d{1,20})", re.IGNORECASE)
"""A DOI that Zenodo made of its record's id."""
_DOI: Final = re.compile(r'10\.\d{4,9}/[^\s"\\]{1,200}')
_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True)
class Copy:
    """A file as it is published; without md5 where the repository has another sum of it."""

    key: str
    size: int
    md5: str | None
    url: str


@dataclass(frozen=True, slots=True)
class Published:
    """A record that is there for good."""

    id: str
    doi: str
    concept: str
    concept_doi: str
    url: str
    files: tuple[Copy, ...]


def read_record(calls: Calls, name: str) -> Published:
    """Read a published record; of a concept, its latest version.

    Args:
        calls: to the repository; no token is needed.
        name: an id, a DOI or the URL of either.

    Raises:
        Unfit: there is no such record, or that names none.
        RepositoryError: it could not be read.
    """
    doing = f"record {name[:200]}: read it"
    found = calls.get(f"/api/records/{part(_id(calls, name, doing))}", doing, record)
    doi = _DOI.search(name)
    if found is None or (doi and doi[0].lower() not in _dois(found)):
        raise Unfit(f"{doing}: {calls.url} has no such record")
    return published(calls, found)


def published(calls: Calls, found: Record) -> Published:
    """Give a record with its files, which are asked for by themselves."""
    doing = f"record {found.id}: list its files"
    held = calls.get(f"/api/records/{part(found.id)}/files", doing, files) or found.files
    copies = []
    for one in held:
        if one.size is None:
            raise Nonsense(f"{doing}: {one.key!r} has no size, though it is published")
        url = f"{calls.url}/records/{part(found.id)}/files/{part(one.key)}"
        copies.append(Copy(one.key, one.size, one.md5, url))
    page = f"{calls.url}/records/{part(found.id)}"
    return Published(found.id, found.doi, found.concept, found.concept_doi, page, tuple(copies))


def _id(calls: Calls, name: str, doing: str) -> str:
    """Find the id that a name stands for, by searching only where it does not tell."""
    text = name.strip()
    if doi := _DOI.search(text):
        own = _OWN.fullmatch(doi[0])
        return own[1] if own else _searched(calls, doi[0], doing)
    text = re.sub(r"^https?://[^/]+/(?:api/)?records?/", "", text).partition("?")[0].strip("/")
    if not _ID.fullmatch(text):
        raise Unfit(f"{name[:200]!r} is neither the id nor the DOI of a record")
    return text


def _searched(calls: Calls, doi: str, doing: str) -> str:
    query = {"q": f'doi:"{doi}"', "allversions": "true"}
    for one in calls.get("/api/records", doing, hits, query) or ():
        if doi.lower() in _dois(one):
            return one.id
    raise Unfit(f"{doing}: {calls.url} has no record with that DOI")


def _dois(found: Record) -> set[str]:
    return {found.doi.lower(), found.concept_doi.lower()}
