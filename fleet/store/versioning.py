"""Named queries over datasets and their versions."""

from datetime import datetime

from sqlalchemy import BindParameter, String, bindparam, func, true
from sqlmodel import Session, col, select

from fleet.planning.states import VersionState
from fleet.store.tables import Dataset, DatasetAlias, Transfer, Version

_SAME_BUT_FOR_CASE = select(Dataset.id).where(
    func.lower(col(Dataset.id)) == bindparam("name", type_=String())
)


def find_dataset(session: Session, name: str) -> Dataset | None:
    """Return the dataset called ``name``, by its id or by an old name of it."""
    alias = session.get(DatasetAlias, name)
    return session.get(Dataset, alias.dataset_id if alias else name)


def same_but_for_case(session: Session, name: str) -> str | None:
    """Return the id of a dataset that differs from ``name`` in capitals alone, if there is one."""
    return session.exec(_SAME_BUT_FOR_CASE, params={"name": name.lower()}).first()


def folder(version: Version) -> str:
    """Return where a version lies below every site's root."""
    return f"{version.dataset_id}/{version.label}"


_DATASET: BindParameter[str] = bindparam("dataset")
_LATEST = (
    select(Version)
    .where(Version.dataset_id == _DATASET, Version.state == VersionState.PUBLISHED)
    .order_by(col(Version.sequence).desc())
)


def latest(session: Session, dataset: str) -> Version | None:
    """Return the published version of a dataset, which no other has superseded."""
    return session.exec(_LATEST, params={"dataset": dataset}).first()


def before(session: Session, version: Version) -> Version | None:
    """Return the version of the same dataset that was published before one."""
    earlier = select(Version).where(
        Version.dataset_id == version.dataset_id, col(Version.sequence) < version.sequence
    )
    return session.exec(earlier.order_by(col(Version.sequence).desc())).first()


_LAST_SEQUENCE = select(func.max(col(Version.sequence))).where(Version.dataset_id == _DATASET)


def last_sequence(session: Session, dataset: str) -> int:
    """Return the sequence of the dataset's version that was published last; 0 if none was."""
    return session.exec(_LAST_SEQUENCE, params={"dataset": dataset}).one() or 0


_CHANGED = select(Version.id).where(col(Version.dirty) == true()).order_by(col(Version.id)).limit(1)
_COME = (
    select(Version.id)
    .where(col(Version.look_at) <= bindparam("now"))
    .order_by(col(Version.look_at))
    .limit(1)
)


def next_version(session: Session, now: datetime) -> str | None:
    """Return a version about which something changed, or whose time to be looked at has come."""
    changed = session.exec(_CHANGED).first()
    return min(
        filter(None, (changed, session.exec(_COME, params={"now": now}).first())), default=None
    )


def counts(session: Session, version: str) -> dict[str, int]:
    """Count a version's transfers by state."""
    rows = session.exec(
        select(Transfer.state, func.count())
        .where(Transfer.version_id == version)
        .group_by(col(Transfer.state))
    ).all()
    return {str(state): number for state, number in rows}
