"""Orders: what a worker is given with its claim."""

from collections.abc import Iterable
from datetime import datetime

from sqlmodel import Session, col, select

from fleet.control import alias_checks, deposits, facts, grants, samples, served, sources
from fleet.control.ranking import Ranking
from fleet.messages import BlobRef, Budget, Digest, Item, Order, Source
from fleet.planning.digests import wants_md5
from fleet.planning.states import TASKS, TransferKind
from fleet.settings import CentreSettings
from fleet.store import contents, drafting, versioning
from fleet.store.tables import (
    Artifact,
    Attempt,
    Shard,
    Site,
    Transfer,
    Version,
)
from fleet.torrent.pieces import DIGEST_BYTES, piece_count

Details = dict[str, object]
Places = list[dict[str, str]]


def build(
    session: Session,
    settings: CentreSettings,
    transfer: Transfer,
    attempt: Attempt,
    budget: Budget,
) -> tuple[Order, Places]:
    """Write the Order of a claimed attempt; give the places of its ranked sources with it."""
    order = Order(
        attempt=attempt.id,
        fence=attempt.fence or 0,
        task=TASKS[transfer.kind],
        site=attempt.site_id,
        lease_seconds=settings.lease_seconds,
        alone_from=settings.alone_from,
        max_bytes=settings.max_artifact_bytes,
        budget=budget,
    )
    places: Places = []
    match transfer.kind:
        case TransferKind.INGEST:
            details, places = _ingest(session, settings, transfer, attempt)
        case TransferKind.COPY:
            details, places = _copy(session, settings, transfer, attempt)
        case TransferKind.VERIFY:
            details, places = _verify(session, settings, transfer, attempt)
        case TransferKind.DROP:
            details = _drop(session, transfer)
        case TransferKind.SWITCH:
            details = {"latest": served.wanted(session, transfer)}
        case TransferKind.PUBLISH:
            details, places = _publish(session, settings, transfer, attempt)
        case _:
            target = session.get_one(Site, transfer.target_id)
            items = samples.choose(session, target)
            details, places = {"items": items}, samples.places(items)
    if transfer.target_id != attempt.site_id and transfer.kind != TransferKind.PROBE:
        details["grant"] = grants.grant(
            session, settings, transfer, attempt.site_id, _when(attempt)
        )
    return order.model_copy(update=details), places


def _ingest(
    session: Session, settings: CentreSettings, transfer: Transfer, attempt: Attempt
) -> tuple[Details, Places]:
    version = session.get_one(Version, transfer.version_id)
    artifacts = drafting.ingested_by(session, transfer.id)
    ranking = Ranking(session, attempt.site_id, _when(attempt))
    items = tuple(
        _item(artifact, ranking.order(sources.origins(settings, artifact)))
        for artifact in artifacts
    )
    details: Details = {
        "folder": versioning.folder(version),
        "items": items,
        "digests": _digests(session, version, artifacts),
    }
    return details, ranking.places


def _copy(
    session: Session, settings: CentreSettings, transfer: Transfer, attempt: Attempt
) -> tuple[Details, Places]:
    shard, target = session.get_one(Shard, transfer.shard_id), transfer.target_id
    folder = versioning.folder(session.get_one(Version, shard.version_id))
    swarm = sources.swarm(session, settings, shard, target)
    ranking = Ranking(session, attempt.site_id, _when(attempt), swarm)
    items = _items(session, settings, shard, target, ranking, folder)
    details: Details = {
        "folder": folder,
        "shard": shard.id,
        "items": items,
        "digests": ("sha256", "pieces") if shard.infohash is None else ("sha256",),
        "piece_length": shard.piece_length,
        "known": _known(shard),
    }
    return details, ranking.places


def _items(
    session: Session,
    settings: CentreSettings,
    shard: Shard,
    target: str,
    ranking: Ranking,
    folder: str,
) -> tuple[Item, ...]:
    """Say of each file of a shard where its bytes are had, best first."""
    copies = sources.copies(session, shard, target)
    arrivals = sources.arrivals(session, shard, target)
    items = []
    for artifact in contents.artifacts_of(session, shard.id):
        arrived = [arrivals[artifact.id]] if artifact.id in arrivals else []
        fleets = [
            Source(url=at.url(folder, artifact.path), site=site)
            for site, at in dict([*copies.items(), *arrived]).items()
        ]
        ranked = ranking.order([*fleets, *sources.origins(settings, artifact)])
        items.append(_item(artifact, ranked))
    return tuple(items)


def _publish(
    session: Session, settings: CentreSettings, transfer: Transfer, attempt: Attempt
) -> tuple[Details, Places]:
    """Have all data of a version brought to where its record is to have them."""
    version = session.get_one(Version, transfer.version_id)
    folder, ranking = versioning.folder(version), Ranking(session, attempt.site_id, _when(attempt))
    data = deposits.data_of(session, version)
    wanted = {one.id for one in data}
    items = [
        item
        for name in sorted({one.shard_id or "" for one in data})
        for item in _items(
            *(session, settings, session.get_one(Shard, name)),
            *(transfer.target_id, ranking, folder),
        )
        if item.artifact in wanted
    ]
    details: Details = {"folder": folder, "items": tuple(items), "digests": ("sha256", "md5")}
    return details, ranking.places


def _verify(
    session: Session, settings: CentreSettings, transfer: Transfer, attempt: Attempt
) -> tuple[Details, Places]:
    """Have every file read where it lies, and mended from the torrent where others seed it."""
    shard = session.get_one(Shard, transfer.shard_id)
    folder = versioning.folder(session.get_one(Version, shard.version_id))
    layout = alias_checks.layout_for(session, transfer.id)
    target = transfer.target_id
    swarm = None if layout else sources.swarm(session, settings, shard, target, mending=True)
    ranking = Ranking(session, attempt.site_id, _when(attempt), swarm)
    mending = ranking.order(())
    items = tuple(_item(one, mending) for one in contents.artifacts_of(session, shard.id))
    details: Details = {"folder": folder, "shard": shard.id, "items": items}
    if layout is None:
        return details, ranking.places
    laid_out: Details = {
        "items": tuple(
            item.model_copy(update={"offset": layout.offsets[f"{folder}/{item.path}"]})
            for item in items
        ),
        "digests": ("sha256", "pieces", "bep52") if layout.hybrid else ("sha256", "pieces"),
        "piece_length": layout.piece_length,
        "stream": layout.size,
    }
    return details | laid_out, ranking.places


def _when(attempt: Attempt) -> datetime:
    """Return when an attempt was claimed, as its order is written just after."""
    return attempt.claimed_at or attempt.announced_at


def _drop(session: Session, transfer: Transfer) -> Details:
    """Name the files of one shard; no other shard's lie at their paths, whatever its version."""
    shard = session.get_one(Shard, transfer.shard_id)
    folder = versioning.folder(session.get_one(Version, shard.version_id))
    items = tuple(_item(one) for one in contents.artifacts_of(session, shard.id))
    return {"folder": folder, "shard": shard.id, "items": items}


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


_SITES = select(Site).where(col(Site.retired).is_(False))


def _md5_wanted(session: Session, version: Version) -> bool:
    rule = facts.rule_of(session, version.dataset_id)
    sites = session.exec(_SITES).all()
    return rule is not None and wants_md5(facts.rule(rule), map(facts.site, sites))


def _known(shard: Shard) -> BlobRef | None:
    """Name the piece hashes of a sealed shard of one artifact: they prove each piece at once."""
    if shard.infohash is None or shard.pieces is None or shard.files != 1:
        return None
    size = piece_count(shard.size, shard.piece_length) * DIGEST_BYTES
    return BlobRef(sha256=shard.pieces, size=size)
