"""From a draft to a published version: ingest, cut, seal, publish.

Each call of ``step`` does one bounded unit of work for one version, so that a version of a
hundred thousand files never holds the store for long.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, select

from fleet.control import facts, probes, replicas
from fleet.control.sealing import seal
from fleet.messages import BlobRef
from fleet.planning import ingest, shards
from fleet.planning.facts import FileFacts
from fleet.planning.states import TransferKind, VersionState
from fleet.settings import CentreSettings
from fleet.store import holdings
from fleet.store.database import Store
from fleet.store.tables import Artifact, Blob, Rule, Shard, Transfer, Version
from fleet.torrent.pieces import piece_length

_FILES_AT_ONCE = 1000
_LOOK_AGAIN = timedelta(minutes=1)


def step(store: Store, settings: CentreSettings) -> bool:
    """Bring one dirty version a step further; False when there is none."""
    with store.write() as session:
        now = store.now(session)
        version = holdings.next_version(session, now)
        if version is None:
            return False
        version.look_at = None
        rule = facts.rule_of(session, version.dataset_id)
        if version.state != VersionState.DRAFT or rule is None:
            version.dirty = False
            return True
        if _ingest(session, version, rule, now) or holdings.expected(session, version.id):
            return True
    _cut(store, settings, version.id)
    with store.write() as session:
        _seal_or_publish(session, holdings.lock(session, Version, version.id), now)
    return True


def _ingest(session: Session, version: Version, rule: Rule, now: datetime) -> bool:
    """Give artifacts that nobody fetches yet to sites; True while there may be more."""
    waiting = holdings.without_ingest(session, version.id, _FILES_AT_ONCE)
    if not waiting:
        version.dirty = holdings.expected(session, version.id) == 0
        if not version.dirty:
            version.reason = "waits for its files to arrive from their origins"
        return False
    wanted = [ingest.Wanted(one.id, one.size) for one in waiting]
    batches, short = ingest.assign(wanted, facts.rule(rule), facts.sites(session))
    by_id = {one.id: one for one in waiting}
    for batch in batches:
        transfer = Transfer(
            kind=TransferKind.INGEST,
            version_id=version.id,
            target_id=batch.site,
            executor_id=batch.site,
            size=batch.size,
            priority=rule.priority,
            deadline=rule.deadline,
            reason=batch.reason,
            created_at=now,
        )
        session.add(transfer)
        for artifact in batch.artifacts:
            by_id[artifact].ingest_id = transfer.id
    if short:
        version.reason, version.dirty, version.look_at = short, False, now + _LOOK_AGAIN
    return True


def _cut(store: Store, settings: CentreSettings, version_id: str) -> None:
    """Fix a version's shards, some in each unit of work; what is cut already stays as it is."""
    with store.read() as session:
        files = [FileFacts(*row) for row in holdings.known_files(session, version_id)]
    plan = shards.cut(
        files,
        alone_from=settings.alone_from,
        bundle_bytes=settings.bundle_bytes,
        bundle_files=settings.bundle_files,
    )
    groups = list(enumerate(plan))
    while groups:
        batch = [groups.pop(0)]
        while groups and sum(len(group) for _, group in batch) < _FILES_AT_ONCE:
            batch.append(groups.pop(0))
        with store.write() as session:
            version = holdings.lock(session, Version, version_id)
            if version.state != VersionState.DRAFT:
                return
            for position, group in batch:
                _make(session, settings, version, position, group, store.now(session))


def _make(
    session: Session,
    settings: CentreSettings,
    version: Version,
    position: int,
    group: tuple[FileFacts, ...],
    now: datetime,
) -> None:
    """Make one shard, and seal it or have it sealed where most of it lies already."""
    if session.get_one(Artifact, group[0].id).shard_id is not None:
        return
    artifacts = [session.get_one(Artifact, file.id) for file in group]
    size = sum(one.size or 0 for one in artifacts)
    shard = Shard(
        version_id=version.id,
        position=position,
        size=size,
        files=len(artifacts),
        piece_length=piece_length(size),
        dirty=False,
    )
    session.add(shard)
    session.flush()
    offset = 0
    for artifact in artifacts:
        artifact.shard_id, artifact.offset = shard.id, offset
        offset += artifact.size or 0
    session.flush()
    where = holdings.ingest_sites(session, artifacts)
    weights = Counter[str]()
    for artifact in artifacts:
        weights[where[artifact.id]] += artifact.size or 1
    site = weights.most_common(1)[0][0]
    only = artifacts[0]
    if len(artifacts) == 1 and only.pieces and only.piece_length == shard.piece_length:
        blob = session.get_one(Blob, only.pieces)
        seal(session, shard, BlobRef(sha256=blob.sha256, size=len(blob.data)))
        replicas.arrive(session, settings, shard.id, site, now)
        probes.ensure(session, settings, site, now)
        return
    reason = f"most of it arrived at {site}, where its piece hashes are computed"
    replicas.expect(session, shard.id, site, reason)
    session.add(
        Transfer(
            kind=TransferKind.COPY,
            version_id=version.id,
            shard_id=shard.id,
            target_id=site,
            executor_id=site,
            size=size,
            reason=reason,
            created_at=now,
        )
    )


def _seal_or_publish(session: Session, version: Version, now: datetime) -> None:
    """Publish a version whose shards are all sealed; else say what it waits for."""
    version.dirty = False
    cut = session.exec(select(Shard).where(Shard.version_id == version.id)).all()
    unsealed = sum(shard.infohash is None for shard in cut)
    if version.state != VersionState.DRAFT:
        return
    if not cut:
        version.reason = "none of its files could be had"
    elif unsealed:
        version.reason = f"waits for the piece hashes of {unsealed} of its shards"
    else:
        _publish(session, version, cut, now)


def _publish(session: Session, version: Version, cut: Sequence[Shard], now: datetime) -> None:
    """Make the version final, and its shards ready to be placed."""
    excluded = holdings.excluded(session, version.id)
    previous = session.exec(
        select(Version).where(
            Version.dataset_id == version.dataset_id, Version.state == VersionState.PUBLISHED
        )
    ).all()
    for other in previous:
        other.state = VersionState.SUPERSEDED
        version.previous_id = other.id
    version.state, version.published_at = VersionState.PUBLISHED, now
    version.reason = f"published without {excluded} files" if excluded else ""
    for shard in cut:
        shard.dirty = True
