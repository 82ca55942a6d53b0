"""Which shard holds the files of a torrent, by their names and sizes alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, select

from fleet.control.errors import NotFoundError, RefusedError
from fleet.planning.states import VersionState
from fleet.store import contents, versioning
from fleet.store.tables import Artifact, Shard, Version
from fleet.torrent.adoption import Move, OwnFile, move_of

_SIZES_AT_ONCE = 500


@dataclass(frozen=True)
class Fit:
    """A shard that is exactly a torrent's files, and where they lie below a root."""

    shard: Shard
    move: Move


def fitting(session: Session, files: Sequence[OwnFile], within: str) -> list[Fit]:
    """Find the shards that are exactly these files, those of newer versions first.

    Only sealed ones count: others may yet be cut anew.  The same torrent in several versions is
    one, of the newest.

    Args:
        session: the store.
        files: a torrent's own files.
        within: the id of a version or a dataset to look in; empty: everywhere.  A lone file may
            have another name there.

    Raises:
        RefusedError: there are none; it names a file that is not held.
        NotFoundError: ``within`` is neither a version nor a dataset.
    """
    versions = _versions(session, within)
    asked = (
        select(Shard, Version)
        .join(Version, col(Version.id) == col(Shard.version_id))
        .where(
            Shard.size == sum(file.size for file in files),
            Shard.files == len(files),
            col(Shard.infohash).is_not(None),
            Version.state != VersionState.WITHDRAWN,
        )
        .order_by(col(Version.created_at).desc(), col(Version.id).desc(), col(Shard.position))
    )
    if versions is not None:
        asked = asked.where(col(Version.id).in_(versions))
    fits: dict[str, Fit] = {}
    for shard, version in session.exec(asked).all():
        folder = versioning.folder(version)
        held = [(f"{folder}/{path}", size) for path, size in contents.files_of(session, shard.id)]
        move = move_of(files, held)
        if move is None and within and len(held) == 1:
            move = Move(files[0].path, held[0][0])
        if move is not None:
            fits.setdefault(shard.infohash or "", Fit(shard, move))
    if not fits:
        raise RefusedError(_lacking(session, files, versions))
    return list(fits.values())


def _versions(session: Session, within: str) -> list[str] | None:
    """List the versions to look in; None: all."""
    if not within:
        return None
    if session.get(Version, within) is not None:
        return [within]
    dataset = versioning.find_dataset(session, within)
    if dataset is None:
        raise NotFoundError(f"there is no version or dataset {within!r}")
    rows = session.exec(select(Version.id).where(Version.dataset_id == dataset.id)).all()
    return list(rows)


def _lacking(session: Session, files: Sequence[OwnFile], versions: list[str] | None) -> str:
    """Say which file is not held; or, if all are, that they are not just one shard's."""
    held = set(_held(session, files, versions))
    lacking = [file for file in files if (_last(file.path), file.size) not in held]
    if not lacking:
        return (
            f"its {len(files)} files are held, but are not exactly those of one shard, laid out "
            "alike"
        )
    first = lacking[0]
    more = f" (and {len(lacking) - 1} more of its files)" if len(lacking) > 1 else ""
    return (
        f"{first.path!r} of {first.size} bytes is not held{more}: no sealed shard has a file of "
        "that name and size; mirror it first"
    )


def _held(
    session: Session, files: Sequence[OwnFile], versions: list[str] | None
) -> Iterator[tuple[str, int]]:
    """Yield the last names and sizes of what sealed shards have of the sizes of these files."""
    sizes = sorted({file.size for file in files})
    for at in range(0, len(sizes), _SIZES_AT_ONCE):
        asked = (
            select(Artifact.path, Artifact.size)
            .join(Shard, col(Shard.id) == col(Artifact.shard_id))
            .where(
                col(Artifact.size).in_(sizes[at : at + _SIZES_AT_ONCE]),
                col(Shard.infohash).is_not(None),
            )
        )
        if versions is not None:
            asked = asked.where(col(Artifact.version_id).in_(versions))
        for path, size in session.exec(asked).all():
            yield _last(path), size or 0


def _last(path: str) -> str:
    return path.rpartition("/")[2]
