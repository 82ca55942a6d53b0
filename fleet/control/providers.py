"""Providers in the store: what Fleet knows of them, as changed by the sites file."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, delete, select

from fleet.planning.budgets import Strain
from fleet.planning.providers import DEFAULTS, ProviderFacts, named
from fleet.planning.states import AttemptState
from fleet.store.tables import Attempt, Provider, Slice

_KNOWN = {one.name: one for one in DEFAULTS}
_FIGURES = ("hosts", "requests_per_minute", "bytes_per_5_minutes", "streams", "weight", "source")


def known(name: str) -> bool:
    """Whether Fleet knows a provider by itself."""
    return name in _KNOWN


_EVERY = select(Provider).order_by(Provider.name)


def every(session: Session) -> list[ProviderFacts]:
    """Return all providers whose budgets are shared."""
    return [facts(row) for row in session.exec(_EVERY).all()]


def facts(row: Provider) -> ProviderFacts:
    """Return what may be asked of a provider."""
    return ProviderFacts(row.name, tuple(row.hosts), *(getattr(row, one) for one in _FIGURES[1:]))


def strain(row: Provider) -> Strain:
    """Return how a provider takes what is asked of it."""
    return Strain(row.factor, row.strained_at, row.rests_until, row.reason)


def note(row: Provider, strained: Strain) -> None:
    """Keep how a provider takes what is asked of it."""
    row.factor, row.strained_at = strained.factor, strained.at
    row.rests_until, row.reason = strained.rests_until, strained.reason


def apply(session: Session, said: Mapping[str, Mapping[str, Any]], now: datetime) -> list[str]:
    """Make the store's providers what Fleet knows and a sites file says; return the changes.

    Args:
        session: the unit of work.
        said: by provider, the figures that the file gives.
        now: the time.
    """
    rows = {row.name: row for row in session.exec(select(Provider)).all()}
    changes: list[str] = []
    for name in sorted(_KNOWN.keys() | said.keys()):
        wanted = _figures(name) | dict(said.get(name, {}))
        wanted["hosts"] = list(wanted["hosts"])
        row = rows.pop(name, None)
        if row is None:
            session.add(row := Provider(**wanted))
            _rest(session, row, now)
            if name in said:
                changes.append(f"provider {name}: added")
            continue
        changed = [one for one in _FIGURES if getattr(row, one) != wanted[one]]
        for one in changed:
            setattr(row, one, wanted[one])
        if "hosts" in changed:
            _rest(session, row, now)
        if changed:
            changes.append(f"provider {name}: {', '.join(changed)} changed")
    for row in rows.values():
        session.exec(delete(Slice).where(col(Slice.provider) == row.name))
        session.delete(row)
        changes.append(f"provider {row.name}: not in the file, its limits are lifted")
    return changes


def _figures(name: str) -> dict[str, Any]:
    usual = _KNOWN.get(name, ProviderFacts(name, ()))
    return {"name": name} | {one: getattr(usual, one) for one in _FIGURES}


def _rest(session: Session, row: Provider, now: datetime) -> None:
    """Leave a provider alone until every attempt that may use it unbooked has heard, or ended."""
    holders = session.exec(
        select(Attempt).where(Attempt.state == AttemptState.RUNNING, col(Attempt.lease_until) > now)
    ).all()
    ends = [
        one.lease_until
        for one in holders
        if one.lease_until and any(named(place["host"], [facts(row)]) for place in one.sources)
    ]
    if ends:
        row.rests_until = max([*ends, row.rests_until or now])
        row.reason = "attempts that began before its budget was known still use it"
