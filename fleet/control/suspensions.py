"""What an admin may do about a suspended transfer."""

from sqlmodel import Session, col, select

from fleet.control import manifests
from fleet.control.errors import NotFoundError, RefusedError
from fleet.planning.states import ArtifactState, TransferKind, TransferState, VersionState
from fleet.store import locking, transfers
from fleet.store.database import Store
from fleet.store.tables import Artifact, Transfer, Version


def retry(store: Store, transfer_id: str) -> str:
    """Let a suspended transfer be tried again from its first attempt; return the new reason.

    Raises:
        NotFoundError: there is no such transfer.
        RefusedError: it is not suspended, or its version goes on without its files already.
    """
    with store.write() as session:
        if session.get(Transfer, transfer_id) is None:
            raise NotFoundError(f"there is no transfer {transfer_id!r}")
        transfer = transfers.lock(session, transfer_id)
        if transfer.state != TransferState.SUSPENDED:
            raise RefusedError(f"transfer {transfer_id} is {transfer.state}, not suspended")
        if transfer.kind == TransferKind.PUBLISH:
            raise RefusedError(
                f"transfer {transfer_id} fills a record's draft: ask again for the whole with "
                f"`fleet publish {transfer.version_id}`"
            )
        if transfer.kind == TransferKind.INGEST:
            _check_open(session, transfer)
            for artifact in session.exec(
                select(Artifact).where(
                    Artifact.ingest_id == transfer_id, col(Artifact.state) == ArtifactState.EXCLUDED
                )
            ).all():
                artifact.state = ArtifactState.EXPECTED
        transfer.state, transfer.attempts, transfer.not_before = TransferState.WAITING, 0, None
        transfer.ended_at, transfer.reason = None, "an admin let it be tried again"
        return transfer.reason


def _check_open(session: Session, ingest: Transfer) -> None:
    """Refuse unless files may still be added to the version that an ingest is for."""
    version = locking.lock(session, Version, ingest.version_id)
    if version.state == VersionState.DRAFT and manifests.is_due(session, version.id):
        return
    done = "being cut into shards" if version.state == VersionState.DRAFT else "published"
    raise RefusedError(
        f"{version.dataset_id} {version.label} is {done} without these files and takes no more; "
        "mirror the dataset again for a version that has them"
    )
