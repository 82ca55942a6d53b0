"""What sites serve under bare names: a dataset's newest version, once all of it lies there.

Rules this module keeps (the set and what may follow what is ``fleet.planning.latest``):

- A version is switched to when it is the newest that is published, none of its shards is in doubt
  at the site, and no name of it is another dataset's there.
- What is served stays until a newer version is, also when its version is withdrawn or its copy goes
  bad: a reader is better off with it than with nothing.
- No copy of what a site serves there, or is being switched to, is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from sqlalchemy import bindparam, or_
from sqlmodel import Session, col, select

from fleet.control import facts
from fleet.control.errors import RefusedError
from fleet.planning import latest
from fleet.planning.latest import File, Manifest, Refused
from fleet.planning.states import TransferKind, VersionState
from fleet.store import serving, transfers, versioning
from fleet.store.database import Store
from fleet.store.tables import Served, Shard, Site, Transfer, Version

_AT_ONCE = 50
_LOOK_AGAIN = timedelta(hours=6)


def serves(site: Site) -> bool:
    """Whether a site is to serve the latest versions under bare names."""
    return bool(site.store.get("processed")) and not site.retired


def begin(session: Session, site: Site, now: datetime) -> None:
    """Look at every dataset that a site has copies of: it may be to serve them from now on."""
    if serves(site):
        for dataset in serving.datasets_at(session, site.id):
            _row(session, site.id, dataset).look_at = now


def arrived(session: Session, shard: Shard, site: str, now: datetime) -> None:
    """Look at a dataset of which a site has one more verified shard."""
    if serves(session.get_one(Site, site)):
        dataset = session.get_one(Version, shard.version_id).dataset_id
        _row(session, site, dataset).look_at = now


_DUE = (
    select(Served.site_id, Served.dataset_id)
    .where(col(Served.look_at) <= bindparam("now"))
    .order_by(col(Served.look_at))
    .limit(_AT_ONCE)
)


def step(store: Store) -> bool:
    """Look at a batch of what sites serve and may have a newer version of; False if none is due."""
    with store.read() as session:
        due = session.exec(_DUE, params={"now": store.now(session)}).all()
    for site, dataset in due:
        with store.write() as session:
            _look_at(session, site, dataset, store.now(session))
    return bool(due)


def _look_at(session: Session, site: str, dataset: str, now: datetime) -> None:
    """Switch to the newest version if it can be; a transfer is taken before what is served."""
    version = serving.newest(session, dataset)
    going = [
        switch
        for switch in serving.switches(session, site, dataset)
        if version is None
        or switch.version_id == version.id
        or not transfers.cancel(session, switch, f"{version.label} is newer", now)
    ]
    row = _row(session, site, dataset)
    row.look_at, row.waits = None, ""
    if going or version is None or (version.sequence or 0) <= row.sequence:
        return  # what becomes of a switch has this looked at again
    if not serves(session.get_one(Site, site)):
        return
    row.waits = _obstacle(session, row, version)
    if row.waits:
        row.look_at = now + _LOOK_AGAIN
        return
    rule = facts.rule_of(session, row.dataset_id)
    session.add(
        Transfer(
            kind=TransferKind.SWITCH,
            version_id=version.id,
            target_id=row.site_id,
            executor_id=row.site_id,
            priority=rule.priority if rule is not None else 0,
            reason=f"all of {version.label} lies at {row.site_id}",
            created_at=now,
        )
    )


def _obstacle(session: Session, row: Served, version: Version) -> str:
    """Say why a site cannot serve a version now; empty where it can."""
    if absent := serving.absent(session, version.id, row.site_id):
        return f"{version.label}: {absent} of its shards are not there and verified"
    try:
        wanted = _set(session, version)
    except Refused as error:
        return str(error)
    taken = serving.taken(session, row.site_id, row.dataset_id, wanted.files)
    if taken is None:
        return ""
    path, dataset, label = taken
    return f"{latest.bare(latest.bare_name(path))} of {version.label} belongs to {dataset} {label}"


def wanted(session: Session, transfer: Transfer) -> Manifest:
    """Return the set that a transfer is to switch to.

    Raises:
        RefusedError: it is not to be done now.
    """
    version = session.get_one(Version, transfer.version_id)
    if version.state == VersionState.WITHDRAWN:
        raise RefusedError(f"{version.label} was withdrawn")
    if absent := serving.absent(session, version.id, transfer.target_id):
        raise RefusedError(
            f"{version.label}: {absent} of its shards are no longer there and verified"
        )
    return _set(session, version)


def _set(session: Session, version: Version) -> Manifest:
    folder = versioning.folder(version)
    files = (
        File(f"{folder}/{path}", size, sha256, md5)
        for path, size, sha256, md5 in serving.bare_files(session, version.id)
    )
    return latest.set_of(version.dataset_id, version.label, version.sequence or 0, files)


def switched(session: Session, transfer: Transfer, now: datetime) -> None:
    """Note what a site serves by now, and look whether there is a newer version already."""
    version = session.get_one(Version, transfer.version_id)
    row = _row(session, transfer.target_id, version.dataset_id)
    if (version.sequence or 0) > row.sequence:
        row.version_id, row.sequence, row.at = version.id, version.sequence or 0, now
    row.look_at = now


def keeps(session: Session, version: Version, site: str) -> str:
    """Say what a copy of a version is needed for at a site before it is dropped; empty: nothing."""
    if not serves(session.get_one(Site, site)):
        return ""
    row = session.get(Served, (site, version.dataset_id))
    if row is not None and row.version_id == version.id:
        return f"a newer version: {version.label} is what {site} serves under bare names"
    going = serving.switches(session, site, version.dataset_id)
    if any(one.version_id == version.id for one in going):
        return f"{site}, which is to serve {version.label} under bare names"
    return ""


@dataclass(frozen=True)
class Serving:
    """What a site serves of a dataset under bare names: a version, or nothing yet; and why so.

    ``url`` is where the manifest of the set is read.
    """

    site: str
    dataset: str
    version: str
    url: str
    since: datetime | None
    reason: str
    again: datetime | None


def told(session: Session, name: str) -> list[Serving]:
    """Tell what sites serve of a dataset, or what a site serves."""
    rows = session.exec(
        select(Served, Site, Version)
        .join(Site, col(Site.id) == col(Served.site_id))
        .outerjoin(Version, col(Version.id) == col(Served.version_id))
        .where(or_(col(Served.dataset_id) == name, col(Served.site_id) == name))
        .order_by(col(Served.dataset_id), col(Served.site_id))
    ).all()
    return [
        Serving(
            site=site.id,
            dataset=row.dataset_id,
            version=version.label if version is not None else "",
            url=f"{site.read_url.rstrip('/')}/{quote(latest.place(row.dataset_id))}",
            since=row.at,
            reason="; ".join(_reasons(session, row, version)),
            again=row.look_at,
        )
        for row, site, version in rows
        if serves(site)
    ]


def _reasons(session: Session, row: Served, version: Version | None) -> Iterator[str]:
    newest = serving.newest(session, row.dataset_id)
    going = serving.switches(session, row.site_id, row.dataset_id)
    if version is not None and version.state == VersionState.WITHDRAWN:
        yield f"{version.label} was withdrawn, and stays until a newer version takes its place"
    elif version is not None and serving.absent(session, version.id, row.site_id):
        yield f"the copy of {version.label} is not well; it stays until a newer version is there"
    if going:
        yield from (f"its switch is {one.state}: {one.reason or 'announced'}" for one in going)
    elif newest is not None and (newest.sequence or 0) > row.sequence:
        yield row.waits or f"{newest.label} is looked at in the next tick"
    elif version is newest is not None:
        yield "it is the newest version"


def _row(session: Session, site: str, dataset: str) -> Served:
    """Return a row, taken for this unit of work."""
    row = session.get(Served, (site, dataset), with_for_update=True, populate_existing=True)
    if row is None:
        row = Served(site_id=site, dataset_id=dataset)
        session.add(row)
        session.flush()
    return row
