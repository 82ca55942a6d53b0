"""How shards stand: the good copies that are left, and the risk that each copy is at.

A copy counts while it is available, unless its site is at fault as a whole and it was not read
since that began.  A gateway and a site that it fronts count once; one that goes with what it fronts
counts for nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam
from sqlmodel import Session, col, select

from fleet.control import gateways, incidents
from fleet.planning.fixity import level
from fleet.planning.repair import independent
from fleet.planning.states import ReplicaState
from fleet.store import holdings
from fleet.store.tables import Incident, Replica, Site


@dataclass
class Standing:
    """One shard's replicas, and the sites of them that count."""

    rows: list[Replica] = field(default_factory=list)
    counted: set[str] = field(default_factory=set)
    fronted: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def good(self) -> int:
        """How many independent good copies there are."""
        return independent(self.counted, self.fronted)


_COPIES = (
    select(Replica, Site.fronts)
    .join(Site, col(Site.id) == col(Replica.site_id))
    .where(col(Replica.shard_id).in_(bindparam("shards", expanding=True)))
)


def of(
    session: Session, shards: Iterable[str], judged: Mapping[str, Incident] | None = None
) -> dict[str, Standing]:
    """Tell how some shards stand; ``judged`` are the incidents of whole sites, where known."""
    judged = incidents.judged(session) if judged is None else judged
    began = {site: one.began_at for site, one in judged.items()}
    found = {shard: Standing() for shard in shards}
    with holdings.unwritten(session):  # what a site fronts is written by the sites file alone
        copies = session.exec(_COPIES, params={"shards": list(found)}).all()
    for row, _ in copies:
        standing = found[row.shard_id]
        standing.rows.append(row)
        if counts(row, began.get(row.site_id)):
            standing.counted.add(row.site_id)
    if any(fronts for _, fronts in copies):  # few fleets have gateways: others ask no more
        fronted, gone = gateways.fronted(session), gateways.gone(session)
        for standing in found.values():
            standing.fronted = fronted
            standing.counted -= gone.keys()
    return found


def counts(row: Replica | Row[Any], began: datetime | None) -> bool:
    """Whether a copy counts, where an incident of its whole site ``began``, if one is open."""
    if row.state != ReplicaState.AVAILABLE:
        return False
    return began is None or (row.verified_at is not None and row.verified_at >= began)


def recount(session: Session, shard: str) -> Standing:
    """Note the risk that a shard's copies are at, after one of them changed."""
    standing = of(session, (shard,))[shard]
    for row in standing.rows:
        risk = level(row.state, standing.good)
        if row.risk != risk:
            row.risk = risk
    return standing
