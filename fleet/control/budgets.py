"""Sharing the budgets of providers: granted with orders and heartbeats, given back with outcomes.

Rules this module keeps:

- The books of a provider are read and written by whoever holds its row, in a unit of work of its
  own; no other row is locked meanwhile.
- Slices are granted for the providers that an attempt needs now: those of each item's best source
  and of the place that it writes to at first, then those that it says it wants.  Of the others
  that it could turn to it is told that they are limited, and so asks before it uses them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from urllib.parse import parse_qs, urlsplit

from sqlalchemy import bindparam, or_
from sqlmodel import Session, col, delete, select

from fleet.control import providers
from fleet.messages import Heartbeat, Order, Outcome, Share, Slice
from fleet.planning import budgets
from fleet.planning.facts import Wait
from fleet.planning.providers import ProviderFacts, host_of, named
from fleet.planning.states import AttemptState
from fleet.settings import CentreSettings
from fleet.store.database import Store
from fleet.store.tables import Attempt, Provider
from fleet.store.tables import Slice as SliceRow

_CLAIM_SECONDS = 10.0  # for so long room is left to an attempt that nobody has claimed yet


def begin(store: Store, settings: CentreSettings, order: Order) -> tuple[Share, ...]:
    """Grant a claimed attempt its first slices of the providers that its order is about."""
    urls = [[one.url for one in item.sources if one.kind == "http"] for item in order.items]
    links = {one.url for item in order.items for one in item.sources if one.kind == "torrent"}
    seeds = [url for link in links for url in parse_qs(urlsplit(link).query).get("ws", ())]
    writes = order.grant.place.addresses if order.grant else ()
    if not (seeds or writes or any(urls)):
        return ()
    with store.read() as session:
        limits = providers.every(session)
    every = _names((host_of(url) for some in [*urls, seeds, writes] for url in some), limits)
    if not every:
        return ()
    first = _names((host_of(url) for url in [*writes, *(some[0] for some in urls if some)]), limits)
    return _share(store, settings, order.attempt, every, first)


_HELD = select(SliceRow.provider).where(SliceRow.attempt_id == bindparam("attempt")).distinct()


def relevant(session: Session, attempt: Attempt, beat: Heartbeat) -> list[str]:
    """Name the providers that a running attempt must hear of."""
    limits = providers.every(session)
    hosts = [place["host"] for place in attempt.sources] + [one.host for one in beat.throttled]
    held = session.exec(_HELD, params={"attempt": attempt.id}).all()
    wanted = {one.name for one in limits} & set(beat.wants)
    return sorted({*_names(hosts, limits), *held, *wanted})


def renew(
    store: Store, settings: CentreSettings, attempt: str, beat: Heartbeat, names: Sequence[str]
) -> tuple[Share, ...]:
    """Grant what a heartbeat asks for, once it was told which hosts find that we ask too much."""
    if not names:
        return ()
    for one in beat.throttled:
        with store.write() as session:
            strain(session, one.host, one.retry_after, store.now(session))
    return _share(store, settings, attempt, names, beat.wants)


_GIVEN_BACK = delete(SliceRow).where(col(SliceRow.attempt_id) == bindparam("attempt"))


def note(session: Session, attempt: Attempt, outcome: Outcome, now: datetime) -> None:
    """Take back the slices of an attempt that has ended, and hear how it was received.

    What its heartbeats told before is not told again: a provider that was strained since the claim
    knows of it.
    """
    told = [one for one in outcome.sources if one.throttled and one.retry_after is not None]
    for one in sorted(told, key=lambda one: _name(session, one.host)):  # so are rows locked
        strain(session, one.host, one.retry_after or 0.0, now, attempt.claimed_at)
    # by the connection: no object has to follow, and most have none
    session.connection().execute(_GIVEN_BACK, {"attempt": attempt.id})


def strain(
    session: Session,
    host: str,
    retry_after: float,
    now: datetime,
    since: datetime | None = None,
) -> None:
    """Shrink the budget of a host's provider, unless it was strained after ``since``."""
    name = _name(session, host)
    if not name:
        return
    row = _lock(session, name)
    if since is not None and row.strained_at is not None and row.strained_at >= since:
        return
    wait = f", and to wait {retry_after:.0f} s" if retry_after else ""
    told = f"{host} said that we ask too much{wait}"
    providers.note(row, budgets.throttled(providers.strain(row), retry_after, now, told))


_PROVIDERS = select(Provider)
_BOOKED = select(SliceRow).where(col(SliceRow.until) > bindparam("now"))


class Books:
    """The books of all providers as they are now, to choose by; no share is granted from them."""

    def __init__(self, session: Session, now: datetime) -> None:
        """Open them when they are first asked for; what others change then they do not know."""
        self._session, self._now = session, now

    @cached_property
    def _rows(self) -> dict[str, Provider]:
        return {row.name: row for row in self._session.exec(_PROVIDERS).all()}

    @cached_property
    def _limits(self) -> list[ProviderFacts]:
        return [providers.facts(row) for row in self._rows.values()]

    @cached_property
    def _slices(self) -> dict[str, list[budgets.Slice]]:
        found: dict[str, list[budgets.Slice]] = {}
        for row in self._session.exec(_BOOKED, params={"now": self._now}).all():
            found.setdefault(row.provider, []).append(_slice(row))
        return found

    def of(self, host: str) -> ProviderFacts | None:
        """Return the provider that a host belongs to."""
        return named(host, self._limits)

    def left(self, provider: ProviderFacts) -> float:
        """Return the part of a provider's budget that nobody uses."""
        booked = self._slices.get(provider.name, [])
        return budgets.left(booked, providers.strain(self._rows[provider.name]), self._now)

    def wait(self, provider: ProviderFacts) -> Wait | None:
        """Say why nobody more may be sent to a provider; None if somebody may."""
        booked = self._slices.get(provider.name, [])
        strained = providers.strain(self._rows[provider.name])
        return budgets.wait_for_room(booked, provider, strained, self._now)

    def expect(self, attempt: str, names: Iterable[str]) -> None:
        """Book that an attempt that was announced will want its part, so that others leave it."""
        for name in names:
            self._session.flush()
            wish = budgets.wish(attempt, self._now, _CLAIM_SECONDS)
            self._session.add(_row(name, wish))
            self._slices.setdefault(name, []).append(wish)


def _share(
    store: Store,
    settings: CentreSettings,
    attempt: str,
    names: Iterable[str],
    wanted: Iterable[str],
) -> tuple[Share, ...]:
    shares, wanted = [], set(wanted)
    for name in sorted(names):
        with store.write() as session:
            row = _lock(session, name)
            share = _grant(store, session, settings, attempt, row, wanted=name in wanted)
            shares.append(share)
    return tuple(shares)


_MINE = col(SliceRow.provider) == bindparam("provider")
_WISH = (col(SliceRow.attempt_id) == bindparam("attempt")) & (col(SliceRow.share) == 0)
_OVER = delete(SliceRow).where(_MINE, or_(col(SliceRow.until) <= bindparam("now"), _WISH))
_BOOKED_OF = select(SliceRow).where(_MINE)


def _grant(
    store: Store,
    session: Session,
    settings: CentreSettings,
    attempt: str,
    row: Provider,
    *,
    wanted: bool,
) -> Share:
    """Book and tell what an attempt may use of a locked provider; its old wish is over."""
    now = store.now(session)
    provider, strained = providers.facts(row), providers.strain(row)
    over = {"provider": row.name, "attempt": attempt, "now": now}
    session.connection().execute(_OVER, over)  # by the connection: no object has to follow
    held_of = session.exec(_BOOKED_OF, params={"provider": row.name}).all()
    booked = [_slice(one) for one in held_of]
    lives = session.get_one(Attempt, attempt).state == AttemptState.RUNNING
    if wanted and lives:
        lease = settings.lease_seconds
        added = budgets.grant(booked, attempt, provider.streams, now, lease)
        session.add_all(_row(row.name, one) for one in added)
        booked += added
    held = [one for one in booked if one.holder == attempt]
    told = tuple(_told(piece, now) for piece in budgets.rates(held, provider, strained, now))
    wait = budgets.wait_for_room(booked, provider, strained, now)
    reason = wait.reason if wait and not told else ""
    return Share(provider=row.name, hosts=provider.hosts, slices=told, reason=reason)


def _told(piece: budgets.Rates, now: datetime) -> Slice:
    return Slice(
        begins=max(0.0, (piece.starts - now).total_seconds()),
        ends=(piece.until - now).total_seconds(),
        requests_per_second=piece.requests_per_second,
        bytes_per_second=piece.bytes_per_second,
        streams=piece.streams,
    )


def _lock(session: Session, name: str) -> Provider:
    return session.exec(
        select(Provider)
        .where(Provider.name == name)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def _name(session: Session, host: str) -> str:
    provider = named(host, providers.every(session))
    return "" if provider is None else provider.name


def _names(hosts: Iterable[str], limits: Sequence[ProviderFacts]) -> list[str]:
    found = (named(host, limits) for host in set(hosts))
    return sorted({one.name for one in found if one is not None})


def _slice(row: SliceRow) -> budgets.Slice:
    return budgets.Slice(row.attempt_id, row.share, row.starts, row.until)


def _row(provider: str, one: budgets.Slice) -> SliceRow:
    return SliceRow(
        provider=provider,
        attempt_id=one.holder,
        share=one.share,
        starts=one.starts,
        until=one.until,
    )
