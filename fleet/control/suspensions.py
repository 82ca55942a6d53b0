"""What an admin may do about a suspended transfer."""

from sqlmodel import col, select

from fleet.control.errors import NotFoundError, RefusedError
from fleet.planning.states import ArtifactState, TransferKind, TransferState, VersionState
from fleet.store import transfers
from fleet.store.database import Store
from fleet.store.tables import Artifact, Transfer, Version


def retry(store: Store, transfer_id: str) -> str:
    """Let a suspended transfer be tried again from its first attempt; return the new reason.

    Raises:
        NotFoundError: there is no such transfer.
        RefusedError: it is not suspended, or its version is final already.
    """
    with store.write() as session:
        if session.get(Transfer, transfer_id) is None:
            raise NotFoundError(f"there is no transfer {transfer_id!r}")
        transfer = transfers.lock(session, transfer_id)
        if transfer.state != TransferState.SUSPENDED:
            raise RefusedError(f"transfer {transfer_id} is {transfer.state}, not suspended")
        if transfer.kind == TransferKind.INGEST:
            version = session.get_one(Version, transfer.version_id)
            if version.state != VersionState.DRAFT:
                raise RefusedError(
                    f"{version.dataset_id} {version.label} was published without these files and "
                    "never changes; mirror the dataset again for a version that has them"
                )
            for artifact in session.exec(
                select(Artifact).where(
                    Artifact.ingest_id == transfer_id, col(Artifact.state) == ArtifactState.EXCLUDED
                )
            ).all():
                artifact.state = ArtifactState.EXPECTED
        transfer.state, transfer.attempts, transfer.not_before = TransferState.WAITING, 0, None
        transfer.ended_at, transfer.reason = None, "an admin let it be tried again"
        return transfer.reason
