"""From a draft to a published version: ingest, describe, cut, seal, publish.

Rules this module keeps:

- Each call of ``step`` does one bounded piece of work for each of a few versions, in units of
  work that hold the store for a moment each, whatever number of files a version has.
- A version is cut only while it waits for no file.  What is cut already stays as it is: a plan
  is made, outside of any unit of work, of the artifacts that are in no shard yet.
- What no torrent can hold is left out of the version, with its reason, before its manifest is made.
"""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import BindParameter, bindparam, func
from sqlmodel import Session, col, select

from fleet.control import facts, incidents, issues, kept, manifests, probes, publications, replicas
from fleet.control.errors import RefusedError
from fleet.control.sealing import seal
from fleet.messages import BlobRef
from fleet.planning import ingest, shards
from fleet.planning.facts import FileFacts
from fleet.planning.repair import URGENT
from fleet.planning.states import TransferKind, VersionState
from fleet.settings import CentreSettings
from fleet.store import contents, drafting, locking, versioning
from fleet.store.database import Store
from fleet.store.tables import Artifact, Blob, Rule, Shard, Site, Transfer, Version
from fleet.torrent.paths import path_fault
from fleet.torrent.pieces import DIGEST_BYTES, piece_count, piece_length

_log = structlog.get_logger()
_AT_ONCE = 10  # versions
_FILES_AT_ONCE = 1000
_MOST = timedelta(seconds=1)  # after which nothing further is begun
_LOOK_AGAIN = timedelta(minutes=1)


def step(store: Store, settings: CentreSettings) -> bool:
    """Bring a few dirty versions a step further each; False when there are none.

    Small ones: after one that took long, all else has its turn, and the office is renewed.
    """
    until: datetime | None = None
    for done in range(_AT_ONCE):
        with store.read() as session:
            now = store.now(session)
            version_id = versioning.next_version(session, now)
        if version_id is None:
            return done > 0
        if until is not None and now >= until:
            break
        until = until or now + _MOST
        _one(store, settings, version_id)
    return True


def _one(store: Store, settings: CentreSettings, version_id: str) -> None:
    """Bring one version a step further, or set it aside for a while."""
    try:
        _advance(store, settings, version_id)
    except Exception as error:  # noqa: BLE001 - one bad version never stops the others
        _log.exception("version set aside", version=version_id)
        with store.write() as session:
            version = locking.lock(session, Version, version_id)
            version.dirty, version.look_at = False, store.now(session) + _LOOK_AGAIN
            version.reason = f"set aside, see the scheduler's log: {error}"


def _advance(store: Store, settings: CentreSettings, version_id: str) -> None:
    with store.write() as session:
        now = store.now(session)
        version = locking.lock(session, Version, version_id)
        if version.state != VersionState.DRAFT:
            version.dirty = False
            if version.look_at is None or version.look_at > now:
                return
            version.look_at = now + kept.AT_LEAST
        elif not _has_come(session, version, now):
            return
        draft = version.state == VersionState.DRAFT
        undescribed = draft and manifests.is_due(session, version_id)
    if not draft:
        if kept.let_go(store, settings, version_id):
            with store.write() as session:
                locking.lock(session, Version, version_id).look_at = None
    elif not (undescribed and _describe(store, settings, version_id)):
        _cut(store, settings, version_id)
        with store.write() as session:
            version = locking.lock(session, Version, version_id)
            _publish_or_wait(session, version, store.now(session))


def _has_come(session: Session, version: Version, now: datetime) -> bool:
    """Have a draft's files fetched; True once it waits for none of them."""
    version.look_at, version.dirty = None, True
    rule = facts.rule_of(session, version.dataset_id)
    if rule is None:
        version.dirty = False
    return rule is not None and not _ingest(session, version, rule, now) and version.dirty


def _ingest(session: Session, version: Version, rule: Rule, now: datetime) -> bool:
    """Give artifacts that nobody fetches yet to sites; True while there were any."""
    waiting = drafting.without_ingest(session, version.id, _FILES_AT_ONCE)
    if not waiting:
        version.dirty = drafting.expected(session, version.id) == 0
        if not version.dirty:
            version.reason = "waits for its files to arrive from their origins"
        return False
    wanted = [ingest.Wanted(one.id, one.size, tuple(one.tried)) for one in waiting]
    batches, short = ingest.assign(wanted, facts.rule(rule), facts.sites(session))
    given: dict[str, str] = {}
    priority = rule.priority
    if all(one.role == manifests.ROLE for one in waiting):
        priority = max(priority, URGENT)  # all else of the version waits for these few bytes
    for batch in batches:
        transfer = Transfer(
            kind=TransferKind.INGEST,
            version_id=version.id,
            target_id=batch.site,
            executor_id=batch.site,
            size=batch.size,
            priority=priority,
            deadline=rule.deadline,
            reason=batch.reason,
            created_at=now,
        )
        session.add(transfer)
        given |= dict.fromkeys(batch.artifacts, transfer.id)
    if not batches and all(one.reason for one in waiting):
        version.reason, version.dirty, version.look_at = short, False, now + _LOOK_AGAIN
    session.flush()  # what an ingest was promised is noted at its site, so it must be there
    # what is left bears the reason, so that those that nobody tried go before it the next time
    drafting.assign(session, ((one.id, given.get(one.id), short) for one in waiting))
    return True


def _describe(store: Store, settings: CentreSettings, version_id: str) -> bool:
    """Leave out what no torrent can hold, and write the manifest of the rest.

    Returns whether that is a file to wait for; of nothing there is none.
    """
    with store.read() as session:
        label = session.get_one(Version, version_id).label
        files = [FileFacts(*row) for row in drafting.uncut_files(session, version_id)]
    faults = {file.id: fault for file in files if (fault := path_fault(f"{label}/{file.path}"))}
    reasons = {one: f"no torrent can hold it: {fault}" for one, fault in faults.items()}
    if not any(file.size for file in files if file.id not in faults):
        empty = (file.id for file in files if file.id not in faults)
        reasons |= dict.fromkeys(empty, "an empty file cannot be put into a torrent by itself")
    excluded = list(reasons.items())
    for first in range(0, len(excluded), _FILES_AT_ONCE):
        with store.write() as session:
            if not _may_cut(session, version_id, 0):
                return True
            drafting.exclude(session, dict(excluded[first : first + _FILES_AT_ONCE]))
    return len(reasons) < len(files) and manifests.give(store, settings, version_id)


def _cut(store: Store, settings: CentreSettings, version_id: str) -> None:
    """Make shards of a version's artifacts that are in none yet, as far as time allows."""
    with store.read() as session:
        if not drafting.uncut(session, version_id):
            return
        position = drafting.next_position(session, version_id)
        files = [FileFacts(*row) for row in drafting.uncut_files(session, version_id)]
    plan = shards.cut(
        files,
        alone_from=settings.alone_from,
        bundle_bytes=settings.bundle_bytes,
        bundle_files=settings.bundle_files,
    )
    until: datetime | None = None
    for at, group in enumerate(plan, position):
        with store.write() as session:
            now = store.now(session)
            late = until is not None and now >= until
            if late or not _may_cut(session, version_id, at):
                return
            until = until or now + _MOST
            _make(session, settings, version_id, at, group, now)


def _may_cut(session: Session, version_id: str, position: int) -> bool:
    """Take the version; False if it changed since the plan was made."""
    version = locking.lock(session, Version, version_id)
    return (
        version.state == VersionState.DRAFT
        and drafting.next_position(session, version_id) == position
        and not drafting.expected(session, version_id)
    )


def _make(
    session: Session,
    settings: CentreSettings,
    version_id: str,
    position: int,
    group: tuple[FileFacts, ...],
    now: datetime,
) -> None:
    """Make one shard, and seal it or have it sealed where most of it lies already.

    What lies at a site that was retired since is no copy: then a node gets it and has it sealed.

    Raises:
        RefusedError: no torrent can be made of it.
    """
    size = sum(file.size for file in group)
    shard = Shard(
        version_id=version_id,
        position=position,
        size=size,
        files=len(group),
        piece_length=piece_length(size),
        dirty=False,
    )
    session.add(shard)
    session.flush()
    drafting.put_in_shard(session, shard.id, _offsets(group))
    site = contents.arrival(session, shard.id)
    pieces = _pieces(session, shard, group)
    if pieces is None or session.get_one(Site, site).retired:
        _have_sealed(session, shard, site, now)
        return
    if problem := seal(session, shard, pieces):
        raise RefusedError(f"{group[0].path}: {problem}")
    replicas.arrive(session, settings, shard.id, site, now)
    probes.ensure(session, site, now)


def _offsets(group: tuple[FileFacts, ...]) -> list[tuple[str, int]]:
    offsets, at = [], 0
    for file in group:
        offsets.append((file.id, at))
        at += file.size
    return offsets


def _pieces(session: Session, shard: Shard, group: tuple[FileFacts, ...]) -> BlobRef | None:
    """Return the pieces of a lone artifact, if they were hashed as it arrived."""
    if len(group) > 1:
        return None
    only = session.get_one(Artifact, group[0].id)
    blob = session.get(Blob, only.pieces) if only.pieces else None
    if blob is None or only.piece_length != shard.piece_length:
        return None
    if len(blob.data) != piece_count(shard.size, shard.piece_length) * DIGEST_BYTES:
        return None
    return BlobRef(sha256=blob.sha256, size=len(blob.data))


def _have_sealed(session: Session, shard: Shard, site: str, now: datetime) -> bool:
    """Have a shard's piece hashes computed; False where no site is there that can."""
    reason = f"most of it arrived at {site}, where its piece hashes are computed"
    if unfit := _unfit(session, site):
        other = drafting.other_node(session, site)
        if other is None:
            return False
        site, reason = other, f"{site} {unfit}, so its piece hashes are computed at {other}"
    replicas.expect(session, shard.id, site, reason)
    session.add(
        Transfer(
            kind=TransferKind.COPY,
            version_id=shard.version_id,
            shard_id=shard.id,
            target_id=site,
            executor_id=site,
            size=shard.size,
            reason=reason,
            created_at=now,
        )
    )
    return True


def _unfit(session: Session, site: str) -> str:
    """Say why nothing new is to be computed at a site; empty where it may."""
    row = session.get_one(Site, site)
    if row.retired or row.retiring is not None:
        return "was retired" if row.retired else "is to be retired"
    return "is at fault as a whole" if incidents.of(session, site) is not None else ""


_VERSION: BindParameter[str] = bindparam("version")
_SEALED = select(func.count(), func.count(col(Shard.infohash))).where(Shard.version_id == _VERSION)
_PUBLISHED = select(Version).where(
    Version.dataset_id == bindparam("dataset"), Version.state == VersionState.PUBLISHED
)


def _publish_or_wait(session: Session, version: Version, now: datetime) -> None:
    """Publish a version whose shards are all sealed; else say what it waits for."""
    draft = version.state == VersionState.DRAFT
    if draft and (drafting.expected(session, version.id) or drafting.uncut(session, version.id)):
        return  # it stays dirty: the next step goes on with it
    version.dirty = False
    if not draft:
        return
    cut, sealed = session.exec(_SEALED, params={"version": version.id}).one()
    if not cut:
        version.reason = "none of its files could be had"
    elif sealed < cut:
        version.reason = f"waits for the piece hashes of {cut - sealed} of its shards"
        lacking = [
            shard
            for shard in drafting.unsealed_by_nobody(session, version.id)
            if not _have_sealed(session, shard, contents.arrival(session, shard.id), now)
        ]
        if lacking:
            version.look_at = now + _LOOK_AGAIN
            version.reason += (
                f"; for {len(lacking)} no node is there that stays and is sound: add or clear one"
            )
    else:
        _publish(session, version, now)


def _publish(session: Session, version: Version, now: datetime) -> None:
    """Make the version final, and its shards ready to be placed."""
    excluded = drafting.excluded(session, version.id)
    for other in session.exec(_PUBLISHED, params={"dataset": version.dataset_id}).all():
        other.state = VersionState.SUPERSEDED
        version.previous_id = other.id
    version.state, version.published_at = VersionState.PUBLISHED, now
    version.sequence = 1 + versioning.last_sequence(session, version.dataset_id)
    version.reason = f"published without {excluded} files" if excluded else ""
    version.look_at = now + kept.AT_LEAST
    publications.make(session, version.dataset_id, now)
    issues.published(session, version, now)
    locking.dirty_shards(session, select(Version.id).where(Version.id == version.id))
