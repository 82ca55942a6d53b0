"""What those who download say of a copy: it is read soon, and nothing else follows from that.

Anybody may say anything, so the rules this module keeps:

- What is said has to be of a file that is there, at a site that has a copy of it which counts or is
  in doubt; else nothing is written.
- A word changes no state: it has the copy read where it lies, and its site probed, and what these
  see decides.
- A copy is read for such a word once an hour at most, no more than ``AT_ONCE`` of a site at a time,
  and after all that is urgent: nobody keeps a site busy by what he says.
- A word is written down with the reading that it has made, and only then.  One that a site has no
  room for may be told again.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import bindparam, func
from sqlmodel import Session, col, select

from fleet.control import incidents, probes, replicas
from fleet.control.errors import BusyError, NotFoundError
from fleet.messages import Words
from fleet.planning import health
from fleet.planning.repair import URGENT
from fleet.planning.states import ReplicaState, TransferKind
from fleet.store import fixity, holdings, locking, transfers, versioning
from fleet.store.database import Store
from fleet.store.tables import Artifact, Observation, Shard, Site, Transfer, Version

KIND: Final = "report"
EACH: Final = timedelta(hours=1)
AT_ONCE: Final = 2
LATER_SECONDS: Final = 600
PRIORITY: Final = URGENT - 1
"""Of the readings that are made here, and of no others: they are known by it."""
_KNOWN = "it was told of already, and is being seen to"
_THERE = frozenset({ReplicaState.AVAILABLE, ReplicaState.SUSPECT})
_READS = (TransferKind.VERIFY, TransferKind.COPY)  # a copy reads what is there, too
_Name = Annotated[str, StringConstraints(pattern=r"^[^\x00]{1,200}$")]
_Path = Annotated[str, StringConstraints(pattern=r"^[^\x00]{1,1024}$")]


class Report(BaseModel):
    """That a site sent wrong bytes of a file; ``wrong`` says in which way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: _Name
    version: _Name
    path: _Path
    site: _Name
    wrong: Words = ""


_SHARD = (
    select(Artifact.shard_id)
    .join(Version, col(Version.id) == col(Artifact.version_id))
    .where(
        Version.dataset_id == bindparam("dataset"),
        Version.label == bindparam("label"),
        Artifact.path == bindparam("path"),
    )
)
_MADE_HERE = (
    Transfer.kind == TransferKind.VERIFY,
    Transfer.priority == PRIORITY,
    Transfer.target_id == bindparam("site"),
)
_TOLD = (
    select(Transfer.id)
    .where(
        Transfer.shard_id == bindparam("shard"),
        *_MADE_HERE,
        col(Transfer.created_at) > bindparam("since"),
    )
    .limit(1)
)
_RUNNING = (
    select(func.count())
    .select_from(Transfer)
    .where(
        col(Transfer.state).in_(transfers.LIVE),
        col(Transfer.executor_id).in_(select(Site.id)),  # so that the queue's index is used
        *_MADE_HERE,
    )
)


def take(store: Store, report: Report) -> str:
    """Have the copy checked that somebody says is wrong; say what follows.

    Raises:
        NotFoundError: there is no such file, or that site has no copy of it.
        BusyError: the site reads as much as it may for now; nothing was written.
    """
    with store.read() as session:
        shard = _shard(session, report)
        if said := _seen_to(session, shard, report.site, store.now(session)):
            return said
    with store.write() as session:
        now = store.now(session)
        # the site is taken first, so that several words at a time make no more than is allowed
        session.get_one(Site, report.site, with_for_update={"key_share": True})
        locking.lock(session, Shard, shard)
        return _seen_to(session, shard, report.site, now) or _planned(session, report, shard, now)


def _shard(session: Session, report: Report) -> str:
    """Find the shard whose copy is meant."""
    dataset = versioning.find_dataset(session, report.dataset)
    asked = {"dataset": dataset and dataset.id, "label": report.version, "path": report.path}
    shard = session.exec(_SHARD, params=asked).first() if dataset else None
    if shard is None:
        raise NotFoundError(f"no file of {report.dataset}@{report.version} is called {report.path}")
    found = holdings.replica(session, shard, report.site)
    if found is None or found.state not in _THERE:
        raise NotFoundError(f"nobody is sent to {report.site} for that file")
    return shard


def _seen_to(session: Session, shard: str, site: str, now: datetime) -> str:
    """Say by what a copy is seen to already; empty if it is to be read.

    Raises:
        BusyError: it cannot be read now.
    """
    asked = {"site": site, "shard": shard, "since": now - EACH}
    if session.exec(_TOLD, params=asked).first() is not None:
        return _KNOWN
    if transfers.live(session, shard, site, _READS) is not None:
        return "it is being read already"
    if incidents.of(session, site) is not None:
        return f"{site} is looked into as a whole already"
    told = session.exec(_RUNNING, params={"site": site}).one()
    if told >= AT_ONCE or fixity.running(session, site) >= health.MANY:
        raise BusyError(f"{site} has enough to read for now: tell it again later", LATER_SECONDS)
    return ""


def _planned(session: Session, report: Report, shard: str, now: datetime) -> str:
    """Have a copy read and its site probed, and write down who said what."""
    site = report.site
    why = f"a reader got wrong bytes of {report.path} from it"
    if replicas.want_verify(session, shard, site, why, now, PRIORITY) is None:
        return "its reading was given up, and waits for a person"
    probes.due_now(session, site)
    detail = {"path": report.path, "wrong": report.wrong}
    session.add(
        Observation(
            kind=KIND, observer="a reader", site_id=site, shard_id=shard, at=now, detail=detail
        )
    )
    return "it is checked soon"
