"""Evidence that sites and people offer: it is kept, it may demote, and it decides nothing."""

from sqlmodel import Session

from fleet.control import probes, replicas
from fleet.control.errors import NotFoundError, RefusedError
from fleet.messages import Observation as ObservationMessage
from fleet.store import holdings, versioning
from fleet.store.database import Store
from fleet.store.tables import Observation, Report, Site

SYMPTOMS = ("unreachable", "slow", "wrong bytes", "stale", "other")


def keep(store: Store, message: ObservationMessage) -> None:
    """Keep what a site saw; where it names a shard of its own, that is verified."""
    with store.write() as session:
        now = store.now(session)
        session.add(
            Observation(
                kind=message.kind,
                observer=message.site,
                site_id=message.site,
                shard_id=message.shard,
                at=now,
                detail=dict(message.detail),
            )
        )
        if message.shard and holdings.replica(session, message.shard, message.site):
            replicas.doubt(session, message.shard, message.site, message.kind, now)


def report(store: Store, site: str, symptom: str, dataset: str | None) -> str:
    """Keep what a person says is wrong with a site, and make a probe due; return its id.

    Raises:
        NotFoundError: there is no such site or dataset.
        RefusedError: it is not a symptom that can be reported.
    """
    if symptom not in SYMPTOMS:
        raise RefusedError(f"a symptom is one of {', '.join(SYMPTOMS)}")
    with store.write() as session:
        _known(session, site, dataset)
        row = Report(site_id=site, dataset_id=dataset, symptom=symptom, at=store.now(session))
        session.add(row)
        probes.due_now(session, site)
        return row.id


def _known(session: Session, site: str, dataset: str | None) -> None:
    if session.get(Site, site) is None:
        raise NotFoundError(f"there is no site {site!r}")
    if dataset is not None and versioning.find_dataset(session, dataset) is None:
        raise NotFoundError(f"there is no dataset {dataset!r}")
