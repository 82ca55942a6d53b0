"""A folder as a source: every regular file below it becomes one artifact.

Rules this module keeps:

- Nothing outside the folder is read: a link that leaves it is refused, and no link to a folder
  is followed.
- Names that begin with a dot are left out, with a note; special and unreadable files are refused
  one by one.
- A source names the file as it is on disk; the path may differ from it (NFC, collisions).
- Contents are not read here: digests come from the ingest.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fleet.importers.draft import (
    MAX_ITEMS,
    Draft,
    DraftArtifact,
    ImportRefused,
    ItemRefused,
    show,
    suggested_name,
)
from fleet.importers.media import media_type
from fleet.importers.paths import Claim, checked_path, settle

CENTRE = "centre:"
"""What the source of a file at the centre begins with; its path below the root follows."""

BUNDLE = f"{CENTRE}//"
"""What that of a bundle at the centre begins with; its sha256 follows.  No path begins so."""

_NOTED = 5


@dataclass(frozen=True, slots=True)
class _Found:
    """A name below the folder: a file of ``size`` bytes, something hidden, or a fault."""

    name: str
    size: int = 0
    hidden: bool = False
    fault: str = ""


def read_folder(root: Path) -> Draft:
    """Read the folder ``root``, whose own symbolic links are resolved already.

    Raises:
        ImportRefused: it cannot be read, holds no file, or holds too many.
    """
    files: list[_Found] = []
    faulty: list[_Found] = []
    hidden: list[_Found] = []
    for found in _walk(root):
        (hidden if found.hidden else faulty if found.fault else files).append(found)
    if not files and not faulty:
        raise ImportRefused(f"{show(str(root))} holds no file to import")
    artifacts, notes = _artifacts(files)
    refused = (DraftArtifact("", refused=f"{show(found.name)} {found.fault}") for found in faulty)
    if hidden:
        shown = ", ".join(show(found.name) for found in hidden[:_NOTED])
        notes.append(
            f"left out {len(hidden):,} hidden names: {shown}{', …' * (len(hidden) > _NOTED)}"
        )
    return Draft(
        name=suggested_name(root.name, is_file=False),
        kind="folder",
        artifacts=(*artifacts, *refused),
        notes=tuple(notes),
        root=root,
    )


def _artifacts(files: list[_Found]) -> tuple[list[DraftArtifact], list[str]]:
    artifacts: list[DraftArtifact] = []
    notes: list[str] = []
    wanted = [checked_path(found.name) for found in files]
    claims = [Claim(path, identity=found.name) for path, found in zip(wanted, files, strict=True)]
    for found, old, path in zip(files, wanted, settle(claims), strict=True):
        if path is None:
            reason = f"{show(found.name)} collides with another file; rename it"
            artifacts.append(DraftArtifact("", refused=reason))
            continue
        artifacts.append(
            DraftArtifact(
                path, (CENTRE + found.name,), size=found.size, media_type=media_type(path)
            )
        )
        if path != old:
            text = "because another name differs from it only in case or in Unicode form"
            notes.append(f"{show(found.name)} → {show(path)}, {text}")
    return sorted(artifacts, key=lambda artifact: artifact.path), notes


def _walk(root: Path) -> Iterator[_Found]:
    pending = [""]
    seen = 0
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                inside = sorted(islice(entries, MAX_ITEMS + 1), key=lambda entry: entry.name)
        except OSError as error:
            if not folder:
                raise ImportRefused(f"{show(str(root))}: {error.strerror}") from None
            yield _Found(folder, fault=f"is a folder that cannot be read ({error.strerror})")
            continue
        seen += len(inside)
        if seen > MAX_ITEMS:
            raise ImportRefused(f"{show(str(root))} holds more than {MAX_ITEMS:,} names; split it")
        for entry in inside:
            found = _look(root, f"{folder}/{entry.name}" if folder else entry.name)
            if found is None:
                pending.append(f"{folder}/{entry.name}" if folder else entry.name)
            else:
                yield found


def _look(root: Path, name: str) -> _Found | None:
    """Say what ``name`` is; None for a folder to go into."""
    path = root / name
    if path.name.startswith("."):
        return _Found(name, hidden=True)
    try:
        is_link = path.is_symlink()
        real = Path(os.path.realpath(path, strict=True)) if is_link else path
        if not real.is_relative_to(root):
            return _Found(name, fault="is a link that leaves the folder")
        status = real.stat()
        is_folder = stat.S_ISDIR(status.st_mode)
        if is_folder and is_link:
            return _Found(name, fault="is a link to a folder, and those are not followed")
        if not is_folder and not stat.S_ISREG(status.st_mode):
            return _Found(name, fault="is no regular file")
        checked_path(name)
        if is_folder:
            return None
        os.close(os.open(real, os.O_RDONLY | os.O_CLOEXEC))
    except ItemRefused as refusal:
        below = ", so nothing below it is imported" if is_folder else ""
        return _Found(name, fault=f"{refusal}{below}; rename it")
    except OSError as error:
        return _Found(name, fault=f"cannot be read ({error.strerror})")
    return _Found(name, size=status.st_size)
