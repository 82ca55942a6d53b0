"""Records as InvenioRDM writes them, asked for with ``Accept: application/vnd.inveniordm.v1+json``.

Documented: https://inveniordm.docs.cern.ch/reference/rest_api_drafts_records/ and
…/rest_api_communities/, …/rest_api_reviews/; which links there are: invenio-rdm-records,
``services/config.py``.
"""

import mimetypes
from datetime import datetime
from pathlib import PurePosixPath
from urllib.parse import quote

from fleet.rehearsal.zenodo.state import (
    Community,
    Concept,
    File,
    Json,
    Record,
    Review,
)

RDM = "application/vnd.inveniordm.v1+json"
SAFE = "/!$&'()*+,;=:@"


def record(url: str, record: Record, concept: Concept) -> Json:
    """Write a record or a draft."""
    latest = concept.versions[-1] if concept.versions else None
    return {
        "id": record.id,
        "created": stamp(record.created),
        "updated": stamp(record.updated),
        "links": links(url, record, concept),
        "revision_id": record.revision,
        "parent": _parent(url, concept),
        "versions": {
            "index": record.index,
            "is_latest": record.id == latest,
            "is_latest_draft": record.id == (concept.draft or latest),
        },
        "is_published": record.published,
        "is_draft": not record.published,
        "pids": {"doi": doi(record.doi)} if record.doi else {},
        "metadata": record.metadata,
        "custom_fields": {},
        "access": {**record.access, "embargo": {"active": False, "reason": None}},
        "files": {
            "enabled": record.files_enabled,
            "order": [],
            "count": len(record.files),
            "total_bytes": sum(f.complete.size for f in record.files.values() if f.complete),
            "entries": {key: _brief(file) for key, file in record.files.items()},
        },
        "status": "published" if record.published else "draft",
    }


def links(url: str, record: Record, concept: Concept) -> dict[str, str]:
    """Tell where a record's or draft's things are."""
    here = f"{url}/api/records/{record.id}"
    draft = f"{here}/draft"
    found = {
        "versions": f"{here}/versions",
        "reserve_doi": f"{draft}/pids/doi",
        "communities": f"{here}/communities",
        "requests": f"{here}/requests",
        "access_links": f"{here}/access/links",
    }
    if record.doi:
        found["doi"] = found["self_doi"] = f"{url}/doi/{record.doi}"
    if concept.doi:
        found["parent_doi"] = f"{url}/doi/{concept.doi}"
    if record.published:
        return found | {
            "self": here,
            "self_html": f"{url}/records/{record.id}",
            "parent": f"{url}/api/records/{concept.id}",
            "parent_html": f"{url}/records/{concept.id}",
            "files": f"{here}/files",
            "archive": f"{here}/files-archive",
            "latest": f"{here}/versions/latest",
            "latest_html": f"{url}/records/{record.id}/latest",
            "draft": draft,
        }
    if concept.review:
        found["submit-review"] = f"{draft}/actions/submit-review"
    return found | {
        "self": draft,
        "self_html": f"{url}/uploads/{record.id}",
        "files": f"{draft}/files",
        "archive": f"{draft}/files-archive",
        "record": here,
        "record_html": f"{url}/records/{record.id}",
        "publish": f"{draft}/actions/publish",
        "review": f"{draft}/review",
    }


def files(url: str, record: Record) -> Json:
    """Write the files of a record or draft."""
    body: Json = {
        "enabled": record.files_enabled,
        "links": {"self": _files(url, record), "archive": f"{_files(url, record)}-archive"},
    }
    if record.files_enabled:
        entries = [file(url, record, item) for item in record.files.values()]
        body |= {"entries": entries, "default_preview": None, "order": []}
    return body


def file(url: str, record: Record, file: File) -> Json:
    """Write one file; what follows from its bytes is told once it is committed."""
    here = f"{_files(url, record)}/{quote(file.key, safe=SAFE)}"
    found = {"self": here, "content": f"{here}/content"}
    if not record.published:
        found["commit"] = f"{here}/commit"
    body: Json = {
        "key": file.key,
        "created": stamp(file.created),
        "updated": stamp(file.updated),
        "status": "completed" if file.complete else "pending",
        "metadata": None,
        "access": {"hidden": False},
        "transfer": {"type": "L"},
        "links": found,
    }
    if content := file.complete:
        body |= {
            "checksum": f"md5:{content.md5}",
            "size": content.size,
            "mimetype": mime(file.key),
            "file_id": file.id,
            "version_id": file.version,
            "bucket_id": record.bucket,
            "storage_class": "L",
        }
    return body


def community(url: str, community: Community) -> Json:
    """Write a community."""
    here = f"communities/{community.id}"
    return {
        "id": community.id,
        "slug": community.slug,
        "metadata": {"title": community.title},
        "access": {
            "visibility": "public",
            "member_policy": "open",
            "record_policy": "open",
            "review_policy": "open",
        },
        "links": {
            "self": f"{url}/api/{here}",
            "self_html": f"{url}/communities/{community.slug}",
            "records": f"{url}/api/{here}/records",
        },
    }


def review(url: str, review: Review) -> Json:
    """Write a request for review."""
    here = f"{url}/api/requests/{review.id}"
    actions = ["accept", "decline", "cancel"] if review.open else []
    return {
        "id": review.id,
        "number": str(review.number),
        "type": "community-submission",
        "title": "",
        "status": review.status,
        "is_open": review.open,
        "is_closed": review.closed,
        "is_expired": False,
        "expires_at": None,
        "created": stamp(review.created),
        "updated": stamp(review.updated),
        "created_by": {"user": review.owner},
        "receiver": {"community": review.community.id},
        "topic": {"record": review.record},
        "links": {
            "self": here,
            "comments": f"{here}/comments",
            "timeline": f"{here}/timeline",
            "actions": {name: f"{here}/actions/{name}" for name in actions},
        },
    }


def stamp(moment: datetime) -> str:
    """Write a time as all answers do (observed: 2025-07-07T16:20:19.283543+00:00)."""
    return moment.isoformat(timespec="microseconds")


def doi(identifier: str) -> Json:
    """Write a DOI of the repository's own making."""
    return {"identifier": identifier, "provider": "datacite", "client": "datacite"}


def mime(key: str) -> str:
    """Tell the media type that a name suggests."""
    return mimetypes.guess_type(key)[0] or "application/octet-stream"


def _parent(url: str, concept: Concept) -> Json:
    communities = [community(url, one) for one in concept.communities]
    return {
        "id": concept.id,
        "access": {"owned_by": {"user": concept.owner}, "links": []},
        "communities": {"ids": [one["id"] for one in communities], "entries": communities},
        "pids": {"doi": doi(concept.doi)} if concept.doi else {},
    }


def _brief(file: File) -> Json:
    body: Json = {"key": file.key, "metadata": {}, "access": {"hidden": False}}
    if content := file.complete:
        body |= {
            "id": file.id,
            "checksum": f"md5:{content.md5}",
            "ext": PurePosixPath(file.key).suffix.lstrip("."),
            "size": content.size,
            "mimetype": mime(file.key),
            "storage_class": "L",
        }
    return body


def _files(url: str, record: Record) -> str:
    draft = "" if record.published else "/draft"
    return f"{url}/api/records/{record.id}{draft}/files"
