"""What people are shown of publications: the records of a version, and what each waits for."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from fleet.control import deposits
from fleet.control.causes import Cause
from fleet.planning.states import PublicationState
from fleet.store.tables import Publication, Site, Transfer, Version

_ENDED = (PublicationState.PUBLISHED, PublicationState.REFUSED)


@dataclass(frozen=True)
class PublicationLine:
    """A version at a repository; ``url`` is its record's, once that is published.

    ``whole`` says whether the data are in it, and not only what leads to them.
    """

    id: str
    dataset: str
    version: str
    site: str
    state: str
    doi: str
    url: str
    whole: bool | None
    reason: str
    look_at: datetime | None
    published_at: datetime | None

    @property
    def settled(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self.state in _ENDED


def of_version(session: Session, version: str) -> list[PublicationLine]:
    """Tell of a version's publications, by site."""
    rows = session.exec(
        select(Publication, Version, Site)
        .join(Version, col(Version.id) == col(Publication.version_id))
        .join(Site, col(Site.id) == col(Publication.site_id))
        .where(Publication.version_id == version)
        .order_by(col(Publication.site_id))
    ).all()
    return [_line(session, *row) for row in rows]


def causes(session: Session, rows: Iterable[Publication]) -> list[Cause]:
    """Tell what publications wait for."""
    found = []
    for row in rows:
        version = session.get_one(Version, row.version_id)
        name = f"publication {row.id} of {version.dataset_id} {version.label} at {row.site_id}"
        doi = f"; DOI {row.doi}" if row.doi else ""
        again = _again(session, row)
        found.append(Cause(name, row.state, row.reason + doi, again, row.published_at))
    return found


def rows_of(
    session: Session, *, version: str = "", site: str = "", limit: int = 20
) -> list[Publication]:
    """Return the publications of a version, or those at a site that were not published yet."""
    asked = select(Publication).order_by(col(Publication.id)).limit(limit)
    if version:
        asked = asked.where(Publication.version_id == version)
    if site:
        asked = asked.where(
            Publication.site_id == site, Publication.state != PublicationState.PUBLISHED
        )
    return list(session.exec(asked).all())


def _line(session: Session, row: Publication, version: Version, site: Site) -> PublicationLine:
    done = row.state == PublicationState.PUBLISHED
    endpoint = deposits.place(site).endpoint
    return PublicationLine(
        id=row.id,
        dataset=version.dataset_id,
        version=version.label,
        site=row.site_id,
        state=row.state,
        doi=row.doi,
        url=f"{endpoint}/records/{row.record}" if done else "",
        whole=row.whole,
        reason=row.reason,
        look_at=_again(session, row),
        published_at=row.published_at,
    )


def _again(session: Session, row: Publication) -> datetime | None:
    """Say when a publication is looked at again: one that is filled, when its transfer is."""
    if row.state == PublicationState.FILLING and row.transfer_id is not None:
        return session.get_one(Transfer, row.transfer_id).not_before
    return row.look_at
