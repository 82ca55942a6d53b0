"""A prefix of an S3 bucket, as its listing tells (ListObjectsV2).  Pure.

Rules this module keeps:

- A prefix is a folder, or one whole key: ``data`` takes ``data/x`` and ``data``, not ``data-old``.
- An ETag is taken as an md5 only where it has the form of one, the object could be put in one part
  and is not said to be composite, and nothing in the whole listing contradicts it: an empty object
  with another ETag than the md5 of nothing, or one ETag for two sizes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from fleet.importers.batch import artifacts_offered
from fleet.importers.documents import read_xml
from fleet.importers.draft import Draft, ImportRefused, counted, show_url, suggested_name
from fleet.importers.offer import Offer
from fleet.importers.place import Prefix

_MD5 = re.compile(r'"?([0-9a-fA-F]{32})"?')
_OF_NOTHING = "d41d8cd98f00b204e9800998ecf8427e"
_ONE_PART = 5 * 1024**3  # bytes; a larger object was put in several parts
_UNTRUE = {"EXPRESS_ONEZONE"}  # storage classes whose ETags are no md5


@dataclass(frozen=True, slots=True)
class Object:
    """One object as it is listed; ``md5`` is what its ETag may be."""

    key: str
    size: str
    md5: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; ``token`` asks for the next, and is empty on the last."""

    objects: tuple[Object, ...]
    token: str


def read_page(data: bytes) -> Page:
    """Read one page of a listing.

    Raises:
        ImportRefused: it is none, or breaks off.
    """
    root = read_xml(data)
    if _plain(root.tag) != "ListBucketResult":
        raise ImportRefused("the answer is no listing of a bucket")
    encoded = _text(root, "EncodingType") == "url"
    objects = tuple(_object(one, encoded=encoded) for one in root if _plain(one.tag) == "Contents")
    cut = _text(root, "IsTruncated") == "true"
    token = _text(root, "NextContinuationToken") if cut else ""
    if cut and not token:
        raise ImportRefused("the listing breaks off without saying how it goes on")
    return Page(objects, token)


def draft_of_objects(objects: Sequence[Object], place: Prefix) -> Draft:
    """Return the draft of what a whole listing names.

    Raises:
        ImportRefused: nothing lies there.
    """
    folder = place.prefix.rstrip("/")
    inside = [
        one
        for one in objects
        if not folder or one.key == place.prefix or one.key.startswith(f"{folder}/")
    ]
    files = [one for one in inside if not one.key.endswith("/")]
    if not files:
        raise ImportRefused(
            f"{show_url(place.object(place.prefix))} holds no object: a prefix is a folder or a "
            "whole key"
        )
    md5s = _md5s(files)
    strip = len(folder) + 1 if folder else 0
    artifacts, notes = artifacts_offered(
        [
            Offer(
                urls=(place.object(one.key),),
                path=one.key[strip:] or one.key.rpartition("/")[2],
                size=one.size,
                md5=md5,
            )
            for one, md5 in zip(files, md5s, strict=True)
        ]
    )
    if len(inside) > len(files):
        notes = (
            f"left out {counted(len(inside) - len(files), 'key')} that only stand for folders",
            *notes,
        )
    bare = sum(md5 is None for md5 in md5s)
    if bare:
        notes = (
            *notes,
            f"{counted(bare, 'object')} without a published checksum: the size alone is known",
        )
    name = suggested_name(folder.rpartition("/")[2] or place.bucket, is_file=False)
    return Draft(name, "s3", artifacts, notes)


def _md5s(objects: Sequence[Object]) -> Sequence[str | None]:
    """Return each object's md5, or None for all where the listing shows that ETags are none."""
    sizes: dict[str, str] = {}
    for one in objects:
        wrong_size = one.md5 and sizes.setdefault(one.md5, one.size) != one.size
        wrong_empty = one.md5 and (one.size == "0") != (one.md5 == _OF_NOTHING)
        if wrong_size or wrong_empty:
            return [None] * len(objects)
    return [one.md5 or None for one in objects]


def _object(element: ET.Element, *, encoded: bool) -> Object:
    key, size = _text(element, "Key"), _text(element, "Size")
    etag = _MD5.fullmatch(_text(element, "ETag").strip())
    whole = size.isascii() and size.isdigit() and len(size) < 20 and int(size) <= _ONE_PART
    said = _text(element, "ChecksumType") == "COMPOSITE"
    said = said or _text(element, "StorageClass") in _UNTRUE
    return Object(
        key=unquote_plus(key) if encoded else key,
        size=size,
        md5=etag[1].lower() if etag and whole and not said else "",
    )


def _text(element: ET.Element, name: str) -> str:
    return next((one.text or "" for one in element if _plain(one.tag) == name), "")


def _plain(tag: str) -> str:
    """Return a tag without its namespace, which differs between servers."""
    return tag.rpartition("}")[2]
