"""What a repository answers, read with distrust: types are checked, and no link is followed.

Three shapes are read: InvenioRDM's own; Zenodo's, which has its files in a list and, before October
2023, in a bucket; and that of Zenodo's deposit API, with ``filename``, ``filesize`` and sums
without ``md5:``.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from fleet.invenio.faults import Unsure

Json = dict[str, Any]
RDM: Final = "application/vnd.inveniordm.v1+json"
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_DOI = re.compile(r"10\.\d{4,9}/[^\s\x00-\x1f\x7f]{1,200}")
_MD5 = re.compile(r"(?:md5:)?([0-9a-f]{32})")
_MOST_KEY = 1024


class Nonsense(Unsure):
    """An answer that the protocol does not have; nothing is known by it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A file of a record or draft; one without a size was only begun.

    One without md5 may have a sum of another kind, as what came in parts has.
    """

    key: str
    size: int | None = None
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A record or draft; ``index`` is its number among the versions of its concept."""

    id: str
    concept: str
    doi: str
    concept_doi: str
    published: bool
    index: int
    identifiers: frozenset[str]
    files: tuple[Held, ...]
    metadata: Json
    pids: Json


def record(body: Json) -> Record:
    """Read a record or draft of any shape.

    Raises:
        Nonsense: it is none.
    """
    if "parent" not in body:
        return _older(body)
    described = _table(body, "metadata")
    return Record(
        id=identifier(body.get("id")),
        concept=identifier(_at(body, "parent", "id")),
        doi=_doi(_at(body, "pids", "doi", "identifier")),
        concept_doi=_doi(_at(body, "parent", "pids", "doi", "identifier")),
        published=_typed(body.get("is_published"), bool, "is_published"),
        index=_count(_at(body, "versions", "index"), "versions.index"),
        identifiers=_identifiers(described),
        files=files(_table(body, "files")),
        metadata=described,
        pids=_table(body, "pids"),
    )


def files(body: Json) -> tuple[Held, ...]:
    """Read a list of files, or what a record says of its own."""
    entries = body.get("entries") or []
    if isinstance(entries, dict):
        entries = list(entries.values())
    return tuple(file(entry) for entry in _typed(entries, list, "files.entries"))


def file(body: Any) -> Held:
    """Read what is told of one file.

    Raises:
        Nonsense: that makes no sense.
    """
    body = _typed(body, dict, "a file")
    key = _typed(body.get("key", body.get("filename")), str, "a file's key")
    if key in {"", ".", ".."} or len(key) > _MOST_KEY:  # it is put into paths
        raise Nonsense(f"{_shown(key)} stands where a file's key should")
    checksum = body.get("checksum")
    if checksum is None or body.get("status", "completed") != "completed":
        return Held(key)
    size = _count(body.get("size", body.get("filesize")), f"the size of {key[:80]!r}")
    checksum = _typed(checksum, str, f"the checksum of {key[:80]!r}")
    if ":" in checksum and not checksum.startswith("md5:"):
        return Held(key, size)
    found = _MD5.fullmatch(checksum)
    if found is None:
        raise Nonsense(f"the checksum of {key[:80]!r} is no md5: {checksum[:80]!r}")
    return Held(key, size, found[1])


def hits(body: Json) -> list[Record]:
    """Read the records and drafts that a search found."""
    return [record(_typed(hit, dict, "a hit")) for hit in _typed(_at(body, "hits", "hits"), list)]


def complaints(body: Json) -> list[str]:
    """Tell what is wrong with which field, as an answer's ``errors`` have it."""
    errors = body.get("errors")
    return [
        f"{one.get('field')}: {' '.join(map(str, one['messages'][:5]))}"
        for one in (errors[:20] if isinstance(errors, list) else ())
        if isinstance(one, dict) and isinstance(one.get("messages"), list)
    ]


def text(body: Json, *path: str) -> str:
    """Read a text that may be missing: it is empty then."""
    found = _at(body, *path)
    told: str = "" if found is None else _typed(found, str, ".".join(path))
    return told


def identifier(found: Any) -> str:
    """Read the id of a record, which is put into paths."""
    found = str(found) if isinstance(found, int) and not isinstance(found, bool) else found
    if not isinstance(found, str) or not _ID.fullmatch(found):
        raise Nonsense(f"{_shown(found)} stands where a record's id should")
    return found


def _older(body: Json) -> Record:
    described = _table(body, "metadata")
    entries = _typed(body.get("files") or [], list, "files")
    return Record(
        id=identifier(body.get("id")),
        concept=identifier(body.get("conceptrecid")),
        doi=_doi(body.get("doi")),
        concept_doi=_doi(body.get("conceptdoi")),
        published=_typed(body.get("submitted", True), bool, "submitted"),
        index=1,
        identifiers=_identifiers(described),
        files=tuple(file(entry) for entry in entries),
        metadata=described,
        pids={},
    )


def _identifiers(described: Json) -> frozenset[str]:
    found = _typed(described.get("identifiers") or [], list, "metadata.identifiers")
    return frozenset(
        _typed(one.get("identifier"), str, "an identifier")
        for one in found
        if isinstance(one, dict)
    )


def _doi(found: Any) -> str:
    if found is None or found == "":
        return ""
    if not isinstance(found, str) or not _DOI.fullmatch(found):
        raise Nonsense(f"{_shown(found)} stands where a DOI should")
    return found


def _table(body: Json, name: str) -> Json:
    found: Json = _typed(body.get(name) or {}, dict, name)
    return found


def _at(body: Any, *path: str) -> Any:
    for number, name in enumerate(path):
        if body is None:
            return None
        body = _typed(body, dict, ".".join(path[:number]) or "the answer").get(name)
    return body


def _count(found: Any, name: str) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise Nonsense(f"{_shown(found)} stands where {name} should")
    return found


def _typed(found: Any, kind: type, name: str = "hits") -> Any:
    if not isinstance(found, kind):
        raise Nonsense(f"{_shown(found)} stands where {name} should")
    return found


def _shown(found: Any) -> str:
    return ascii(found)[:80]
