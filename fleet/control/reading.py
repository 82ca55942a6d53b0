"""How the copies of a version are read at the sites that hold them (see ``planning.reading``)."""

from collections.abc import Iterable

from sqlmodel import Session, col, select

from fleet.planning.reading import ITEMS, RECORDS, Reading
from fleet.planning.states import PublicationState
from fleet.store.tables import Publication, Site


def of(session: Session, version: str, sites: Iterable[Site]) -> dict[str, Reading]:
    """Map sites to how they are read for a version, without those that are not."""
    found = list(sites)
    repositories = [site.id for site in found if site.driver == RECORDS]
    records = _records(session, version, repositories) if repositories else {}
    return {
        site.id: at(site, records.get(site.id, ""))
        for site in found
        if site.read_url and (site.driver != RECORDS or site.id in records)
    }


def at(site: Site, record: str = "") -> Reading:
    """Say how a site is read; a repository is by a version's record."""
    name = site.store["prefix"] if site.driver == ITEMS else record
    return Reading(site.driver, site.read_url, name)


def _records(session: Session, version: str, sites: Iterable[str]) -> dict[str, str]:
    """Map repositories to the records that hold a version's data, published for all to read."""
    rows = select(Publication.site_id, Publication.record).where(
        Publication.version_id == version,
        col(Publication.site_id).in_(sites),
        Publication.state == PublicationState.PUBLISHED,
        col(Publication.whole).is_(True),
    )
    return dict(session.exec(rows).all())
