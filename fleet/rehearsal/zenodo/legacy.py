"""Records in Zenodo's own shapes: of today, of before October 2023, and of the deposit API.

Today's is what ``Accept: application/json`` gets (zenodo-rdm: ``resources.py``; its fields:
``legacy/serializers/schemas``). The older one and the deposit's are those of the answers observed:
zenodo_record_*_legacy.json, d4c_sandbox_step*.json.
"""

from pathlib import PurePosixPath
from urllib.parse import quote

from fleet.rehearsal.zenodo import shapes
from fleet.rehearsal.zenodo.state import Concept, Content, File, Json, Record


def record(url: str, record: Record, concept: Concept) -> Json:
    """Write a record or draft as Zenodo does today."""
    body = _common(url, record, concept)
    files = body["links"]["files"]
    return body | {
        "modified": body["updated"],
        "recid": record.id,
        "revision": record.revision,
        "metadata": _metadata(record, concept),
        "title": record.metadata.get("title", ""),
        "files": [
            {
                "id": file.id,
                "key": file.key,
                "size": content.size,
                "checksum": f"md5:{content.md5}",
                "links": {"self": f"{files}/{_quoted(file)}/content"},
            }
            for file, content in _complete(record)
        ],
        "swh": {},
        "owners": [{"id": concept.owner}],
        "status": "published" if record.published else "draft",
        "stats": _stats(),
        "state": "done" if record.published else "unsubmitted",
        "submitted": record.published,
    }


def old_record(url: str, record: Record, concept: Concept) -> Json:
    """Write a record as before October 2023; its files lie in a bucket."""
    body = _common(url, record, concept)
    bucket = f"{url}/api/files/{record.bucket}"
    body["links"] = {
        "badge": f"{url}/badge/doi/{record.doi}.svg",
        "bucket": bucket,
        "conceptbadge": f"{url}/badge/doi/{concept.doi}.svg",
        "conceptdoi": f"{url}/doi/{concept.doi}",
        "doi": f"{url}/doi/{record.doi}",
        "html": f"{url}/record/{record.id}",
        "latest": f"{url}/api/records/{concept.versions[-1]}",
        "latest_html": f"{url}/record/{concept.versions[-1]}",
        "self": f"{url}/api/records/{record.id}",
    }
    del body["doi_url"]
    return body | {
        "metadata": _metadata(record, concept) | {"access_right_category": "success"},
        "files": [
            {
                "bucket": record.bucket,
                "key": file.key,
                "size": content.size,
                "checksum": f"md5:{content.md5}",
                "links": {"self": f"{bucket}/{_quoted(file)}"},
                "type": PurePosixPath(file.key).suffix.lstrip("."),
            }
            for file, content in _complete(record)
        ],
        "owners": [int(concept.owner)],
        "revision": record.revision,
        "stats": _stats(),
    }


def deposition(url: str, record: Record, concept: Concept) -> Json:
    """Write a draft or record as the deposit API does: sums without ``md5:``, ``filesize``."""
    body = _common(url, record, concept)
    body["modified"] = body.pop("updated")
    here = f"{url}/api/deposit/depositions/{record.id}"
    draft = f"{url}/api/records/{record.id}/draft"
    names = ("publish", "edit", "discard", "newversion")
    body["links"] |= {
        "html": f"{url}/deposit/{record.id}",
        "bucket": f"{url}/api/files/{record.bucket}",
        "latest_draft": here,
        **{name: f"{here}/actions/{name}" for name in names},
    }
    if record.published:
        record_html = f"{url}/record/{record.id}"
        body["links"] |= {"record": body["links"]["self"], "record_html": record_html}
    else:
        body["links"] |= {"self": here, "files": f"{here}/files"}
    metadata = _metadata(record, concept)
    metadata["upload_type"] = metadata.pop("resource_type", {}).get("type")
    metadata["imprint_publisher"] = metadata.pop("publisher", "Zenodo")
    if "license" in metadata:
        metadata["license"] = metadata["license"]["id"]
    reserved = {"doi": f"10.5281/zenodo.{record.id}", "recid": int(record.id)}
    return body | {
        "metadata": metadata | {"prereserve_doi": reserved},
        "title": record.metadata.get("title", ""),
        "record_id": int(record.id),
        "owner": int(concept.owner),
        "files": [
            {
                "id": file.id,
                "filename": file.key,
                "filesize": content.size,
                "checksum": content.md5,
                "links": {
                    "self": f"{body['links']['files']}/{file.id}",
                    # Of a published record too, where it leads nowhere (observed: step06).
                    "download": f"{draft}/files/{_quoted(file)}/content",
                },
            }
            for file, content in _complete(record)
        ],
        "state": "done" if record.published else "unsubmitted",
        "submitted": record.published,
    }


def _common(url: str, record: Record, concept: Concept) -> Json:
    body: Json = {
        "created": shapes.stamp(record.created),
        "updated": shapes.stamp(record.updated),
        "id": int(record.id),
        "conceptrecid": concept.id,
        "links": shapes.links(url, record, concept),
    }
    if record.doi:
        body |= {"doi": record.doi, "doi_url": body["links"]["doi"]}
    if concept.doi:
        body["conceptdoi"] = concept.doi
    return body


def _metadata(record: Record, concept: Concept) -> Json:
    """Give the metadata their old names, those of them that a reader of files needs."""
    given = record.metadata
    same = ("title", "publication_date", "description", "version", "publisher")
    found: Json = {name: given[name] for name in same if name in given}
    found["access_right"] = "open" if record.access["files"] == "public" else "restricted"
    if record.doi:
        found["doi"] = record.doi
    found["creators"] = [
        {"name": _name(one["person_or_org"]), "affiliation": _affiliation(one)}
        for one in given.get("creators", [])
    ]
    if rights := given.get("rights"):
        found["license"] = {"id": rights[0].get("id")}
    if concept.communities:
        found["communities"] = [{"id": one.slug} for one in concept.communities]
    if "resource_type" in given:
        first, _, second = given["resource_type"]["id"].partition("-")
        found["resource_type"] = {"title": first.capitalize(), "type": first}
        if second:
            found["resource_type"]["subtype"] = second
    parent = {"pid_type": "recid", "pid_value": concept.id}
    last = bool(concept.versions) and concept.versions[-1] == record.id
    version = {"index": record.index - 1, "is_last": last, "parent": parent}
    return found | {"relations": {"version": [version]}}


def _name(who: Json) -> str:
    if who["type"] == "personal":
        given = who.get("given_name")
        return f"{who['family_name']}, {given}" if given else str(who["family_name"])
    return str(who["name"])


def _affiliation(creator: Json) -> str | None:
    names = [one.get("name") for one in creator.get("affiliations") or []]
    return names[0] if names else None


def _complete(record: Record) -> list[tuple[File, Content]]:
    return [(file, file.complete) for file in record.files.values() if file.complete]


def _quoted(file: File) -> str:
    return quote(file.key, safe=shapes.SAFE)


def _stats() -> Json:
    names = ("downloads", "unique_downloads", "views", "unique_views", "volume")
    return {prefix + name: 0 for prefix in ("", "version_") for name in names}
