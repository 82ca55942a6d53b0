"""Gateways: which sites each fronts, and which of them go with what they front."""

from collections.abc import Sequence

from sqlmodel import Session, select

from fleet.planning import spread
from fleet.store.tables import Site

_SITES = select(Site)


def fronted(session: Session) -> dict[str, frozenset[str]]:
    """Map each gateway to all the sites that it fronts."""
    return fronted_of(session.exec(_SITES).all())


def gone(session: Session) -> dict[str, str]:
    """Map gateways to a site that each fronts and that is retired, or is to be, if any is."""
    return gone_of(session.exec(_SITES).all())


def fronted_of(rows: Sequence[Site]) -> dict[str, frozenset[str]]:
    """Map each gateway among all sites to those that it fronts."""
    return spread.behind({row.id: row.fronts for row in rows})


def gone_of(rows: Sequence[Site]) -> dict[str, str]:
    """Map the gateways among all sites that go to one that each goes with."""
    going = {row.id for row in rows if goes(row)}
    return {front: min(sites & going) for front, sites in fronted_of(rows).items() if sites & going}


def goes(row: Site) -> bool:
    """Whether a site is retired, or is to be."""
    return row.retired or row.retiring is not None
