"""An item of the Internet Archive, as its metadata answer lists it.  Pure.

Of an item's files those are taken that were put there (``source: original``).  What the Archive
makes of them can be made again; its own ``_meta.xml`` and the like change with every edit of the
item, so that no checksum of theirs holds for long; and earlier states of files that were replaced
are not the item.
"""

from collections.abc import Sequence
from urllib.parse import quote

from fleet.importers.batch import artifacts_offered
from fleet.importers.documents import Object, object_in, objects_in, read_json, text_in
from fleet.importers.draft import Draft, ImportRefused, counted, suggested_name
from fleet.importers.offer import Offer
from fleet.importers.place import Item

_HISTORY = "history/files/"
_OWN = ("_files.xml", "_meta.xml", "_meta.sqlite", "_reviews.xml")


def read_item(data: bytes, place: Item) -> Draft:
    """Return the draft of the item that ``data`` describes.

    Raises:
        ImportRefused: there is no such item, or it is not for everybody.
    """
    answer = read_json(data)
    files = objects_in(answer, "files")
    if not files:
        raise ImportRefused(f"{place.url} describes no item with files")
    if answer.get("is_dark") or answer.get("nodownload"):
        raise ImportRefused(f"the files of {place.id} are not given to everybody")
    metadata = object_in(answer, "metadata")
    chosen, notes = _chosen(files, place)
    artifacts, more = artifacts_offered([_offer(one, place) for one in chosen])
    return Draft(
        name=suggested_name(place.id, is_file=False),
        kind="archive",
        artifacts=artifacts,
        notes=(*notes, *more),
        title=text_in(metadata, "title"),
        licence=text_in(metadata, "licenseurl", "license", "rights"),
    )


def _chosen(files: Sequence[Object], place: Item) -> tuple[Sequence[Object], list[str]]:
    """Choose what was put there, or everything where nothing was; and what to say of the rest."""
    own = {place.id + ending for ending in _OWN}
    names = [text_in(one, "name") for one in files]
    data = [
        one
        for one, name in zip(files, names, strict=True)
        if name not in own and not name.startswith(_HISTORY)
    ]
    given = [one for one in data if one.get("source") == "original"]
    chosen = [one for one in given or data if str(one.get("private")).lower() != "true"]
    notes = []
    if given and len(data) > len(given):
        derived = counted(len(data) - len(given), "file")
        notes.append(f"left out {derived} that archive.org made of the others")
    if len(files) > len(data):
        kept = counted(len(files) - len(data), "file")
        notes.append(f"left out {kept} of archive.org's own, such as metadata and earlier states")
    if len(given or data) > len(chosen):
        notes.append(f"left out {counted(len(given or data) - len(chosen), 'private file')}")
    return chosen, notes


def _offer(file: Object, place: Item) -> Offer:
    name = file.get("name")
    name = name if isinstance(name, str) else ""
    url = f"{place.base}/download/{place.id}/{quote(name)}"
    return Offer((url,) if name else (), name, size=file.get("size"), md5=file.get("md5"))
