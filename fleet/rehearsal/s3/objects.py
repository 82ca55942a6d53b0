"""Objects: put, copy, get, head, delete.

From AWS's PutObject, CopyObject, GetObject, HeadObject, DeleteObject and DeleteObjects
(docs.aws.amazon.com/AmazonS3/latest/API/).  There are no versions, ACLs, tags or encryption.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import unquote

from fleet.rehearsal.exchange import STEP, Answer, Piece, ranged
from fleet.rehearsal.s3.buckets import Object
from fleet.rehearsal.s3.checks import check_body
from fleet.rehearsal.s3.errors import XML, Refused, document, element_of
from fleet.rehearsal.s3.visit import Visit
from fleet.rehearsal.s3.xml import read

KEPT = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)
META = "x-amz-meta-"
MOST_DELETES = 1000  # AWS, "DeleteObjects"


def put(visit: Visit) -> Answer:
    """PutObject: the ETag is the MD5."""
    if visit.asked.body.length > visit.rules.most_part:
        raise Refused("EntityTooLarge")
    digests = check_body(visit.asked)
    pieces = visit.asked.body.keep()
    etag = f'"{digests.md5.hex()}"'
    headers = kept(visit.asked.headers)
    visit.put(Object(pieces, etag, visit.now, headers, digests.headers))
    return Answer(200, {"ETag": etag, **digests.headers})


def copy(visit: Visit, source: Object) -> Answer:
    """CopyObject within a bucket, in one request, so up to the size of one put.

    Conditions on what it replaces are AWS's, or R2's with a prefix; that R2 takes no notice of
    AWS's is assumed.
    """
    if source.size > visit.rules.most_part:
        raise Refused("InvalidRequest", "The copy source is larger than may be copied at once.")
    replaced = visit.asked.headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE"
    etag = f'"{md5_of(source.pieces).hex()}"'
    headers = kept(visit.asked.headers) if replaced else source.headers
    made = Object(source.pieces, etag, visit.now, headers, {})
    visit.put(made, conditions=visit.rules.copy_conditions)
    result = element_of({"LastModified": iso(visit.now), "ETag": etag})
    return Answer(200, XML, document("CopyObjectResult", result))


def source_of(visit: Visit) -> Object:
    """Find what a copy is of; x-amz-copy-source is ``bucket/key``, percent-encoded."""
    headers = visit.asked.headers
    name, _, key = unquote(headers["x-amz-copy-source"]).lstrip("/").partition("/")
    if name != visit.name:
        raise Refused("NotImplemented", "Copies between buckets are not implemented here")
    visit.allow(key)
    found = visit.bucket.get(key)
    if headers.get("x-amz-copy-source-if-match", found.etag) not in {found.etag, found.tag}:
        raise Refused("PreconditionFailed")
    return found


def md5_of(pieces: Iterable[Piece]) -> bytes:
    """Read the bytes of some pieces."""
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        with piece.path.open("rb") as file:
            file.seek(piece.start)
            for at in range(0, piece.length, STEP):
                digest.update(file.read(min(STEP, piece.length - at)))
    return digest.digest()


def get(visit: Visit) -> Answer:
    """GetObject and HeadObject, with ranges and conditions on the ETag."""
    headers = visit.asked.headers
    found = visit.bucket.get(visit.key)
    if headers.get("if-match", found.etag) not in {found.etag, found.tag, "*"}:
        raise Refused("PreconditionFailed")
    answered: dict[str, str | None] = {
        "ETag": found.etag,
        "Last-Modified": formatdate(found.modified, usegmt=True),
        "Content-Type": "binary/octet-stream",  # AWS's when none was given
        **{
            name if name.startswith(META) else name.title(): value
            for name, value in found.headers.items()
        },
    }
    if headers.get("if-none-match") in {found.etag, "*"}:
        return Answer(304, answered)
    if headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and "range" not in headers:
        answered |= found.checksums
    if visit.asked.method == "HEAD" and visit.rules.head_without_length:
        answered["Content-Length"] = None
    answer = ranged(visit.asked, found.pieces, answered, visit.rules.longest_range)
    if answer.status == 416:
        raise Refused("InvalidRange")
    return answer


def delete(visit: Visit) -> Answer:
    """DeleteObject: what is not there counts as deleted."""
    with visit.lock:
        visit.bucket.delete(visit.key)
    return Answer(204)


def delete_many(visit: Visit) -> Answer:
    """DeleteObjects; AWS requires Content-MD5 or a checksum of the list."""
    digests = check_body(visit.asked)
    if "content-md5" not in visit.asked.headers and not digests.checksums:
        raise Refused("InvalidRequest", "Missing required header for this request: Content-MD5")
    root = read(visit.asked, "Delete")
    keys = [entry["Key"] for entry in root.entries("Object") if "Key" in entry]
    if not 0 < len(keys) <= MOST_DELETES:
        raise Refused("MalformedXML")
    said = []
    for key in keys:
        try:
            visit.allow(key)
        except Refused as error:
            fields = {"Key": key, "Code": error.code, "Message": error.message}
            said.append(f"<Error>{element_of(fields)}</Error>")
            continue
        with visit.lock:
            visit.bucket.delete(key)
        if root.values.get("Quiet") != "true":
            said.append(f"<Deleted>{element_of({'Key': key})}</Deleted>")
    return Answer(200, XML, document("DeleteResult", "".join(said)))


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Give the headers that an object keeps and is answered with."""
    return {name: value for name, value in headers.items() if name in KEPT or name.startswith(META)}


def iso(moment: float) -> str:
    """Give a moment as S3's XML has it."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S.000Z}"
