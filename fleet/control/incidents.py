"""Incidents of sites as a whole: when one begins, and which are open.

Rules this module keeps:

- One begins in the same unit of work as the doubt that was one too many, so that what is said of
  the site's other copies in the same breath makes no work of its own.
- While it is ``sampling``, nothing is done about the site's copies but reading the samples.
- What was not read since it began does not count as a good copy.
"""

from collections.abc import Mapping
from datetime import datetime

import structlog
from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from fleet.planning import health
from fleet.store import faults, fixity
from fleet.store.tables import Incident

SAMPLING, CONDEMNED, READING, ENDING = "sampling", "condemned", "reading", "ending"
_log = structlog.get_logger()


_JUDGED = select(Incident).where(faults.judged())
_OPEN = select(Incident).where(col(Incident.ended_at).is_(None))
_OF = _JUDGED.where(Incident.site_id == bindparam("site"))


def judged(session: Session) -> Mapping[str, Incident]:
    """Map the sites that are at fault as a whole to their incidents."""
    return {row.site_id: row for row in session.exec(_JUDGED).all()}


def reasons(session: Session) -> Mapping[str, str]:
    """Map the sites with an incident of any kind to what is wrong with them."""
    return {row.site_id: row.reason for row in session.exec(_OPEN).all()}


def of(session: Session, site: str) -> Incident | None:
    """Return the incident of a site as a whole, if one is open."""
    return session.exec(_OF, params={"site": site}).first()


def sampling(session: Session, site: str) -> bool:
    """Whether it is not known yet if a site is at fault as a whole."""
    incident = of(session, site)
    return incident is not None and incident.stage == SAMPLING


def begins(session: Session, site: str, now: datetime) -> bool:
    """Open an incident of a site as a whole if a copy was one too many to be found wrong there.

    That copy's ``troubled_at`` is set already.
    """
    if of(session, site) is not None:
        return False
    session.flush()
    troubles = fixity.troubles(session, site, health.MANY)
    if len(troubles) < health.MANY:
        return False
    right = fixity.read_right(session, site, troubles[-1], health.enough_right() + 1)
    reason = health.judge(site, troubles, right, now)
    if not reason:
        return False
    session.add(
        Incident(
            site_id=site,
            kind=faults.JUDGED,
            reason=reason,
            began_at=now,
            stage=SAMPLING,
            look_at=now + health.PATIENCE,
        )
    )
    session.flush()
    _log.warning("a site is at fault as a whole", site=site, reason=reason)
    return True
