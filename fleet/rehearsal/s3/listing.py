"""Listings: of objects, of uploads, of an upload's parts.

From AWS's ListObjectsV2, ListMultipartUploads and ListParts
(docs.aws.amazon.com/AmazonS3/latest/API/).  The first version of ListObjects is not implemented.
"""

import base64
import binascii
import bisect
from urllib.parse import quote

from fleet.rehearsal.exchange import Answer
from fleet.rehearsal.s3.buckets import Object
from fleet.rehearsal.s3.errors import XML, Refused, document, element_of
from fleet.rehearsal.s3.multipart import find
from fleet.rehearsal.s3.objects import iso
from fleet.rehearsal.s3.visit import Visit

PAGE = 1000
LAST = "\U0010ffff"


def list_objects(visit: Visit) -> Answer:
    """ListObjectsV2, a page at a time; the token holds the last key that was told of."""
    asked = visit.asked
    prefix = asked.param("prefix") or ""
    visit.allow(prefix)
    most = number(visit, "max-keys")
    after = max(_marker(visit), asked.param("start-after") or "")
    keys, groups, more = _page(visit, prefix, after, most)
    url = asked.param("encoding-type") == "url"
    fields = {
        "Name": visit.name,
        "Prefix": shown(prefix, url),
        "Delimiter": asked.param("delimiter"),
        "MaxKeys": most,
        "EncodingType": "url" if url else None,
        "KeyCount": len(keys) + len(groups),
        "IsTruncated": "true" if more else "false",
        "ContinuationToken": asked.param("continuation-token"),
        "NextContinuationToken": base64.urlsafe_b64encode(more.encode()).decode() if more else None,
        "StartAfter": asked.param("start-after"),
    }
    contents = "".join(_content(key, found, url) for key, found in keys)
    told = "".join(
        f"<CommonPrefixes>{element_of({'Prefix': shown(group, url)})}</CommonPrefixes>"
        for group in groups
    )
    return Answer(200, XML, document("ListBucketResult", element_of(fields) + contents + told))


def _page(
    visit: Visit, prefix: str, after: str, most: int
) -> tuple[list[tuple[str, Object]], list[str], str]:
    """Give objects and common prefixes, and the last key of the page where more follow."""
    delimiter = visit.asked.param("delimiter")
    found: list[tuple[str, Object]] = []
    groups: list[str] = []
    with visit.lock:
        keys = visit.bucket.keys
        at = max(bisect.bisect_right(keys, after), bisect.bisect_left(keys, prefix))
        while at < len(keys) and keys[at].startswith(prefix):
            if len(found) + len(groups) >= most:
                return found, groups, keys[at - 1] if most else ""
            end = keys[at].find(delimiter, len(prefix)) if delimiter else -1
            if delimiter and end >= 0:
                groups.append(keys[at][: end + len(delimiter)])
                at = bisect.bisect_left(keys, groups[-1] + LAST)
            else:
                found.append((keys[at], visit.bucket.objects[keys[at]]))
                at += 1
    return found, groups, ""


def _content(key: str, found: Object, url: bool) -> str:
    fields = {
        "Key": shown(key, url),
        "LastModified": iso(found.modified),
        "ETag": found.etag,
        "Size": found.size,
        "StorageClass": "STANDARD",
    }
    return f"<Contents>{element_of(fields)}</Contents>"


def _marker(visit: Visit) -> str:
    token = visit.asked.param("continuation-token")
    try:
        return base64.b64decode(token or "", altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise Refused("InvalidArgument", "The continuation token is incorrect") from None


def list_uploads(visit: Visit) -> Answer:
    """ListMultipartUploads, in the order of their keys and, for one key, of their age."""
    prefix = visit.asked.param("prefix") or ""
    visit.allow(prefix)
    most = number(visit, "max-uploads")
    after = (visit.asked.param("key-marker") or "", visit.asked.param("upload-id-marker") or LAST)
    with visit.lock:
        uploads = list(visit.bucket.uploads.values())
    young = [one for one in uploads if visit.now - one.started <= visit.rules.upload_age]
    found = sorted(
        (one for one in young if one.key.startswith(prefix) and (one.key, one.id) > after),
        key=lambda one: (one.key, one.id),
    )
    page, more = found[:most], len(found) > most
    fields = {
        "Bucket": visit.name,
        "KeyMarker": after[0],
        "NextKeyMarker": page[-1].key if more else None,
        "NextUploadIdMarker": page[-1].id if more else None,
        "MaxUploads": most,
        "IsTruncated": str(more).lower(),
        "Prefix": prefix or None,
    }
    entries = "".join(
        f"<Upload>{element_of(values)}</Upload>"
        for values in (
            {"Key": one.key, "UploadId": one.id, "Initiated": iso(one.started)} for one in page
        )
    )
    return Answer(200, XML, document("ListMultipartUploadsResult", element_of(fields) + entries))


def list_parts(visit: Visit) -> Answer:
    """ListParts, by number."""
    upload = find(visit)
    most, after = number(visit, "max-parts"), number(visit, "part-number-marker", 0, 1 << 30)
    with visit.lock:
        found = sorted((at, part) for at, part in upload.parts.items() if at > after)
    page, more = found[:most], len(found) > most
    fields = {
        "Bucket": visit.name,
        "Key": visit.key,
        "UploadId": upload.id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": page[-1][0] if more else None,
        "MaxParts": most,
        "IsTruncated": str(more).lower(),
    }
    entries = "".join(
        f"<Part>{element_of(values)}</Part>"
        for values in (
            {
                "PartNumber": at,
                "LastModified": iso(part.modified),
                "ETag": part.etag,
                "Size": part.size,
            }
            for at, part in page
        )
    )
    return Answer(200, XML, document("ListPartsResult", element_of(fields) + entries))


def number(visit: Visit, name: str, usual: int = PAGE, most: int = PAGE) -> int:
    """Give a number of the query, which is none above the most there may be."""
    text = visit.asked.param(name)
    if text is None:
        return usual
    if not text.isdecimal():
        raise Refused("InvalidArgument", f"Provided {name} not an integer")
    return min(int(text), most)


def shown(key: str, url: bool) -> str:
    """Give a key as the listing's encoding-type has it."""
    return quote(key) if url else key
