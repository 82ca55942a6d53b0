"""Bulky bytes that travel beside outcomes, kept under their digest."""

from fleet.control.errors import NotFoundError
from fleet.store.database import Store
from fleet.store.tables import Blob


def keep(store: Store, sha256: str, data: bytes) -> None:
    """Keep ``data``, whose digest was checked; keeping it again changes nothing."""
    with store.write() as session:
        if session.get(Blob, sha256) is None:
            session.add(Blob(sha256=sha256, data=data, created_at=store.now(session)))


def read(store: Store, sha256: str) -> bytes:
    """Return the bytes of that digest.

    Raises:
        NotFoundError: they were never kept.
    """
    with store.read() as session:
        blob = session.get(Blob, sha256)
        if blob is None:
            raise NotFoundError(f"there is no blob {sha256[:64]!r}")
        return blob.data
