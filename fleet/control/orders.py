"""Orders: what a worker is given with its claim."""

import random
from collections.abc import Iterable

from sqlmodel import Session, col, select

from fleet.control import alias_checks, facts, layers, sources
from fleet.messages import BlobRef, Budget, Digest, Item, Order, Sample, Source
from fleet.planning.digests import wants_md5
from fleet.planning.states import TASKS, ReplicaState, TransferKind
from fleet.settings import CentreSettings
from fleet.store import holdings
from fleet.store.tables import (
    Artifact,
    Attempt,
    Blob,
    Replica,
    Shard,
    Site,
    Transfer,
    Version,
)
from fleet.torrent.pieces import DIGEST_BYTES, piece_count

_SAMPLE_MOST = 1024 * 1024  # a small artifact is probed whole up to this size


def build(
    session: Session,
    settings: CentreSettings,
    transfer: Transfer,
    attempt: Attempt,
    budget: Budget,
) -> Order:
    """Write the Order of a claimed attempt, and note its ranked sources with it."""
    order = Order(
        attempt=attempt.id,
        fence=transfer.fence,
        task=TASKS[transfer.kind],
        site=attempt.site_id,
        lease_seconds=settings.lease_seconds,
        alone_from=settings.alone_from,
        max_bytes=settings.max_artifact_bytes,
        budget=budget,
    )
    match transfer.kind:
        case TransferKind.INGEST:
            details = _ingest(session, settings, transfer, attempt)
        case TransferKind.COPY:
            details = _copy(session, settings, transfer, attempt)
        case TransferKind.VERIFY:
            details = _verify(session, settings, transfer, attempt)
        case _:
            details = _probe(session, transfer)
    return order.model_copy(update=details)


def _ingest(
    session: Session, settings: CentreSettings, transfer: Transfer, attempt: Attempt
) -> dict[str, object]:
    version = session.get_one(Version, transfer.version_id)
    artifacts = holdings.ingested_by(session, transfer.id)
    ranking = sources.Ranking(session, attempt)
    items = tuple(
        _item(artifact, ranking.order(sources.origins(settings, artifact)))
        for artifact in artifacts
    )
    ranking.note()
    return {
        "folder": holdings.folder(version),
        "items": items,
        "digests": _digests(session, version, artifacts),
    }


def _copy(
    session: Session, settings: CentreSettings, transfer: Transfer, attempt: Attempt
) -> dict[str, object]:
    shard, target = session.get_one(Shard, transfer.shard_id), transfer.target_id
    folder = holdings.folder(session.get_one(Version, shard.version_id))
    copies = sources.copies(session, shard, target)
    arrivals = sources.arrivals(session, shard, target)
    swarm = sources.swarm(session, settings, shard, target)
    ranking = sources.Ranking(session, attempt, swarm)
    items = []
    for artifact in holdings.artifacts_of(session, shard.id):
        arrived = [arrivals[artifact.id]] if artifact.id in arrivals else []
        fleets = [
            Source(url=sources.url_at(read_url, folder, artifact.path), site=site)
            for site, read_url in dict([*copies.items(), *arrived]).items()
        ]
        ranked = ranking.order([*fleets, *sources.origins(settings, artifact)])
        items.append(_item(artifact, ranked))
    ranking.note()
    return {
        "folder": folder,
        "shard": shard.id,
        "items": tuple(items),
        "digests": ("sha256", "pieces") if shard.infohash is None else ("sha256",),
        "piece_length": shard.piece_length,
        "known": _known(shard),
    }


def _verify(
    session: Session, settings: CentreSettings, transfer: Transfer, attempt: Attempt
) -> dict[str, object]:
    """Have every file read where it lies, and mended from the torrent where others seed it."""
    shard = session.get_one(Shard, transfer.shard_id)
    folder = holdings.folder(session.get_one(Version, shard.version_id))
    layout = alias_checks.layout_for(session, transfer.id)
    swarm = sources.swarm(session, settings, shard, transfer.target_id) if not layout else None
    ranking = sources.Ranking(session, attempt, swarm)
    mending = ranking.order(())
    ranking.note()
    items = tuple(_item(one, mending) for one in holdings.artifacts_of(session, shard.id))
    details: dict[str, object] = {"folder": folder, "shard": shard.id, "items": items}
    if layout is None:
        return details
    return details | {
        "items": tuple(
            item.model_copy(update={"offset": layout.offsets[f"{folder}/{item.path}"]})
            for item in items
        ),
        "digests": ("sha256", "pieces", "bep52") if layout.hybrid else ("sha256", "pieces"),
        "piece_length": layout.piece_length,
        "stream": layout.size,
    }


def _probe(session: Session, transfer: Transfer) -> dict[str, object]:
    """Choose one artifact of one replica at the target, and a part of it whose hash is known."""
    target = session.get_one(Site, transfer.target_id)
    held = session.exec(
        select(Replica.shard_id).where(
            Replica.site_id == target.id,
            col(Replica.state).in_((ReplicaState.AVAILABLE, ReplicaState.SUSPECT)),
        )
    ).all()
    transfer.shard_id = None
    if not held:
        return {}
    shard = session.get_one(Shard, random.choice(held))  # noqa: S311 - sampling, not a secret
    version = session.get_one(Version, shard.version_id)
    artifact = random.choice(holdings.artifacts_of(session, shard.id))  # noqa: S311
    sample = _sample(session, shard, artifact)
    if sample is None:
        return {}
    transfer.shard_id = shard.id  # whose replica the outcome will speak of
    folder = holdings.folder(version)
    source = Source(url=sources.url_at(target.read_url, folder, artifact.path), site=target.id)
    item = _item(artifact, (source,)).model_copy(update={"sample": sample})
    return {"folder": folder, "shard": shard.id, "items": (item,)}


def _sample(session: Session, shard: Shard, artifact: Artifact) -> Sample | None:
    size = artifact.size or 0
    if size <= _SAMPLE_MOST:
        return Sample(start=0, length=size, sha256=artifact.sha256)
    if artifact.layer is not None and artifact.piece_length is not None:
        number = random.randrange(size // artifact.piece_length)  # noqa: S311 - sampling
        return Sample(
            start=number * artifact.piece_length,
            length=artifact.piece_length,
            bep52=layers.piece(session, artifact, number),
        )
    offset, length = artifact.offset or 0, shard.piece_length
    first, last = -(-offset // length), (offset + size) // length
    blob = session.get(Blob, shard.pieces) if shard.pieces else None
    if blob is None or first >= last:
        return None
    piece = random.randrange(first, last)  # noqa: S311 - sampling, not a secret
    digest = blob.data[piece * 20 : piece * 20 + 20].hex()
    return Sample(start=piece * length - offset, length=length, sha1=digest)


def _item(artifact: Artifact, ranked: tuple[Source, ...] = ()) -> Item:
    return Item(
        artifact=artifact.id,
        path=artifact.path,
        size=artifact.size,
        sha256=artifact.sha256,
        md5=artifact.md5,
        offset=artifact.offset,
        sources=ranked,
    )


def _digests(
    session: Session, version: Version, artifacts: Iterable[Artifact]
) -> tuple[Digest, ...]:
    """Ask for md5, the slowest, only where one was published or the rule's sites want it."""
    if any(one.md5 for one in artifacts) or _md5_wanted(session, version):
        return ("sha256", "pieces", "bep52", "md5")
    return ("sha256", "pieces", "bep52")


def _md5_wanted(session: Session, version: Version) -> bool:
    rule = facts.rule_of(session, version.dataset_id)
    sites = session.exec(select(Site).where(col(Site.retired).is_(False))).all()
    return rule is not None and wants_md5(facts.rule(rule), map(facts.site, sites))


def _known(shard: Shard) -> BlobRef | None:
    """Name the piece hashes of a sealed shard of one artifact: they prove each piece at once."""
    if shard.infohash is None or shard.pieces is None or shard.files != 1:
        return None
    size = piece_count(shard.size, shard.piece_length) * DIGEST_BYTES
    return BlobRef(sha256=shard.pieces, size=size)
