"""What made a version: the bundle that comes with a source, at the centre until sites have it.

It is an artifact like the others, with the role ``source``: its file waits in a folder of the
centre, under its digest, for the site that ingests it.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fleet.blueprint import bundle, sources
from fleet.blueprint.bundle import Bundled
from fleet.blueprint.folder import read_folder
from fleet.blueprint.git import read_commit
from fleet.blueprint.refused import BlueprintRefused
from fleet.control import kept
from fleet.control.errors import RefusedError
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
