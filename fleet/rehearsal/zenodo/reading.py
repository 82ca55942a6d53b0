"""The requests that change nothing: records, drafts, searches, files, DOIs, communities."""

from collections.abc import Callable
from datetime import timedelta
from html import escape
from urllib.parse import urlencode

from fleet.rehearsal.exchange import Answer, ranged
from fleet.rehearsal.zenodo import legacy, search, shapes
from fleet.rehearsal.zenodo.call import Call, redirect, said
from fleet.rehearsal.zenodo.state import Content, File, Json, Record, Refused

MOST_HITS = 100


def draft(call: Call) -> Answer:
    """Read a draft."""
    return said(200, call.shaped(call.records.draft(call.user, call.id)))


def record(call: Call) -> Answer:
    """Read a record; a concept's id leads to its latest version (invenio-rdm-records: ``read``)."""
    found = call.records.latest_or_self(call.id)
    if found.id != call.id:
        return redirect(302, f"{call.url}/api/records/{found.id}")
    return said(200, call.shaped(found))


def latest(call: Call) -> Answer:
    """Redirect to the latest version (invenio-drafts-resources: ``read_latest``)."""
    found = call.records.latest(call.id)
    return redirect(301, f"{call.url}/api/records/{found.id}")


def versions(call: Call) -> Answer:
    """List the published versions of a record's concept."""
    found = call.records.versions(call.id)
    if not found:
        call.records.draft(call.user, call.id)
    return _hits(call, found)


def records(call: Call) -> Answer:
    """Search the published records, of each concept the latest version."""
    return _search(call, [one for one in _all(call) if one.published])


def own_records(call: Call) -> Answer:
    """Search the drafts and records of the user."""
    return _search(call, [one for one in _all(call) if one.owner == call.user])


def depositions(call: Call) -> Answer:
    """List the drafts and records of the user, as the deposit API does."""
    found = [one for one in _all(call) if one.owner == call.user]
    return said(200, [_deposition(call, one) for one in _page(call, found)])


def deposition(call: Call) -> Answer:
    """Read a draft or record of the user, as the deposit API does."""
    found = call.records.records.get(call.id)
    if found is None or not found.published:
        found = call.records.draft(call.user, call.id)
    return said(200, _deposition(call, found))


def draft_files(call: Call) -> Answer:
    """List a draft's files."""
    found = call.records.draft(call.user, call.id)
    return said(200, shapes.files(call.url, found))


def draft_file(call: Call) -> Answer:
    """Read what is known of a draft's file."""
    found = call.records.draft(call.user, call.id)
    return said(200, shapes.file(call.url, *call.files.read(found, call.key)))


def draft_content(call: Call) -> Answer:
    """Download a committed file of a draft."""
    found = call.records.draft(call.user, call.id)
    return _whole(*call.files.read(found, call.key))


def files(call: Call) -> Answer:
    """List a record's files."""
    return said(200, shapes.files(call.url, call.records.published(call.id)))


def file(call: Call) -> Answer:
    """Read what is known of a record's file."""
    found = call.records.published(call.id)
    return said(200, shapes.file(call.url, *call.files.read(found, call.key)))


def content(call: Call) -> Answer:
    """Download a file, whole whatever range is asked for, from any page (facts: CORS, no Range)."""
    found = call.records.published(call.id)
    return _whole(*call.files.read(found, call.key), cors=True)


def download(call: Call) -> Answer:
    """Download a file or a range of it, for no other page (facts: Range, no CORS)."""
    found = call.records.published(call.id)
    _, one = call.files.read(found, call.key)
    held = _held(found, one)
    return ranged(call.asked, held.pieces, _headers(one, held))


def bucket_content(call: Call) -> Answer:
    """Download a file as its link was before October 2023 (zenodo-rdm: LegacyFilesRESTResource)."""
    return _whole(*call.files.in_bucket(call.names["bucket"], call.key))


def resolve(call: Call) -> Answer:
    """Resolve a DOI, as doi.org does for real ones: a concept's leads to the latest version."""
    found = call.records.by_doi(f"{call.names['prefix']}/{call.names['suffix']}")
    return redirect(302, f"{call.url}/records/{found.id}")


def page(call: Call) -> Answer:
    """Show a record to a person."""
    found = call.records.latest_or_self(call.id)
    title = escape(str(found.metadata["title"]))
    rows = "".join(f"<li>{escape(key)}</li>" for key in found.files)
    text = f"<!DOCTYPE html><title>{title}</title><h1>{title}</h1><p>{found.doi}</p><ul>{rows}</ul>"
    return Answer(200, {"Content-Type": "text/html; charset=utf-8"}, text.encode())


def community(call: Call) -> Answer:
    """Read a community, by its id or its slug."""
    found = call.reviews.community(call.id)
    return said(200, shapes.community(call.url, found))


def review(call: Call) -> Answer:
    """Read the review of a draft."""
    return said(200, shapes.review(call.url, call.reviews.of(call.user, call.id)))


def _all(call: Call) -> list[Record]:
    """Give what the index knows, the newest first."""
    everything = call.records
    seen = everything.now() - timedelta(seconds=everything.switches.index_lag)
    found = [one for one in everything.records.values() if one.updated <= seen]
    return sorted(found, key=lambda one: int(one.id), reverse=True)


def _search(call: Call, found: list[Record]) -> Answer:
    terms = search.parse(call.asked.param("q") or "")
    every = {call.asked.param("allversions"), call.asked.param("all_versions")} & {"1", "true"}
    hits = []
    for one in found:
        concept = call.records.concepts[one.concept]
        newest = concept.versions[-1:] if one.published else [concept.draft]
        document = shapes.record(call.url, one, concept)
        if (every or one.id in newest) and search.matches(terms, document):
            hits.append(one)
    return _hits(call, hits)


def _hits(call: Call, found: list[Record]) -> Answer:
    parts = [call.shaped(one) for one in _page(call, found)]
    number, size = _number(call, "page", 1), _number(call, "size", 10)
    base = f"{call.url}{call.asked.path}"
    query = {key: value for key, value in call.asked.query if key != "access_token"}
    links = {"self": f"{base}?{urlencode(query | {'page': number, 'size': size})}"}
    if number * size < len(found):
        links["next"] = f"{base}?{urlencode(query | {'page': number + 1, 'size': size})}"
    body: Json = {"hits": {"hits": parts, "total": len(found)}, "aggregations": {}, "links": links}
    return said(200, body)


def _page(call: Call, found: list[Record]) -> list[Record]:
    number, size = _number(call, "page", 1), _number(call, "size", 10)
    return found[(number - 1) * size : number * size]


def _number(call: Call, name: str, default: int) -> int:
    text = call.asked.param(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) <= MOST_HITS:
        raise Refused(400, "Invalid querystring parameters.")
    return int(text)


def _deposition(call: Call, found: Record) -> Json:
    concept = call.records.concepts[found.concept]
    return legacy.deposition(call.url, found, concept)


def _held(found: Record, one: File) -> Content:
    if one.complete is None:
        raise Refused(404, f"Record '{found.id}' has no file '{one.key}'.")  # assumed
    return one.complete


def _headers(one: File, held: Content) -> dict[str, str | None]:
    return {
        "Content-Type": shapes.mime(one.key),
        "Content-MD5": held.md5,
        "ETag": f'"md5:{held.md5}"',
    }


def _whole(found: Record, one: File, *, cors: bool = False) -> Answer:
    held = _held(found, one)
    headers = _headers(one, held)
    if cors:
        headers["Access-Control-Allow-Origin"] = "*"
    return Answer(200, headers, held.pieces)


ROUTES: dict[tuple[str, str], Callable[[Call], Answer]] = {
    ("GET", "api/records"): records,
    ("GET", "api/records/:id"): record,
    ("GET", "api/records/:id/draft"): draft,
    ("GET", "api/records/:id/draft/files"): draft_files,
    ("GET", "api/records/:id/draft/files/:key"): draft_file,
    ("GET", "api/records/:id/draft/files/:key/content"): draft_content,
    ("GET", "api/records/:id/draft/review"): review,
    ("GET", "api/records/:id/files"): files,
    ("GET", "api/records/:id/files/:key"): file,
    ("GET", "api/records/:id/files/:key/content"): content,
    ("GET", "api/records/:id/versions"): versions,
    ("GET", "api/records/:id/versions/latest"): latest,
    ("GET", "api/user/records"): own_records,
    ("GET", "api/deposit/depositions"): depositions,
    ("GET", "api/deposit/depositions/:id"): deposition,
    ("GET", "api/files/:bucket/:key"): bucket_content,
    ("GET", "api/communities/:id"): community,
    ("GET", "records/:id"): page,
    ("GET", "records/:id/files/:key"): download,
    ("GET", "doi/:prefix/:suffix"): resolve,
}
SEARCHES = {records}
