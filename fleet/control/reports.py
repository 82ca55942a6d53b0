"""What those who download say of a copy: it is read at once, and nothing else follows from that.

Anybody may say anything, so the rules this module keeps:

- What is said has to be of a file that is there, at a site that has a copy of it which counts or is
  in doubt; else nothing is written.
- A word changes no state: it has the copy read where it lies, and its site probed, and what these
  see decides.
- A copy is read for such a word once an hour at most, and not at a site that reads enough already.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control import incidents, probes, replicas
from fleet.control.errors import NotFoundError
from fleet.messages import Words
from fleet.planning import health
from fleet.planning.repair import URGENT
from fleet.planning.states import ReplicaState
from fleet.store import fixity, holdings
from fleet.store.database import Store
from fleet.store.tables import Artifact, Observation, Shard, Version

KIND: Final = "report"
EACH: Final = timedelta(hours=1)
_KNOWN = "it was told of already, and is being seen to"
_THERE = frozenset({ReplicaState.AVAILABLE, ReplicaState.SUSPECT})
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
_SAID = (
    select(Observation.at)
    .where(
        Observation.kind == KIND,
        Observation.site_id == bindparam("site"),
        Observation.shard_id == bindparam("shard"),
        col(Observation.at) > bindparam("since"),
    )
    .limit(1)
)


def take(store: Store, report: Report) -> str:
    """Have the copy checked that somebody says is wrong; say what follows.

    Raises:
        NotFoundError: there is no such file, or that site has no copy of it.
    """
    with store.read() as session:
        shard = _shard(session, report)
        if _is_known(session, shard, report.site, store.now(session)):
            return _KNOWN
    with store.write() as session:
        now = store.now(session)
        holdings.lock(session, Shard, shard)
        if _is_known(session, shard, report.site, now):
            return _KNOWN
        session.add(
            Observation(
                kind=KIND,
                observer="a reader",
                site_id=report.site,
                shard_id=shard,
                at=now,
                detail={"path": report.path, "wrong": report.wrong},
            )
        )
        return _have_checked(session, report, shard, now)


def _shard(session: Session, report: Report) -> str:
    """Find the shard whose copy is meant."""
    dataset = holdings.find_dataset(session, report.dataset)
    asked = {"dataset": dataset and dataset.id, "label": report.version, "path": report.path}
    shard = session.exec(_SHARD, params=asked).first() if dataset else None
    if shard is None:
        raise NotFoundError(f"no file of {report.dataset}@{report.version} is called {report.path}")
    found = holdings.replica(session, shard, report.site)
    if found is None or found.state not in _THERE:
        raise NotFoundError(f"nobody is sent to {report.site} for that file")
    return shard


def _is_known(session: Session, shard: str, site: str, now: datetime) -> bool:
    asked = {"site": site, "shard": shard, "since": now - EACH}
    return session.exec(_SAID, params=asked).first() is not None


def _have_checked(session: Session, report: Report, shard: str, now: datetime) -> str:
    """Have a copy read and its site probed, as far as its site has room for that."""
    site = report.site
    probes.due_now(session, site)
    if incidents.of(session, site) is not None or fixity.running(session, site) >= health.MANY:
        return f"{site} is looked into as a whole already"
    why = f"a reader got wrong bytes of {report.path} from it"
    replicas.want_verify(session, shard, site, why, now, URGENT)
    return "it is checked at once"
