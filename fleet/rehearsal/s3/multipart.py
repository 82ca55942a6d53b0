"""Multipart uploads: create, upload or copy a part, complete, abort.

From AWS's CreateMultipartUpload, UploadPart(Copy), CompleteMultipartUpload and AbortMultipartUpload
(docs.aws.amazon.com/AmazonS3/latest/API/), and R2's "Multipart upload" for equal parts.  An upload
that was completed is no more: completing it again is NoSuchUpload (AWS's text for that error), so
whoever lost the answer has to look at the object.
"""

import hashlib

from fleet.rehearsal.exchange import RANGE, Answer, window
from fleet.rehearsal.s3.buckets import Object, Part, Upload
from fleet.rehearsal.s3.checks import LENGTHS, PREFIX, check_body, encoded, new_digest
from fleet.rehearsal.s3.errors import XML, Refused, document, element_of
from fleet.rehearsal.s3.objects import iso, kept, md5_of
from fleet.rehearsal.s3.visit import Visit
from fleet.rehearsal.s3.xml import read


def create(visit: Visit) -> Answer:
    """CreateMultipartUpload; every call makes another upload, of the same key as well."""
    headers = visit.asked.headers
    algorithm = headers.get("x-amz-checksum-algorithm", "").lower() or None
    if algorithm is not None and algorithm not in LENGTHS:
        raise Refused("NotImplemented", f"The checksum {algorithm} is not implemented here")
    if headers.get("x-amz-checksum-type", "COMPOSITE").upper() != "COMPOSITE":
        raise Refused("NotImplemented", "Checksums of the full object are not implemented here")
    upload = Upload(visit.key, visit.now, kept(headers), algorithm)
    with visit.lock:
        visit.bucket.uploads[upload.id] = upload
    result = element_of({"Bucket": visit.name, "Key": visit.key, "UploadId": upload.id})
    return Answer(200, XML, document("InitiateMultipartUploadResult", result))


def put_part(visit: Visit) -> Answer:
    """UploadPart; a part that is sent again takes the place of the first."""
    number = _number(visit)
    if visit.asked.body.length > visit.rules.most_part:
        raise Refused("EntityTooLarge")
    upload = find(visit)
    digests = check_body(visit.asked)
    if upload.algorithm is not None and upload.algorithm not in digests.checksums:
        raise Refused("InvalidRequest", f"Expected a checksum of the type {upload.algorithm}")
    part = Part(visit.asked.body.keep(), digests.md5, visit.now, digests.checksums)
    with visit.lock:
        find(visit).parts[number] = part
    return Answer(200, {"ETag": part.etag, **digests.headers})


def copy_part(visit: Visit, source: Object) -> Answer:
    """UploadPartCopy within a bucket: a part of what is there already, or all of it."""
    number = _number(visit)
    said = visit.asked.headers.get("x-amz-copy-source-range", f"bytes=0-{source.size - 1}")
    found = RANGE.fullmatch(said)
    if found is None or not all(found.groups()) or int(found[2]) >= source.size:
        raise Refused("InvalidArgument", "The x-amz-copy-source-range value must be bytes=a-b.")
    length = int(found[2]) - int(found[1]) + 1
    if length > visit.rules.most_part:
        raise Refused("EntityTooLarge")
    pieces = tuple(window(source.pieces, int(found[1]), length))
    part = Part(pieces, md5_of(pieces), visit.now, {})
    with visit.lock:
        find(visit).parts[number] = part
    result = element_of({"LastModified": iso(visit.now), "ETag": part.etag})
    return Answer(200, XML, document("CopyPartResult", result))


def complete(visit: Visit) -> Answer:
    """CompleteMultipartUpload: the ETag is the MD5 of the parts' MD5s, and how many they are."""
    check_body(visit.asked)
    upload = find(visit)
    parts = _listed(visit, upload)
    _check_sizes(visit, parts)
    md5s = b"".join(part.md5 for part in parts)
    etag = f'"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(parts)}"'
    checksums = _composite(upload, parts)
    pieces = tuple(piece for part in parts for piece in part.pieces)
    visit.put(Object(pieces, etag, visit.now, upload.headers, checksums), drop=upload.id)
    location = f"/{visit.name}/{visit.key}"
    fields = {"Location": location, "Bucket": visit.name, "Key": visit.key, "ETag": etag}
    result = document("CompleteMultipartUploadResult", element_of(fields))
    return Answer(200, {**XML, "ETag": etag, **checksums}, result)


def abort(visit: Visit) -> Answer:
    """AbortMultipartUpload: its parts are gone."""
    with visit.lock:
        del visit.bucket.uploads[find(visit).id]
    return Answer(204)


def find(visit: Visit) -> Upload:
    """Find the upload that is asked for, if it is not too old."""
    found = visit.bucket.uploads.get(visit.asked.param("uploadId") or "")
    if found is None or found.key != visit.key:
        raise Refused("NoSuchUpload")
    if visit.now - found.started > visit.rules.upload_age:
        visit.bucket.uploads.pop(found.id, None)
        raise Refused("NoSuchUpload")
    return found


def _number(visit: Visit) -> int:
    number, limit = visit.asked.param("partNumber") or "", visit.rules.most_parts
    if not number.isdecimal() or not 1 <= int(number) <= limit:
        raise Refused("InvalidArgument", f"Part number must be between 1 and {limit}, inclusive")
    return int(number)


def _listed(visit: Visit, upload: Upload) -> list[Part]:
    """Give the parts that the client lists, each by its number, ETag and checksum."""
    entries = list(read(visit.asked, "CompleteMultipartUpload").entries("Part"))
    if not entries or not all(entry.get("PartNumber", "").isdecimal() for entry in entries):
        raise Refused("MalformedXML")
    numbers = [int(entry["PartNumber"]) for entry in entries]
    if numbers != sorted(set(numbers)):
        raise Refused("InvalidPartOrder")
    parts = []
    for number, entry in zip(numbers, entries, strict=True):
        part = upload.parts.get(number)
        if part is None or entry.get("ETag", "").strip('"') != part.md5.hex():
            raise Refused("InvalidPart")
        if upload.algorithm is not None:
            said = entry.get(f"Checksum{upload.algorithm.upper()}")
            if said is None:
                raise Refused("InvalidRequest", f"The checksum was missing for part {number}.")
            if said != encoded(part.checksums[upload.algorithm]):
                raise Refused("InvalidPart")
        parts.append(part)
    return parts


def _check_sizes(visit: Visit, parts: list[Part]) -> None:
    """Refuse parts that are too small, and for R2 unequal ones, as those who met it report it."""
    *others, last = [part.size for part in parts]
    if any(size < visit.rules.least_part for size in others):
        raise Refused("EntityTooSmall")
    if visit.rules.equal_parts and others and (len(set(others)) > 1 or last > others[0]):
        raise Refused("InvalidPart", "All non-trailing parts must have the same length.")
    if sum(others) + last > visit.rules.most_object:
        raise Refused("EntityTooLarge")


def _composite(upload: Upload, parts: list[Part]) -> dict[str, str]:
    """Give the checksum of the parts' checksums (AWS, "Checking object integrity")."""
    if upload.algorithm is None:
        return {}
    digest = new_digest(upload.algorithm)
    for part in parts:
        digest.update(part.checksums[upload.algorithm])
    return {PREFIX + upload.algorithm: f"{encoded(digest.digest())}-{len(parts)}"}
