"""A record of Zenodo, or of another InvenioRDM, in each of the shapes that it answers in.  Pure.

``files`` is a list in the answers that keep to the old API (``key`` and ``size``, or ``filename``
and ``filesize`` in a deposit's), and an object with ``entries`` in InvenioRDM's own.  ``checksum``
is an md5, with or without ``md5:`` before it.
"""

import re
from urllib.parse import quote

from fleet.importers.batch import artifacts_offered
from fleet.importers.documents import Object, object_in, objects_in, read_json, text_in
from fleet.importers.draft import Draft, ImportRefused, show, suggested_name
from fleet.importers.offer import Offer
from fleet.importers.place import Record

_ID = re.compile(r"[A-Za-z0-9-]{1,40}")
_CLOSED = {"closed", "restricted", "embargoed"}


def read_record(data: bytes, place: Record) -> Draft:
    """Return the draft of the record that ``data`` describes.

    Raises:
        ImportRefused: it is no record, is not published, or its files are not for everybody.
    """
    record = read_json(data)
    said = record.get("id") if isinstance(record, dict) else None
    number = str(said) if isinstance(said, int | str) else ""
    if not _ID.fullmatch(number):
        raise ImportRefused(f"{place.url} describes no record")
    if record.get("submitted") is False or record.get("is_draft") is True:
        raise ImportRefused(f"record {show(number)} is not published")
    metadata = object_in(record, "metadata")
    access = text_in(metadata, "access_right") or text_in(object_in(record, "access"), "files")
    if access in _CLOSED:
        raise ImportRefused(f"the files of record {show(number)} are {access}")
    found = Record(place.base, number)
    artifacts, notes = artifacts_offered([_offer(one, found) for one in _files(record)])
    if number != place.id:
        notes = (f"{place.id} stands for all versions; taken is {number}, the newest", *notes)
    return Draft(
        name=suggested_name(f"zenodo-{number}", is_file=False),
        kind="zenodo",
        artifacts=artifacts,
        notes=notes,
        title=text_in(metadata, "title") or text_in(record, "title"),
        licence=_licence(metadata),
        doi=text_in(record, "doi") or text_in(object_in(record, "pids", "doi"), "identifier"),
    )


def _files(record: Object) -> list[Object]:
    held = object_in(record, "files")
    entries = objects_in(record, "files") or objects_in(held, "entries")
    if not entries:
        named = object_in(held, "entries")
        entries = [{"key": key, **object_in(named, key)} for key in named]
    count = held.get("count")
    if isinstance(count, int) and count > len(entries):
        raise ImportRefused(f"the record names {len(entries):,} of its {count:,} files only")
    return entries


def _offer(file: Object, record: Record) -> Offer:
    key = file.get("key", file.get("filename"))
    key = key if isinstance(key, str) else ""
    said = file.get("checksum")
    kind, _, digest = said.rpartition(":") if isinstance(said, str) else ("", "", said)
    url = f"{record.base}/records/{record.id}/files/{quote(key)}?download=1"
    return Offer(
        urls=(url,) if key else (),
        path=key,
        size=file.get("size", file.get("filesize")),
        md5=digest if kind in {"", "md5"} else None,
    )


def _licence(metadata: Object) -> str:
    rights = next(iter(objects_in(metadata, "rights")), {})
    return (
        text_in(metadata, "license")
        or text_in(object_in(metadata, "license"), "id")
        or text_in(rights, "id")
        or text_in(object_in(rights, "title"), "en")
    )
