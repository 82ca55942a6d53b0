"""A fleet that holds many shards, put into the store as they would be after they were mirrored."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from fleet.control import replicas
from fleet.control.sealing import seal
from fleet.messages import BlobRef
from fleet.planning.fixity import due
from fleet.store.database import Store
from fleet.store.tables import (
    Artifact,
    Blob,
    Dataset,
    Incident,
    Replica,
    Rule,
    Shard,
    Transfer,
    Version,
)
from fleet.torrent.pieces import PieceHasher
from tests.centre_support import Centre, content


def hold(
    centre: Centre, count: int, sites: Sequence[str], *, copies: int | None = None, least: int = 1
) -> list[str]:
    """Have ``count`` shards of one file each at every one of ``sites``; return them, by id."""
    age = timedelta(days=centre.settings.fixity_days)
    with centre.store.write() as session:
        now = centre.store.now(session)
        session.add(Dataset(id="held", created_at=now))
        session.flush()
        session.add(Rule(dataset_id="held", copies=copies, min_copies=least))
        version = Version(dataset_id="held", label="1", state="published", created_at=now)
        session.add(version)
        session.flush()
        shards = [_shard(version.id, number) for number in range(count)]
        session.add_all(shard for shard, _ in shards)
        session.flush()
        session.add_all(artifact for _, artifact in shards)
        session.flush()
        for shard, artifact in shards:
            _seal(session, shard, artifact.path, now)
            for site in sites:
                row = _replica(shard.id, site, min(len(sites), 4), now)
                row.look_at = due(row.id, now, age)
                session.add(row)
    centre.advance(3600)
    return [shard.id for shard, _ in shards]


def _shard(version: str, number: int) -> tuple[Shard, Artifact]:
    path = f"{number:05}.csv"
    size, sha256 = len(content(path)), hashlib.sha256(content(path)).hexdigest()
    shard = Shard(
        version_id=version, position=number, size=size, files=1, piece_length=2**18, dirty=False
    )
    known = {"state": "known", "size": size, "sha256": sha256}
    artifact = Artifact(version_id=version, path=path, shard_id=shard.id, offset=0, **known)
    return shard, artifact


def _seal(session: Session, shard: Shard, path: str, now: datetime) -> None:
    hasher = PieceHasher(shard.piece_length)
    hasher.update(content(path))
    data = hasher.finish()
    ref = BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    session.add(Blob(sha256=ref.sha256, data=data, created_at=now))
    session.flush()
    assert seal(session, shard, ref) == ""


def _replica(shard: str, site: str, risk: int, now: datetime) -> Replica:
    return Replica(
        shard_id=shard,
        site_id=site,
        state="available",
        reason="put there by the test",
        risk=risk,
        arrived_at=now,
        verified_at=now,
    )


def doubt(centre: Centre, site: str, shards: Sequence[str], reason: str = "gone") -> None:
    """Say of copies at a site, in one breath, that they are at fault."""
    with centre.store.write() as session:
        now = centre.store.now(session)
        for shard in shards:
            replicas.doubt(session, shard, site, reason, now)


def incidents(store: Store) -> list[Incident]:
    """All incidents of sites as a whole."""
    with store.read() as session:
        return list(session.exec(select(Incident).where(Incident.kind == "judged")).all())


def moved(centre: Centre) -> list[Transfer]:
    """All transfers but probes."""
    return [one for one in centre.transfers() if one.kind != "probe"]


def states(store: Store, site: str) -> dict[str, str]:
    """Map shards to the states of their copies at a site."""
    with store.read() as session:
        rows = session.exec(select(Replica).where(col(Replica.site_id) == site)).all()
        return {row.shard_id: row.state for row in rows}
