"""The Celery tasks: each claims, works, reports.

A wake-up carries an attempt's id and nothing else.  Whoever may not claim it has nothing to do.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from celery import Celery

from fleet.messages import Order, Outcome
from fleet.settings import SiteSettings
from workers.centre import Centre, CentreAway, CentreRefused
from workers.held import HeldLease
from workers.lease import Lease, Stopped
from workers.probe import probe
from workers.pull import pull
from workers.seeder.client import nudge
from workers.spool import Spool
from workers.storage.posix import PosixStorage
from workers.verify import verify
from workers.work import Work

_log = structlog.get_logger()
_Doing = Callable[[Order, Lease], Work]


def register(app: Celery, settings: SiteSettings) -> None:
    """Give ``app`` this site's tasks."""

    @app.task(name="pull")
    def _pull(attempt: str) -> None:
        _carry_out(attempt, settings, lambda order, lease: _pulled(order, lease, settings))

    @app.task(name="verify")
    def _verify(attempt: str) -> None:
        _carry_out(attempt, settings, lambda order, lease: verify(order, _storage(settings), lease))

    @app.task(name="probe")
    def _probe(attempt: str) -> None:
        _carry_out(
            attempt, settings, lambda order, lease: asyncio.run(probe(order, lease, settings))
        )

    @app.task(name="seed")
    def _seed() -> None:
        _log.info("nudged the seeder", answer=nudge(settings))


def _pulled(order: Order, lease: Lease, settings: SiteSettings) -> Work:
    return asyncio.run(pull(order, _storage(settings), lease, settings=settings))


def _storage(settings: SiteSettings) -> PosixStorage:
    return PosixStorage(settings.store_root)


def _carry_out(attempt: str, settings: SiteSettings, doing: _Doing) -> None:
    with Centre(settings) as centre:
        try:
            order = centre.claim(attempt)
        except (CentreRefused, CentreAway) as error:
            _log.info("not claimed", attempt=attempt, reason=str(error))
            return
        started = datetime.now(UTC)
        try:
            with HeldLease(order, centre) as lease:
                work = doing(order, lease)
        except Stopped as error:
            _log.info("stopped", attempt=attempt, reason=str(error))
            return
        except Exception as error:  # noqa: BLE001 - the admin shall read of it in `fleet why`
            _log.exception("failed", attempt=attempt)
            work = Work(reason=f"the worker failed, see its log: {type(error).__name__}: {error}")
        spool = Spool(settings.state / "spool")
        spool.put(_outcome(order, work, started), work.all_blobs)
        try:
            spool.flush(centre)
        except CentreAway as error:
            _log.warning("outcome spooled", attempt=attempt, reason=str(error))


def _outcome(order: Order, work: Work, started: datetime) -> Outcome:
    return Outcome(
        attempt=order.attempt,
        fence=order.fence,
        site=order.site,
        started_at=started,
        ended_at=datetime.now(UTC),
        items=work.items,
        pieces=work.pieces_ref,
        sources=work.sources,
        bytes_fetched=work.bytes_fetched,
        reason=work.reason,
    )
