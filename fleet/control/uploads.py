"""What a site may upload, as its line in the sites file says, and what its seeder says it did."""

from sqlmodel import Session

from fleet.messages import UploadCaps, UploadReport
from fleet.planning.uploads import size
from fleet.store.database import Store
from fleet.store.tables import Site, Uploading


def caps(session: Session, site: str) -> UploadCaps:
    """Return a site's caps."""
    return UploadCaps.model_validate(session.get_one(Site, site).upload)


def report(store: Store, site: str, told: UploadReport) -> None:
    """Keep what a site's seeder says of its uploads."""
    with store.write() as session:
        session.merge(Uploading(site_id=site, at=store.now(session), **told.model_dump()))


def in_words(row: Uploading) -> str:
    """Tell what was sent of what may be sent, and why no more is."""
    sent = "an unknown count" if row.sent is None else size(row.sent)
    cap = "" if row.bytes_per_month is None else f" of {size(row.bytes_per_month)}"
    return f"{sent}{cap} sent in {row.month}, {row.at:%Y-%m-%d %H:%M} UTC; {row.reason}"
