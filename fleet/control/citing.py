"""Versions and datasets as works to be cited, read from the store as far as a page has room."""

from sqlmodel import Session

from fleet.catalogue.citations.work import MOST_FILES, Contents, Work, of_dataset, of_version
from fleet.catalogue.entry import Artifact, Entry
from fleet.control import catalogue
from fleet.control.errors import NotFoundError
from fleet.planning.states import VersionState
from fleet.settings import CentreSettings
from fleet.store import cataloguing, versioning
from fleet.store.tables import Version


def work(session: Session, settings: CentreSettings, name: str, label: str = "") -> Work:
    """Give what is to be cited: a version, or a dataset with all that it will have.

    Args:
        session: of the store.
        settings: say where the centre is.
        name: of the dataset.
        label: of the version; empty for the whole dataset, whose files are those of its latest.

    Raises:
        NotFoundError: none of that name was published.
    """
    row = versioning.find_dataset(session, name)
    versions = cataloguing.versions(session, row.id) if row else ()
    latest = [one for one in versions if one.state == VersionState.PUBLISHED] or versions
    chosen = [one for one in versions if one.label == label] if label else latest
    if row is None or not chosen:
        which = f"version {label!r} of {name!r}" if label else f"version of {name!r}"
        raise NotFoundError(f"there is no published {which}")
    told = chosen[-1]
    entries = {one.id: catalogue.entry(one) for one in versions}
    entries[told.id] = _whole(session, settings, told)
    dataset = catalogue.told(settings, row, entries.values())
    files, size, formats = cataloguing.contents(session, told.id)
    contents = Contents(files, size, tuple(formats))
    if label:
        return of_version(dataset, entries[told.id], contents)
    return of_dataset(dataset, contents)


def _whole(session: Session, settings: CentreSettings, version: Version) -> Entry:
    """Tell of a version with its first files and its torrents."""
    shards = cataloguing.shards(session, version.id)
    positions = {one.id: one.position for one in shards}
    artifacts = tuple(
        Artifact(
            path=one.path,
            size=one.size or 0,
            sha256=one.sha256 or "",
            media_type=one.media_type or "",
            role=one.role,
            shard=positions.get(one.shard_id or ""),
        )
        for one in cataloguing.first_artifacts(session, version.id, MOST_FILES)
    )
    return catalogue.entry(
        version, artifacts, catalogue.shards_of(settings, version, shards, artifacts)
    )
