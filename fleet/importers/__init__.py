"""How a dataset comes in: a file, a list, a folder, or what a repository says that it holds.

The front door.  Disks are read here and in ``folder``, and repositories are asked in ``remote``;
the rest is pure.  No file itself is fetched: a draft says what the source names, and what of it
cannot be mirrored.
"""

import os
import re
from pathlib import Path

from fleet.importers.batch import artifacts_of
from fleet.importers.draft import (
    Draft,
    DraftArtifact,
    ImportRefused,
    as_json,
    show,
    suggested_name,
)
from fleet.importers.folder import BUNDLE, CENTRE, read_folder
from fleet.importers.place import place_of
from fleet.importers.remote import read_place
from fleet.importers.stac_table import MAGIC, MAX_BYTES, draft_of_stac
from fleet.importers.torrent import read_torrent
from fleet.importers.url_list import Line, is_url, parse
from fleet.settings import CentreSettings

__all__ = [
    "BUNDLE",
    "CENTRE",
    "Draft",
    "DraftArtifact",
    "ImportRefused",
    "as_json",
    "draft_of_list",
    "is_url",
    "read_source",
]

_TORRENT = re.compile(rb"d[0-9]+:")


def read_source(
    source: str, *, import_root: Path | None, settings: CentreSettings | None = None
) -> Draft:
    """Read what ``source`` names: a URL, a DOI, or a path.

    Args:
        source: what ``place_of`` knows, another http or https URL, which is one artifact, or the
            path of a list, a torrent, a STAC document or a folder.
        import_root: the folder that a local path must lie in, symbolic links resolved.  None
            is no limit, for an admin at her own machine; a server that has no such folder must
            let nothing but a URL (``is_url``) come here.
        settings: what may be asked on the network, and as whom; None: nothing.

    Raises:
        ImportRefused: nothing can be read there; the message is the reason, in one line.
    """
    if settings and (place := place_of(source, settings)):
        return read_place(place, settings)
    if is_url(source):
        return _draft_of_url(source)
    try:
        path = _resolved(source, import_root)
        if path.is_dir():
            return read_folder(path)
        if not path.is_file():
            raise ImportRefused(f"{show(source)} is neither a list nor a folder")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ImportRefused(f"{show(source)}: {error.strerror}") from None
    try:
        return _draft_of_file(data, path.name, settings.s3_endpoint if settings else "")
    except ImportRefused as refusal:
        raise ImportRefused(f"{show(source)}: {refusal}") from None


def _draft_of_file(data: bytes, name: str, s3_endpoint: str) -> Draft:
    """Read a file by what it begins with: no list begins like a torrent, JSON or Parquet."""
    if _TORRENT.match(data):
        return read_torrent(data)
    if data.startswith(MAGIC) or data.lstrip()[:1] in {b"{", b"["}:
        return draft_of_stac(data, s3_endpoint)
    return draft_of_list(data, name)


def draft_of_list(data: bytes, name: str) -> Draft:
    """Return the draft of a list that is read already, from a file or from a request.

    Args:
        data: the list.
        name: its file name.

    Raises:
        ImportRefused: it is too large, or no list of URLs in UTF-8.
    """
    lines, ignored = parse(data)
    artifacts, notes = artifacts_of(lines)
    return Draft(suggested_name(name, is_file=True), "list", artifacts, (*ignored, *notes))


def _draft_of_url(url: str) -> Draft:
    artifacts, notes = artifacts_of([Line(number=0, urls=(url,))])
    (artifact,) = artifacts
    if artifact.refused:
        raise ImportRefused(artifact.refused)
    name = artifact.path.rpartition("/")[2]
    return Draft(suggested_name(name, is_file=True), "url", artifacts, notes)


def _resolved(source: str, import_root: Path | None) -> Path:
    if "\0" in source or not source:
        raise ImportRefused("the source is empty or holds a NUL byte; give a URL or a path")
    path = Path(os.path.realpath(source))
    if import_root is not None and not path.is_relative_to(os.path.realpath(import_root)):
        raise ImportRefused(
            f"{show(source)} lies outside {import_root}, the folder that FLEET_IMPORT_ROOT opens "
            "to imports; move it there or give a URL"
        )
    path.stat()
    return path
