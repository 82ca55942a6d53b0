"""The manifest of a version: every file, its digests and origins, what all was made from, licence.

Rules this module keeps:

- The same version gives the same bytes: canonical JSON, files sorted by path, sources by URL, and
  nothing about the run that wrote it, no moment above all.
- It lists all files of the version but itself.
- What is read is hostile: bounded, checked field by field, and refused unless it is what would be
  written of the same version, so that no two manifests say the same.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from fleet.blueprint import canonical
from fleet.blueprint.refused import BlueprintRefused, show
from fleet.blueprint.sources import Source, as_json, check_url
from fleet.torrent.paths import clash, path_fault

FORMAT = "fleet-manifest/1"
MAX_BYTES = 256 * 1024**2
"""Most bytes of a manifest: some 600,000 files."""
ROLES = frozenset({"data", "metadata", "source", "environment"})

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,132}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,126}/[a-z0-9][a-z0-9.+-]{0,126}")
_SIZE = 2**53 - 1
_LICENCE = 1000


@dataclass(frozen=True, slots=True)
class File:
    """One artifact of the version; ``origins`` are where its list said that it can be had."""

    path: str
    size: int
    sha256: str
    role: str = "data"
    md5: str | None = None
    media_type: str | None = None
    bep52_root: str | None = None
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no artifact can be."""
        where = show(self.path)
        if fault := path_fault(self.path):
            raise BlueprintRefused(f"{where} is no path of an artifact: {fault}")
        if not 0 <= self.size <= _SIZE:
            raise BlueprintRefused(f"{where}: {self.size} is no size")
        if self.role not in ROLES:
            roles = ", ".join(sorted(ROLES))
            raise BlueprintRefused(f"{where}: the role is none of {roles}: {show(self.role)}")
        for name, value, form in (
            ("sha256", self.sha256, _SHA256),
            ("md5", self.md5, _MD5),
            ("media_type", self.media_type, _MEDIA_TYPE),
            ("bep52_root", self.bep52_root, _SHA256),
        ):
            if value is not None and not form.fullmatch(value):
                raise BlueprintRefused(f"{where}: {name} is none: {show(value)}")
        for url in self.origins:
            check_url(url)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a version is: ``licence`` as of the date on which it was ``retrieved``, if known."""

    dataset: str
    version: str
    files: tuple[File, ...]
    sources: tuple[Source, ...] = ()
    licence: str = ""
    retrieved: date | None = None

    def __post_init__(self) -> None:
        """Refuse what no version can be; files and sources get their order."""
        for what, name in (("dataset", self.dataset), ("version", self.version)):
            if not _NAME.fullmatch(name):
                raise BlueprintRefused(f"{show(name)} is no name of a {what}")
        if len(self.licence) > _LICENCE or not self.licence.isprintable():
            raise BlueprintRefused(f"the licence is no line of text: {show(self.licence)}")
        files = sorted(self.files, key=lambda file: file.path)
        if fault := clash(file.path for file in files):
            raise BlueprintRefused(fault)
        object.__setattr__(self, "files", tuple(files))
        object.__setattr__(self, "sources", tuple(sorted(set(self.sources))))


def write(manifest: Manifest) -> bytes:
    """Write a manifest.

    Raises:
        BlueprintRefused: it has more files than one may list.
    """
    data = canonical.dumps(
        {
            "format": FORMAT,
            "dataset": manifest.dataset,
            "version": manifest.version,
            "licence": manifest.licence,
            "licence_retrieved": manifest.retrieved and manifest.retrieved.isoformat(),
            "files": [_file(file) for file in manifest.files],
            "sources": as_json(manifest.sources),
        }
    )
    if len(data) > MAX_BYTES:
        raise BlueprintRefused(
            f"the manifest of {len(manifest.files):,} files would have {len(data):,} bytes, more "
            f"than {MAX_BYTES:,}: make several datasets of it"
        )
    return data


def parse(data: bytes) -> Manifest:
    """Read a manifest that may come from anybody.

    Raises:
        BlueprintRefused: it is none; the message says what is wrong with it.
    """
    if len(data) > MAX_BYTES:
        raise BlueprintRefused(f"the manifest has more than {MAX_BYTES:,} bytes")
    fields = canonical.loads(data)
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise BlueprintRefused(f"it is no manifest of the format {FORMAT}")
    retrieved = _get(fields, "licence_retrieved", str, optional=True)
    manifest = Manifest(
        dataset=_get(fields, "dataset", str),
        version=_get(fields, "version", str),
        files=tuple(map(_file_of, _objects(fields, "files"))),
        sources=tuple(map(_source_of, _objects(fields, "sources"))),
        licence=_get(fields, "licence", str),
        retrieved=None if retrieved is None else _day(retrieved),
    )
    if write(manifest) != data:
        raise BlueprintRefused(
            "it says the same in another form than the canonical one: another order, space, a "
            "field that is unknown or there twice"
        )
    return manifest


def _file(file: File) -> dict[str, Any]:
    return {
        "path": file.path,
        "size": file.size,
        "sha256": file.sha256,
        "role": file.role,
        "md5": file.md5,
        "media_type": file.media_type,
        "bep52_root": file.bep52_root,
        "origins": list(file.origins),
    }


def _file_of(fields: Mapping[str, Any]) -> File:
    return File(
        path=_get(fields, "path", str),
        size=_get(fields, "size", int),
        sha256=_get(fields, "sha256", str),
        role=_get(fields, "role", str),
        md5=_get(fields, "md5", str, optional=True),
        media_type=_get(fields, "media_type", str, optional=True),
        bep52_root=_get(fields, "bep52_root", str, optional=True),
        origins=tuple(_texts(fields, "origins")),
    )


def _source_of(fields: Mapping[str, Any]) -> Source:
    return Source(_get(fields, "url", str), _get(fields, "sha256", str))


def _objects(fields: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    found: list[Any] = _get(fields, name, list)
    if not all(isinstance(one, dict) for one in found):
        raise BlueprintRefused(f"an entry of {name!r} is no object")
    return found


def _texts(fields: Mapping[str, Any], name: str) -> list[str]:
    found: list[Any] = _get(fields, name, list)
    if not all(isinstance(one, str) for one in found):
        raise BlueprintRefused(f"an entry of {name!r} is no text")
    return found


def _get(fields: Mapping[str, Any], name: str, kind: type, *, optional: bool = False) -> Any:
    """Return a field of its very type: a bool is no int."""
    value = fields.get(name)
    if value is None and optional:
        return None
    if type(value) is not kind:
        raise BlueprintRefused(f"the field {name!r} is missing, or of another type")
    return value


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BlueprintRefused(f"{show(text)} is no date, such as 2026-03-01") from error
