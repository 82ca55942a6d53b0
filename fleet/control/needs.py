"""Which providers a waiting transfer would need, and whether they have room for it.

A few of its files stand for all: those of one transfer come from the same places.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.control import sources, swarms
from fleet.control.budgets import Books
from fleet.importers import CENTRE
from fleet.planning.facts import Wait
from fleet.planning.providers import host_of
from fleet.planning.sources import unreachable
from fleet.planning.states import ArtifactState, TransferKind
from fleet.store import contents
from fleet.store.tables import Artifact, Shard, Transfer

_LOOKED_AT = 20
_INGESTED = (
    select(Artifact)
    .where(Artifact.ingest_id == bindparam("ingest"), Artifact.state == ArtifactState.EXPECTED)
    .order_by(col(Artifact.path))
    .limit(_LOOKED_AT)
)
_COPIED = (
    select(Artifact)
    .where(Artifact.shard_id == bindparam("shard"))
    .order_by(col(Artifact.id))
    .limit(_LOOKED_AT)
)


@dataclass(frozen=True, slots=True)
class Need:
    """The providers that a transfer will read from, or what it waits for."""

    providers: tuple[str, ...] = ()
    wait: Wait | None = None


def of(session: Session, transfer: Transfer, books: Books) -> Need:
    """Say which providers a transfer needs; it waits while it could have no file from anybody."""
    match transfer.kind:
        case TransferKind.INGEST:
            found = session.exec(_INGESTED, params={"ingest": transfer.id}).all()
            return _need([_hosts(one) for one in found], books)
        case TransferKind.COPY:
            return _of_copy(session, transfer, books)
        case _:
            return Need()


def _of_copy(session: Session, transfer: Transfer, books: Books) -> Need:
    shard = session.get_one(Shard, transfer.shard_id)
    readings = sources.copies(session, shard, transfer.target_id).values()
    copies = [host_of(one.root) for one in readings]
    if any(books.of(host) is None for host in copies):
        return Need()
    arrivals = sources.arrivals(session, shard, transfer.target_id)
    found = session.exec(_COPIED, params={"shard": shard.id}).all()
    arrived = {one: [host_of(at.root)] for one, (_, at) in arrivals.items()}
    here = _here(session, shard, transfer.target_id)
    need = _need(
        [[*copies, *arrived.get(one.id, ()), *_hosts(one)] for one in found if one.id not in here],
        books,
    )
    if need.wait is None or shard.infohash is None:
        return need
    around, _ = swarms.around(session, shard.infohash, transfer.target_id)
    return need if unreachable(around) else Need()


def _here(session: Session, shard: Shard, target: str) -> set[str]:
    """Return a shard's artifacts that lie at a site since they came from their origins."""
    if shard.infohash is not None:
        return set()
    places = contents.ingest_sites(session, shard.id)
    return {one for one, site in places.items() if site == target}


def _need(files: Sequence[Sequence[str]], books: Books) -> Need:
    """Say what files are in need of, by the hosts that each can be had from."""
    names: set[str] = set()
    waits: list[Wait] = []
    for hosts in files:
        limited = [books.of(host) for host in hosts]
        if not limited or None in limited:
            return Need(tuple(sorted(names)))
        closed = [(one, books.wait(one)) for one in limited if one is not None]
        names.update([one.name for one, wait in closed if wait is None][:1])
        waits += [wait for _, wait in closed if wait is not None]
    if names or not waits:
        return Need(tuple(sorted(names)))
    return Need(wait=min(waits, key=lambda wait: (wait.until is None, wait.until)))


def _hosts(artifact: Artifact) -> list[str]:
    """List the hosts that an artifact is had from; the centre, which nobody limits, has no name."""
    return ["" if one.startswith(CENTRE) else host_of(one) for one in artifact.origins]
