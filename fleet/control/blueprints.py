"""What made a version: the bundle that comes with a source, at the centre until sites have it.

It is an artifact like the others, with the role ``source``: its file waits in a folder of the
centre, under its digest, for the site that ingests it.
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

from fleet.blueprint import bundle, sources
from fleet.blueprint.bundle import Bundled
from fleet.blueprint.folder import read_folder
from fleet.blueprint.git import read_commit
from fleet.blueprint.refused import BlueprintRefused, show
from fleet.control import kept
from fleet.control.errors import RefusedError, unreadable
from fleet.importers import BUNDLE, DraftArtifact
from fleet.importers.media import media_type
from fleet.settings import CentreSettings

PATH = "blueprint.tar"
"""Where a version has its bundle."""


@dataclass(frozen=True)
class Blueprint:
    """What a bundle is to be made of.

    Attributes:
        code: a folder, or a git repository where a commit is named.
        commit: its full id; empty: the folder as it is.
        environment: files that define the environment.
        sources: a list of what the version was made from; None: it is not known.
    """

    code: Path
    commit: str = ""
    environment: tuple[Path, ...] = ()
    sources: Path | None = None


class BundleSpec(BaseModel):
    """What made a version, as a program names it: by paths in the folder that imports come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    commit: str = ""
    environment: tuple[str, ...] = ()
    sources: str = ""


def parse(data: dict[str, object]) -> BundleSpec:
    """Read what came from outside.

    Raises:
        RefusedError: it cannot be read; the message says which part.
    """
    try:
        return BundleSpec.model_validate(data)
    except ValidationError as error:
        raise unreadable("bundle", error) from error


def within(root: Path, spec: BundleSpec) -> Blueprint:
    """Return what is to be bundled of what lies in the folder that imports come from.

    Raises:
        RefusedError: a part of it lies elsewhere.
    """
    return Blueprint(
        _below(root, spec.code),
        spec.commit,
        tuple(_below(root, name) for name in spec.environment),
        _below(root, spec.sources) if spec.sources else None,
    )


def _below(root: Path, name: str) -> Path:
    path = Path(os.path.realpath(root / name))
    if not path.is_relative_to(os.path.realpath(root)):
        raise RefusedError(
            f"{show(name)} lies outside {root}, the folder that FLEET_IMPORT_ROOT opens to "
            "requests: put it there"
        )
    return path


@dataclass(frozen=True)
class Kept:
    """A bundle that waits at the centre, as an artifact, and what its admin should know of it."""

    artifact: DraftArtifact
    notes: tuple[str, ...]


def keep(settings: CentreSettings, blueprint: Blueprint) -> Kept:
    """Make a bundle and keep it; of the same things, it is the same one.

    Raises:
        RefusedError: something cannot be bundled, or the bundle not be written; nothing is kept.
    """
    told: list[Bundled] = []

    def write(file: BinaryIO) -> str:
        told.append(_write(file, blueprint))
        return told[0].sha256

    try:
        kept.keep(settings, write)
    except BlueprintRefused as error:
        raise RefusedError(f"no bundle can be made: {error}") from error
    except OSError as error:
        folder = kept.place(settings, "")
        raise RefusedError(f"no bundle can be kept in {folder}: {error.strerror}") from error
    [bundled] = told
    artifact = DraftArtifact(
        path=PATH,
        sources=(BUNDLE + bundled.sha256,),
        size=bundled.size,
        sha256=bundled.sha256,
        media_type=media_type(PATH),
        role="source",
    )
    return Kept(artifact, bundled.notes)


def _write(file: BinaryIO, blueprint: Blueprint) -> Bundled:
    listed = blueprint.sources
    known = sources.parse(sources.read(listed)) if listed is not None else ()
    with ExitStack() as stack:
        code = (
            stack.enter_context(read_commit(blueprint.code, blueprint.commit))
            if blueprint.commit
            else read_folder(blueprint.code)
        )
        return bundle.write(file, code, blueprint.environment, known)
