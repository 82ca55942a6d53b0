"""The Celery tasks: each claims, works, reports.

A wake-up carries an attempt's id and nothing else.  Whoever may not claim it has nothing to do.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import structlog
from celery import Celery

from fleet.messages import Order, Outcome
from fleet.settings import SiteSettings
from workers import remote
from workers.centre import Centre, CentreAway, CentreRefused
from workers.drop import drop
from workers.held import HeldLease
from workers.lease import Lease, Stopped
from workers.mend import mend
from workers.probe import probe
from workers.pull import pull
from workers.seeder.client import nudge
from workers.spool import Spool
from workers.stage import stage
from workers.storage.posix import PosixStorage
from workers.swarm import came_by_torrent
from workers.verify import verify
from workers.work import Work

_log = structlog.get_logger()
_Doing = Callable[[Order, Lease, Centre], Work]


def register(app: Celery, settings: SiteSettings) -> None:
    """Give ``app`` this site's tasks."""
    task = partial(app.task, shared=False)  # else whatever app is made next has them too

    @task(name="pull")
    def _pull(attempt: str) -> None:
        work = _carry_out(attempt, settings, partial(_pulled, settings))
        if work is not None and came_by_torrent(work):
            # who had it from here meanwhile shall not look for it in vain
            _log.info("nudged the seeder", answer=nudge(settings))

    @task(name="verify")
    def _verify(attempt: str) -> None:
        _carry_out(attempt, settings, partial(_verified, settings))

    @task(name="probe")
    def _probe(attempt: str) -> None:
        _carry_out(attempt, settings, partial(_probed, settings))

    @task(name="publish")
    def _publish(attempt: str) -> None:
        _carry_out(attempt, settings, partial(_staged, settings))

    @task(name="drop")
    def _drop(attempt: str) -> None:
        _carry_out(attempt, settings, partial(_dropped, settings))

    @task(name="switch")
    def _switch(attempt: str) -> None:
        _carry_out(attempt, settings, partial(_switched, settings))

    @task(name="seed")
    def _seed() -> None:
        _log.info("nudged the seeder", answer=nudge(settings))


def _pulled(settings: SiteSettings, order: Order, lease: Lease, centre: Centre) -> Work:
    if order.grant is not None:
        return _staged(settings, order, lease, centre)
    known = _known(order, centre)
    return pull(order, _storage(settings), lease, settings=settings, known=known)


def _staged(settings: SiteSettings, order: Order, lease: Lease, centre: Centre) -> Work:
    """Put all files of an order where it says; of a publication, into a draft that is there."""
    return stage(order, remote.opened(order, lease, settings, centre), lease, settings)


def _known(order: Order, centre: Centre) -> bytes:
    """Fetch the piece hashes that ``order`` names; without them it is pulled all the same."""
    if order.known is None:
        return b""
    try:
        return centre.blob(order.known.sha256)
    except (CentreRefused, CentreAway) as error:
        _log.info("piece hashes not fetched", attempt=order.attempt, reason=str(error))
        return b""


def _verified(settings: SiteSettings, order: Order, lease: Lease, centre: Centre) -> Work:
    if order.grant is not None:
        return remote.verify(order, remote.opened(order, lease, settings, centre), lease)
    return verify(order, _storage(settings), lease, partial(mend, settings, lease))


def _probed(settings: SiteSettings, order: Order, lease: Lease, _centre: Centre) -> Work:
    return probe(order, lease, settings)


def _dropped(settings: SiteSettings, order: Order, lease: Lease, centre: Centre) -> Work:
    if order.grant is not None:
        return remote.drop(order, remote.opened(order, lease, settings, centre), lease)
    _log.info("nudged the seeder", answer=nudge(settings))  # it lets go of what is to be deleted
    return drop(order, _storage(settings), lease)


def _switched(settings: SiteSettings, order: Order, lease: Lease, centre: Centre) -> Work:
    return remote.switch(order, remote.opened(order, lease, settings, centre), lease)


def _storage(settings: SiteSettings) -> PosixStorage:
    return PosixStorage(settings.store_root)


def _carry_out(attempt: str, settings: SiteSettings, doing: _Doing) -> Work | None:
    """Claim an attempt, do its work and report it; None if it was not claimed or was stopped."""
    with Centre(settings) as centre:
        asked = time.monotonic()
        try:
            order = centre.claim(attempt)
        except (CentreRefused, CentreAway) as error:
            _log.info("not claimed", attempt=attempt, reason=str(error))
            return None
        started = datetime.now(UTC)
        try:
            with HeldLease(order, centre, asked, settings.pulled) as lease:
                work = doing(order, lease, centre)
        except Stopped as error:
            _log.info("stopped", attempt=attempt, reason=str(error))
            return None
        except Exception as error:  # noqa: BLE001 - the admin shall read of it in `fleet why`
            _log.exception("failed", attempt=attempt)
            work = Work(reason=f"the worker failed, see its log: {type(error).__name__}: {error}")
        spool = Spool(settings.state / "spool")
        spool.put(_outcome(order, work, started), work.all_blobs)
        try:
            spool.flush(centre)
        except CentreAway as error:
            _log.warning("outcome spooled", attempt=attempt, reason=str(error))
        return work


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
