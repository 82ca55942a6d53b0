"""How a dataset comes in: a URL, a list of URLs, an aria2 input file, or a folder.

The front door.  Disks are read here and in ``folder``; the rest is pure.  Nothing is fetched: a
draft says what the source names, and what of it cannot be mirrored.
"""

import os
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
from fleet.importers.url_list import MAX_BYTES, Line, is_url, parse

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


def read_source(source: str, *, import_root: Path | None) -> Draft:
    """Read what ``source`` names: a URL, or the path of a list or of a folder.

    Args:
        source: an http or https URL, which is one artifact, or a local path.
        import_root: the folder that a local path must lie in, symbolic links resolved.  None
            is no limit, for an admin at her own machine; a server that has no such folder must
            let nothing but a URL (``is_url``) come here.

    Raises:
        ImportRefused: nothing can be read there; the message is the reason, in one line.
    """
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
        return draft_of_list(data, path.name)
    except ImportRefused as refusal:
        raise ImportRefused(f"{show(source)}: {refusal}") from None


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
