"""What an import brings back: a draft of a dataset's artifacts, before anything is fetched.

Rules this module keeps:

- A draft is a plain value.  An item that cannot be mirrored stays in it with its reason, and
  with no path, so that nobody can use a hostile one by mistake.
- Text from outside is shown to people on one line, shortened, and without what may be secret.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MAX_ITEMS = 1_000_000
"""Most items in one import."""

_SHOWN = 160
_NAME = 128
_EXTENSION = re.compile(r"\.(?:7z|[A-Za-z][A-Za-z0-9]{0,9})$")


class ImportRefused(ValueError):
    """The whole import cannot be read; the message is its reason, in one line."""


class ItemRefused(ValueError):
    """One item cannot be mirrored; the message is its reason, in one line."""


@dataclass(frozen=True, slots=True)
class DraftArtifact:
    """One file to be mirrored, or (with ``refused``) the reason why it cannot be.

    Attributes:
        path: contained, relative POSIX path in NFC; empty if refused.
        sources: ``http`` and ``https`` URLs in the order given, or ``centre:`` and the path of a
            file below the draft's ``root`` exactly as it is on disk.
        size: bytes, where known.
        sha256: lowercase hex, where the importer was told it.
        md5: lowercase hex, where the importer was told it.
        media_type: guessed from the path.
        role: what it is in its version.
        refused: why this item cannot be mirrored; empty if it can.
    """

    path: str
    sources: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None
    media_type: str | None = None
    role: str = "data"
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """What one import found.

    Attributes:
        name: suggested dataset id, of ``[A-Za-z0-9._-]``.
        kind: what the source was.
        artifacts: every item, the refused ones among them.
        notes: what a person should know: renamed files, merged lines, ignored options.
        root: the folder that ``centre:`` sources are relative to, symbolic links resolved.
        title: what the source calls it, for people.
        licence: the source's own word for it.
        doi: the one that names these very files.
    """

    name: str
    kind: Literal["url", "list", "folder", "zenodo", "archive", "s3", "stac", "torrent"]
    artifacts: tuple[DraftArtifact, ...]
    notes: tuple[str, ...] = ()
    root: Path | None = None
    title: str = ""
    licence: str = ""
    doi: str = ""


def as_json(draft: Draft) -> dict[str, Any]:
    """Return ``draft`` as JSON-ready values: ``artifacts``, ``refused``, ``notes``, its names."""
    return {
        "name": draft.name,
        "kind": draft.kind,
        "title": draft.title,
        "licence": draft.licence,
        "doi": draft.doi,
        "artifacts": [
            {
                "path": artifact.path,
                "sources": list(artifact.sources),
                "size": artifact.size,
                "sha256": artifact.sha256,
                "md5": artifact.md5,
                "media_type": artifact.media_type,
            }
            for artifact in draft.artifacts
            if not artifact.refused
        ],
        "refused": [
            {"reason": artifact.refused} for artifact in draft.artifacts if artifact.refused
        ],
        "notes": list(draft.notes),
    }


def suggested_name(text: str, *, is_file: bool) -> str:
    """Return a dataset id made of ``text``; a file's extension is left out."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    if is_file:
        plain = _EXTENSION.sub("", plain)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", plain)[:_NAME].strip("._-")
    return name or "dataset"


def counted(number: int, noun: str) -> str:
    """Return ``number`` with its noun, as people write it."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def show(text: str) -> str:
    """Return ``text`` fit for a message: one short, printable line."""
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)


def show_url(text: str) -> str:
    """Return a URL fit for a message: all that may hold a secret is left out.

    That is the query, and everything before the last ``@``: a password may itself hold a slash.
    """
    bare = re.sub(r"\?.*", "?…", text, flags=re.DOTALL)
    return show(re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*:/*)?.*@", r"\1…@", bare, flags=re.DOTALL))
