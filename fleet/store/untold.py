"""Named queries over what the catalogue does not tell yet.

Rules this module keeps:

- What changed is noted by the store's own triggers, within the unit of work that changed it, and a
  note goes only into a row of its dataset (``gather``): no change is lost, whoever is killed.
- A row goes only if nothing was added to it since it was read (``forget``).
- What changes of the catalogue's own editions is never noted.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Delete,
    Executable,
    Integer,
    String,
    bindparam,
    delete,
    exists,
    false,
    func,
    select,
)
from sqlmodel import Session, SQLModel, col

from fleet.planning import press
from fleet.planning.states import ReplicaState
from fleet.store import given
from fleet.store.columns import UtcDateTime
from fleet.store.tables import DatasetChange, Replica, Shard, Untold, Version

_UNTOLD = SQLModel.metadata.tables["untold"]
_COLUMNS = ("dataset_id", "changes", "proof", "since", "until")
_GATHER_MOST = 20_000  # notes at once: many that nobody gathered do not hold the store for seconds


class Row(NamedTuple):
    """A dataset that changed; ``changes`` is for ``forget``."""

    dataset: str
    changes: int


_NOTED = select(exists().select_from(DatasetChange))
_AT = (
    select(col(Version.dataset_id))
    .join(Shard, col(Shard.version_id) == col(Version.id))
    .join(Replica, col(Replica.shard_id) == col(Shard.id))
    .where(
        col(Replica.site_id) == bindparam("site"),
        col(Replica.state) == ReplicaState.AVAILABLE,
        col(Version.sequence).is_not(None),
        col(Version.edition) == false(),
    )
    .distinct()
)
_PROOF, _COME = col(Untold.proof), col(Untold.since) <= bindparam("now", type_=UtcDateTime())
_SPAN = select(
    func.min(col(Untold.since)).filter(~_PROOF, _COME),
    func.max(col(Untold.until)).filter(~_PROOF, _COME),
    func.min(col(Untold.since)).filter(_PROOF),
    func.min(col(Untold.since)).filter(~_PROOF, ~_COME),
)


def noted(session: Session) -> bool:
    """Whether anything was noted since it was last gathered."""
    return bool(session.execute(_NOTED).scalars().one())


_OLDEST = select(col(DatasetChange.id)).order_by(col(DatasetChange.id)).limit(_GATHER_MOST)
_GATHERED = (
    delete(DatasetChange)
    .where(col(DatasetChange.id).in_(_OLDEST))
    .returning(col(DatasetChange.dataset_id), col(DatasetChange.site_id), col(DatasetChange.proof))
)


def gather(session: Session, now: datetime) -> bool:
    """Add what was noted to the rows of the datasets that it is about, the oldest first.

    Returns whether there may be more of it.
    """
    notes = session.connection().execute(_GATHERED).all()
    proofs = {dataset: True for dataset, _, proof in notes if dataset is not None and proof}
    proofs |= {dataset: False for dataset, _, proof in notes if dataset is not None and not proof}
    for site in {site for _, site, _ in notes if site is not None}:
        found = session.connection().execute(_AT, {"site": site}).scalars()
        proofs |= dict.fromkeys(found, False)
    if proofs:
        _put(session, proofs, now)
    return len(notes) == _GATHER_MOST


def put_off(session: Session, datasets: Collection[str], until: datetime) -> None:
    """Count datasets that cannot be told as changed at a later moment."""
    if datasets:
        _put(session, dict.fromkeys(datasets, False), until)


def _put(session: Session, proofs: Mapping[str, bool], now: datetime) -> None:
    """Add a change to the rows of datasets, by whether it is a proof."""
    kind, connection = given.dialect(session), session.connection()
    before = connection.execute(_take(kind), given.ids(kind, list(proofs))).all()
    rows = {
        name: {"dataset_id": name, "changes": 1, "proof": proof, "since": now, "until": now}
        for name, proof in proofs.items()
    }
    for one in before:
        row = rows[one.dataset_id]
        row["changes"] = one.changes + 1
        if one.proof == row["proof"] or not one.proof:
            row |= {"since": min(one.since, now), "proof": one.proof and row["proof"]}
    connection.execute(
        given.inserting(kind, _UNTOLD, *_COLUMNS), given.told(kind, list(rows.values()))
    )


@cache
def _take(kind: str) -> Executable:
    return (
        delete(_UNTOLD).where(given.among(kind, _UNTOLD.c.dataset_id)).returning(*_UNTOLD.columns)
    )


def span(session: Session, now: datetime) -> press.Untold:
    """Tell since when, and until when, something changed that is not told."""
    return press.Untold(*session.execute(_SPAN, {"now": now}).one())


def rows(session: Session) -> list[Row]:
    """Return the datasets that changed, in the order in which an edition takes them."""
    found = session.connection().execute(select(_UNTOLD.c.dataset_id, _UNTOLD.c.changes))
    return sorted(Row(*one) for one in found)


def forget(session: Session, told: Iterable[Row]) -> None:
    """Let go of what was told, but for datasets that changed since that was read."""
    kind = given.dialect(session)
    values: list[dict[str, Any]] = [{"one": row.dataset, "count": row.changes} for row in told]
    if values:
        session.connection().execute(_forget(kind), given.told(kind, values))


@cache
def _forget(kind: str) -> Delete:
    row = given.given(kind, {"one": String(), "count": Integer()})
    same = exists().where(row.c.one == _UNTOLD.c.dataset_id, row.c.count == _UNTOLD.c.changes)
    return delete(_UNTOLD).where(same)
