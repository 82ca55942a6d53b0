"""Web seeds: which sites the torrents of a shard name, and what `fleet why` says of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control import incidents
from fleet.planning.facts import WebSeedFacts
from fleet.planning.states import ReplicaState
from fleet.planning.webseeds import unlisted
from fleet.store.tables import Replica, Site


@dataclass(frozen=True)
class Listing:
    """Whether a copy is named as a web seed, and why, or why not."""

    listed: bool
    reason: str


_COPIES = (
    select(Replica, Site)
    .join(Site, col(Site.id) == col(Replica.site_id))
    .where(
        Replica.shard_id == bindparam("shard"),
        Replica.state == ReplicaState.AVAILABLE,
        col(Site.retired).is_(False),
    )
    .order_by(col(Site.id))
)


def sites(session: Session, shard: str) -> Sequence[Site]:
    """Return the sites that are web seeds of a shard, by id."""
    faults = incidents.reasons(session)
    rows = session.exec(_COPIES, params={"shard": shard}).all()
    return [site for copy, site in rows if not unlisted(_facts(copy, site, faults))]


def listing(session: Session, replica: Replica) -> Listing:
    """Say whether a copy is named as a web seed."""
    site = session.get_one(Site, replica.site_id)
    if reason := unlisted(_facts(replica, site, incidents.reasons(session))):
        return Listing(listed=False, reason=reason)
    when = f"{replica.proved_at:%Y-%m-%d %H:%M:%S} UTC"
    return Listing(
        listed=True, reason=f"{replica.proved_by} read a whole piece of it by a range {when}"
    )


def _facts(replica: Replica, site: Site, faults: Mapping[str, str]) -> WebSeedFacts:
    return WebSeedFacts(
        state=ReplicaState(replica.state),
        readable=site.read_url != "",
        proved=replica.proved_at is not None,
        incident=faults.get(site.id, ""),
    )
