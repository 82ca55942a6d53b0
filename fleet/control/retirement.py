"""Retiring a site: what it holds counts no more, and its work goes to others."""

from datetime import datetime

from sqlmodel import Session

from fleet.control import incidents, probes, replicas
from fleet.planning.states import TransferKind, TransferState
from fleet.store import holdings, transfers
from fleet.store.tables import Version


def retire(session: Session, site: str, now: datetime) -> None:
    """Take a site out of everything, in one unit of work; nothing on its disks is touched."""
    for transfer in transfers.of_site(session, site):
        transfers.withdraw_announced(session, transfer.id)
        if transfer.kind == TransferKind.PROBE and transfer.target_id != site:
            probes.rearm(session, transfer, now)
            continue
        transfer.state, transfer.ended_at = TransferState.CANCELLED, now
        transfer.reason = f"{site} was retired"
        if transfer.kind == TransferKind.INGEST and transfer.version_id:
            for artifact in holdings.ingested_by(session, transfer.id):
                artifact.ingest_id = None
        if transfer.version_id:
            holdings.lock(session, Version, transfer.version_id).dirty = True
    replicas.retire(session, site, now)
    incident = incidents.of(session, site)
    if incident is not None:
        incident.ended_at, incident.look_at = now, None
