"""What the Archive tells of an item: its record, and the files that it keeps of it itself.

From "Item Metadata API: Read" and "… Record details" (archive.org/developers/md-read.html and
md-record.html): names, sizes and times are text, ``_files.xml`` has no size and no SHA-1 but
``summation: md5``, and one value of a field stands alone while several are a list.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from fleet.rehearsal.archive.items import File, Item

NODE = "ia800308.us.archive.org"
DIRECTORY = "/21/items"


def all_files(item: Item, make: Callable[[str, bytes], File]) -> dict[str, File]:
    """Give all files of an item, its own ones included; that they have these sources is assumed.

    Older items say ``original`` of their metadata files, as the documentation's example does of
    ``_files.xml``: whoever wants the originals cannot go by the source alone.
    """
    files = dict(item.files)
    name = item.identifier
    meta = make(f"{name}_meta.xml", meta_xml(item))
    files[meta.name] = meta
    if item.torrent is not None:
        torrent = make(f"{name}_archive.torrent", item.torrent)
        files[torrent.name] = replace(torrent, source="metadata")
    listing = make(f"{name}_files.xml", files_xml(files))
    files[listing.name] = listing
    return files


def record(item: Item, files: dict[str, File], now: float) -> dict[str, Any]:
    """Give the answer of ``/metadata/{identifier}``.

    ``tasks`` and ``pending_tasks`` as an item that is being worked on shows them; their form is
    assumed.
    """
    pending = {"tasks": [{"status": "queued"} for _ in item.queue], "pending_tasks": True}
    return {
        "created": int(now),
        "d1": NODE,
        "d2": NODE.replace("ia8", "ia6"),
        "dir": f"{DIRECTORY}/{item.identifier}",
        "files": [_entry(item, file) for file in files.values()],
        "files_count": len(files),
        "item_last_updated": int(item.updated),
        "item_size": sum(file.size for file in files.values()),
        "metadata": {
            name: values[0] if len(values) == 1 else list(values)
            for name, values in item.metadata.items()
        },
        "server": NODE,
        "uniq": int(item.created),
        "workable_servers": [NODE],
        **(pending if item.queue else {}),
    }


def _entry(item: Item, file: File) -> dict[str, str]:
    name = item.identifier
    if file.name == f"{name}_files.xml":
        plain = {"source": file.source, "format": "Metadata", "md5": file.md5}
        return {"name": file.name, **plain, "summation": "md5"}
    own = {f"{name}_meta.xml": "Metadata", f"{name}_archive.torrent": "Archive BitTorrent"}
    entry = {
        "name": file.name,
        "source": file.source,
        "format": own.get(file.name, file.format),
        "mtime": str(int(file.mtime)),
        "size": str(file.size),
        "md5": file.md5,
        "crc32": file.crc32,
        "sha1": file.sha1,
    }
    return entry | ({"original": file.original} if file.original else {})


def meta_xml(item: Item) -> bytes:
    """Give ``_meta.xml``."""
    fields = "".join(
        f"  <{name}>{escape(value)}</{name}>\n"
        for name, values in item.metadata.items()
        for value in values
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<metadata>\n{fields}</metadata>\n'.encode()


def files_xml(files: dict[str, File]) -> bytes:
    """Give ``_files.xml``."""
    entries = "".join(
        f'  <file name={quoteattr(file.name)} source="{file.source}">'
        f"<size>{file.size}</size><md5>{file.md5}</md5><sha1>{file.sha1}</sha1></file>\n"
        for file in files.values()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<files>\n{entries}</files>\n'.encode()
